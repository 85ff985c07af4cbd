"""Chat Completions: bodies in the shapes of a dozen servers, read, told and remembered."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Answer, Message, Prompt, Verdict
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.openai_chat import OpenAIChat

DATA = Path(__file__).parent / "data" / "openai.chat"
CHAT = OpenAIChat()
HELLO = (
    Message("user", b'{"role":"user","content":"Hi, I am Ada."}', b"", b""),
    Message("assistant", b'{"role":"assistant","content":"Hello Ada!"}', b"", b""),
)
TOLD = b", ".join(message.raw for message in HELLO)


def recorded(name: str, *, proved: bool = True) -> Answer:
    media_type = "text/event-stream" if name.endswith(".sse") else "application/json"
    return Answer(200, media_type, (DATA / name).read_bytes(), proved)


def prompt_of(body: bytes) -> Prompt:
    prompt = CHAT.read_prompt(body)
    assert prompt is not None
    return prompt


def prompt(messages: str, *, fields: str = "") -> Prompt:
    """Each letter a message: system, developer, user, assistant, tool."""
    roles = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}
    spelled = [{"role": roles[letter], "content": letter} for letter in messages]
    return prompt_of(f'{{"messages":{json.dumps(spelled)}{fields}}}'.encode())


def letters(messages: Sequence[Message]) -> str:
    return "".join(json.loads(message.raw)["content"] for message in messages)


def reply(name: str) -> tuple[Verdict, object]:
    read = CHAT.read_reply(prompt("u"), recorded(name))
    return read.verdict, json.loads(read.messages[0].raw) if read.messages else None


class TestOpenAIChat(DialectContract):
    @pytest.fixture
    def dialect(self) -> Dialect:
        return OpenAIChat()

    @pytest.fixture
    def request_body(self) -> bytes:
        return (DATA / "request.json").read_bytes()

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        names = ["reply.json", "tool.json", "reply.sse", "tool.sse", "azure.sse"]
        return [recorded(name) for name in [*names, "openrouter.sse", "deepseek.sse"]]


def test_history_goes_behind_the_leading_system_messages_and_every_byte_stays() -> None:
    read = prompt_of((DATA / "request.json").read_bytes())
    assert [message.role for message in read.pinned] == ["system", "system"]
    assert CHAT.inject(read, (), HELLO) == (DATA / "injected.json").read_bytes()


@pytest.mark.parametrize(
    ("messages", "pinned", "claimed", "new"),
    [
        ("u", "", "", "u"),
        ("sdu", "sd", "", "u"),
        ("suau", "s", "ua", "u"),
        ("uasu", "", "ua", "su"),
        ("usau", "", "usa", "u"),
        ("uatt", "", "ua", "tt"),
        ("uauu", "", "ua", "uu"),
        ("", "", "", ""),
        ("sd", "sd", "", ""),
    ],
)
def test_a_prompt_is_pinned_claimed_and_new(
    messages: str, pinned: str, claimed: str, new: str
) -> None:
    read = prompt(messages)
    assert (letters(read.pinned), letters(read.claimed)) == (pinned, claimed)
    assert (letters(read.new), read.prefill) == (new, False)


@pytest.mark.parametrize(
    ("messages", "claimed", "new"), [("ua", "", "ua"), ("uaua", "ua", "ua"), ("a", "", "a")]
)
def test_an_assistant_at_the_end_is_a_prefill(messages: str, claimed: str, new: str) -> None:
    read = prompt(messages)
    assert (letters(read.claimed), letters(read.new), read.prefill) == (claimed, new, True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":null}',
        b'{"messages":{"role":"user"}}',
        b'{"messages":[],"messages":[]}',
        b'{"messages":["u"]}',
        b'{"messages":[{"role":"user"},{"content":"u"}]}',
        b'{"messages":[{"role":"model","content":"u"}]}',
        b'{"messages":[{"role":null,"content":"u"}]}',
        b'{"messages":[{"role":"user","content":"u"},]}',
        b'{"messages":[{"role":"user","content":' + b"[" * 100_000,
        b'{"prompt":"u"}',
    ],
)
def test_what_is_no_list_of_messages_is_not_read(body: bytes) -> None:
    assert CHAT.read_prompt(body) is None


@pytest.mark.parametrize(
    ("fields", "auxiliary"),
    [
        (',"max_tokens":1', True),
        (',"max_completion_tokens":0', True),
        (',"max_tokens":null,"max_completion_tokens":1', True),
        (',"max_tokens":2', False),
        (',"max_tokens":-1', False),
        (',"max_tokens":"1"', False),
        (',"n":1', False),
    ],
)
def test_one_token_is_housekeeping(fields: str, auxiliary: bool) -> None:
    assert prompt("u", fields=fields).auxiliary is auxiliary


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"[ ]", b"[ %b]"),
        (b"[]", b"[%b]"),
        (
            b'[{"role":"system","content":"\xc3\xa9"} ]',
            b'[{"role":"system","content":"\xc3\xa9"} , %b]',
        ),
        (b'[ {"role":"user"}]', b'[ %b, {"role":"user"}]'),
        (
            b'[{"role":"system"}\n,\n{"role":"user"}]',
            b'[{"role":"system"}\n,\n%b, {"role":"user"}]',
        ),
    ],
)
def test_history_fits_into_any_list(before: bytes, after: bytes) -> None:
    body = b'{"\xc3\xa9":"\xf0\x9f\x98\x80", "messages":%b, "x":1}'
    told = CHAT.inject(prompt_of(body % before), (), HELLO)
    assert told == body % (after % TOLD)
    assert CHAT.read_prompt(told) is not None


def test_stored_system_messages_go_in_front_of_history() -> None:
    system = b'{"role":"system","content":"s"}'
    told = CHAT.inject(prompt_of(b'{"messages":[{"role":"user"}]}'), [system], HELLO)
    assert told == b'{"messages":[%b, %b, {"role":"user"}]}' % (system, TOLD)
    assert CHAT.inject(prompt_of(b'{"messages":[]}'), [system], ()) == (
        b'{"messages":[%b]}' % system
    )


FOUR = {"role": "assistant", "content": "It is 4 — four."}


@pytest.mark.parametrize("name", ["reply.json", "reply.sse"])
def test_a_reply_as_openai_sends_it(name: str) -> None:
    assert reply(name) == (Verdict.COMPLETE, FOUR)


@pytest.mark.parametrize("name", ["tool.json", "tool.sse", "vllm_tool.sse"])
def test_tool_calls(name: str) -> None:
    read = CHAT.read_reply(prompt("u"), recorded(name))
    assert read.verdict is Verdict.TOOL
    asked = json.loads(read.messages[0].raw)["tool_calls"]
    cities = [json.loads(call["function"]["arguments"])["city"] for call in asked]
    assert cities == ["Oslo", "Rome"][: len(cities)]
    assert read.messages[0].calls == tuple(call["id"] for call in asked)
    assert all(set(call) == {"id", "type", "function"} for call in asked)


def test_azure_says_more_than_the_message() -> None:
    assert reply("azure.sse") == (Verdict.COMPLETE, {"role": "assistant", "content": "Four."})


def test_openrouter_sends_comments_and_reasoning_in_pieces() -> None:
    details = [
        {
            "type": "reasoning.text",
            "index": 0,
            "format": "anthropic-claude-v1",
            "text": "Two and two.",
            "signature": "c2lnbg==",
        }
    ]
    assert reply("openrouter.sse") == (
        Verdict.COMPLETE,
        {
            "role": "assistant",
            "content": "Four.",
            "reasoning": "Two and two.",
            "reasoning_details": details,
        },
    )


def test_deepseek_thinks_first() -> None:
    assert reply("deepseek.sse") == (
        Verdict.COMPLETE,
        {"role": "assistant", "content": "4", "reasoning_content": "2+2…"},
    )


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("cut.sse", Verdict.ABORTED),  # Ollama: no finish reason, no [DONE], status 200
        ("error.sse", Verdict.ERROR),  # vLLM: an error, then [DONE] all the same
        ("error.json", Verdict.ERROR),
    ],
)
def test_what_failed_is_not_kept(name: str, verdict: Verdict) -> None:
    assert reply(name) == (verdict, None)


def test_the_answers_media_type_says_how_to_read_it() -> None:
    body = recorded("reply.json").body
    for media_type, verdict in [
        ("", Verdict.COMPLETE),
        ("application/json", Verdict.COMPLETE),
        ("text/plain", Verdict.COMPLETE),
        ("text/event-stream", Verdict.ABORTED),
    ]:
        read = CHAT.read_reply(
            prompt("u", fields=',"stream":true'), Answer(200, media_type, body, True)
        )
        assert read.verdict is verdict


def test_a_continued_prefill_is_one_message() -> None:
    body = b'{"messages":[{"role":"user","content":"2+2?"},{"role":"assistant","content":">> "}]}'
    read = CHAT.read_reply(prompt_of(body), recorded("reply.sse"))
    assert json.loads(read.messages[0].raw)["content"] == ">> It is 4 — four."


def test_only_an_event_stream_has_an_end_marker() -> None:
    marker = CHAT.end_marker("text/event-stream")
    assert marker is not None
    assert (marker.spellings, marker.line_start) == ((b"data: [DONE]", b"data:[DONE]"), True)
    assert CHAT.end_marker("application/json") is None
    assert CHAT.end_marker("") is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (409, "conflict_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (503, "server_error"),
        (508, "server_error"),
    ],
)
def test_errors_have_the_shape_that_sdks_know(status: int, kind: str) -> None:
    content_type, body = CHAT.error_body(status, "some_code", "Say please.")
    assert content_type == "application/json"
    assert json.loads(body) == {
        "error": {"message": "Say please.", "type": kind, "param": None, "code": "some_code"}
    }


def test_an_error_event_reads_as_an_error() -> None:
    event = CHAT.error_event("memory_commit_failed", "Not\nkept.")
    body = recorded("reply.sse").body.replace(b"data: [DONE]", event + b"data: [DONE]")
    assert CHAT.read_reply(prompt("u"), Answer(200, "text/event-stream", body, True)).verdict is (
        Verdict.ERROR
    )


@given(st.data(), st.sampled_from(sorted(path.name for path in DATA.glob("*.sse"))), st.booleans())
def test_a_spoilt_answer_has_a_verdict(data: st.DataObject, name: str, proved: bool) -> None:
    """Pieces of a real answer, out of order, doubled or left out."""
    answer = recorded(name, proved=proved)
    lines = answer.body.splitlines(keepends=True)
    body = b"".join(data.draw(st.lists(st.sampled_from([*lines, b"\n", b"data: ", b"\xff"]))))
    read = CHAT.read_reply(prompt("u"), answer._replace(body=body))
    assert bool(read.messages) == read.verdict.kept

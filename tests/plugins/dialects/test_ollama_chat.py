"""Ollama's chat: bodies as old and new servers send them, read, told and remembered."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Answer, Message, Prompt, Remedy, Reply, Verdict
from backstory.spi import Dialect
from backstory.tee import Tee
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.ollama_chat import OllamaChat

DATA = Path(__file__).parent / "data" / "ollama.chat"
CHAT = OllamaChat()
NDJSON = "application/x-ndjson"
HELLO = (
    Message("user", b'{"role":"user","content":"Hi, I am Ada."}', b"", b"", form="ollama"),
    Message("assistant", b'{"role":"assistant","content":"Hello Ada!"}', b"", b"", form="ollama"),
)
CALL = {"function": {"name": "f", "arguments": {"a": 1}}}
CUT_CALL = {"function": {"name": "f", "arguments": '{"a'}}


def recorded(name: str, *, proved: bool = True) -> Answer:
    media_type = NDJSON if name.endswith(".ndjson") else "application/json"
    return Answer(200, media_type, (DATA / name).read_bytes(), proved)


def prompt_of(body: bytes) -> Prompt:
    prompt = CHAT.read_prompt(body)
    assert prompt is not None
    return prompt


def prompt(messages: str = "u", *, fields: str = "") -> Prompt:
    """Each letter a message: system, user, assistant, tool."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    spelled = [{"role": roles[letter], "content": letter} for letter in messages]
    return prompt_of(f'{{"model":"m","messages":{json.dumps(spelled)}{fields}}}'.encode())


def letters(messages: Sequence[Message]) -> str:
    return "".join(json.loads(message.raw)["content"] for message in messages)


def reply(name: str) -> tuple[Verdict, object]:
    read = CHAT.read_reply(prompt(), recorded(name))
    return read.verdict, json.loads(read.messages[0].raw) if read.messages else None


class TestOllamaChat(DialectContract):
    @pytest.fixture
    def dialect(self) -> Dialect:
        return OllamaChat()

    @pytest.fixture
    def request_body(self) -> bytes:
        return (DATA / "request.json").read_bytes()

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        names = ["reply.ndjson", "tool.ndjson", "old.ndjson", "reply.json", "tool.json"]
        return [recorded(name) for name in names]


def test_history_goes_behind_the_leading_system_messages_and_every_byte_stays() -> None:
    read = prompt_of((DATA / "request.json").read_bytes())
    assert [message.role for message in read.pinned] == ["system"]
    assert CHAT.inject(read, (), HELLO) == (DATA / "injected.json").read_bytes()


def test_stored_system_messages_go_in_front_of_history() -> None:
    system = b'{"role":"system","content":"s"}'
    told = CHAT.inject(prompt_of(b'{"messages":[{"role":"user"}]}'), [system], HELLO)
    assert told == b'{"messages":[%b, %b, %b, {"role":"user"}]}' % (
        system,
        HELLO[0].raw,
        HELLO[1].raw,
    )


@pytest.mark.parametrize(
    ("messages", "pinned", "claimed", "new", "prefill"),
    [
        ("u", "", "", "u", False),
        ("ssu", "ss", "", "u", False),
        ("suau", "s", "ua", "u", False),
        ("usau", "", "usa", "u", False),
        ("uatt", "", "ua", "tt", False),
        ("uaua", "", "ua", "ua", True),
        ("", "", "", "", False),
        ("s", "s", "", "", False),
    ],
)
def test_a_prompt_is_pinned_claimed_and_new(
    messages: str, pinned: str, claimed: str, new: str, prefill: bool
) -> None:
    read = prompt(messages)
    assert (letters(read.pinned), letters(read.claimed)) == (pinned, claimed)
    assert (letters(read.new), read.prefill) == (new, prefill)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":null}',
        b'{"messages":{"role":"user"}}',
        b'{"messages":[],"messages":[]}',
        b'{"messages":[{"role":"user"}],"Messages":[]}',
        b'{"Messages":[{"role":"user"}]}',
        '{"messages":[],"me\u017f\u017fages":[]}'.encode(),
        b'{"messages":["u"]}',
        b'{"messages":[{"role":"user"},{"content":"u"}]}',
        b'{"messages":[{"role":"developer","content":"u"}]}',
        b'{"messages":[{"role":"user","content":"u"},]}',
        b'{"prompt":"u"}',
    ],
)
def test_what_is_no_list_of_messages_is_not_read(body: bytes) -> None:
    assert CHAT.read_prompt(body) is None


@pytest.mark.parametrize(
    ("fields", "most", "auxiliary"),
    [
        ("", None, False),
        (',"options":{"num_predict":64}', 64, False),
        (',"options":{"num_predict":1}', 1, True),
        (',"options":{"num_predict":0}', None, True),
        (',"options":{"num_predict":-1}', None, False),
        (',"options":{"num_predict":-2}', None, False),
        (',"options":null,"num_predict":1', None, False),
    ],
)
def test_the_limit_on_the_reply_is_an_option(
    fields: str, most: int | None, auxiliary: bool
) -> None:
    read = prompt(fields=fields)
    assert (read.reply_tokens, read.auxiliary) == (most, auxiliary)


def test_the_model_and_the_tools_are_known() -> None:
    tools = json.dumps([{"type": "function", "function": {"name": "f" * 300}}])
    read = prompt(fields=f',"tools":{tools}')
    assert read.model == "m"
    assert read.fixed_tokens > 100
    assert (prompt().fixed_tokens, prompt_of(b'{"messages":[],"model":1}').model) == (0, "")


FOUR = {"role": "assistant", "content": "It is 4 — four.", "thinking": "Two and two\u2028make."}


@pytest.mark.parametrize("name", ["reply.json", "reply.ndjson"])
def test_a_reply_streamed_and_not_is_the_same(name: str) -> None:
    assert reply(name) == (Verdict.COMPLETE, FOUR)
    assert CHAT.read_reply(prompt(), recorded(name)).prompt_tokens == 26


def test_an_older_server_gives_no_reason() -> None:
    assert reply("old.ndjson") == (Verdict.COMPLETE, {"role": "assistant", "content": "Four."})


@pytest.mark.parametrize("name", ["tool.json", "tool.ndjson"])
def test_tool_calls_come_whole_and_in_several_lines(name: str) -> None:
    read = CHAT.read_reply(prompt(), recorded(name))
    assert read.verdict is Verdict.TOOL
    calls = json.loads(read.messages[0].raw)["tool_calls"]
    assert [call["function"]["arguments"]["city"] for call in calls] == ["Oslo", "Rome"]
    assert read.messages[0].calls == ("#0", "#1")


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("cut.ndjson", Verdict.ABORTED),
        ("error.ndjson", Verdict.ERROR),
        ("error.json", Verdict.ERROR),
        ("load.json", Verdict.EMPTY),
    ],
)
def test_what_failed_or_said_nothing_is_not_kept(name: str, verdict: Verdict) -> None:
    assert reply(name) == (verdict, None)


def both(message: object, *, proved: bool = True, **end: object) -> list[Reply]:
    """The same reply, streamed and not."""
    last = {"done": True, **end}
    whole = json.dumps({"message": message, **last}).encode()
    lines = [{"message": message, "done": False}, {"message": {"content": ""}, **last}]
    stream = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return [
        CHAT.read_reply(prompt(), Answer(200, "application/json", whole, proved)),
        CHAT.read_reply(prompt(), Answer(200, NDJSON, stream, proved)),
    ]


@pytest.mark.parametrize(
    ("message", "end", "verdict"),
    [
        ({"content": "4"}, {"done_reason": "stop"}, Verdict.COMPLETE),
        ({"content": "4", "tool_calls": []}, {"done_reason": "stop"}, Verdict.COMPLETE),
        ({"content": "", "images": ["iVBORw0="]}, {"done_reason": "stop"}, Verdict.COMPLETE),
        ({"content": "4"}, {"done_reason": "eos"}, Verdict.COMPLETE),
        ({"tool_calls": [CALL]}, {"done_reason": "stop"}, Verdict.TOOL),
        ({"content": "4", "tool_calls": [CALL]}, {"done_reason": "stop"}, Verdict.TOOL),
        ({"tool_calls": [CALL, CUT_CALL]}, {"done_reason": "stop"}, Verdict.ERROR),
        ({"content": "4"}, {"done_reason": "length"}, Verdict.TRUNCATED),
        ({"content": " "}, {"done_reason": "length"}, Verdict.EMPTY),
        ({"content": "", "thinking": "hm"}, {"done_reason": "length"}, Verdict.EMPTY),
        ({"tool_calls": [CALL]}, {"done_reason": "length"}, Verdict.EMPTY),
        ({"content": "4", "tool_calls": [CUT_CALL]}, {"done_reason": "length"}, Verdict.ERROR),
        ({"content": ""}, {"done_reason": "stop"}, Verdict.EMPTY),
        ({"content": "", "thinking": "hm"}, {"done_reason": "stop"}, Verdict.EMPTY),
        ({"content": ""}, {"done_reason": "load"}, Verdict.EMPTY),
        ({"content": ""}, {"done_reason": "unload"}, Verdict.EMPTY),
        ({"content": "4"}, {"eval_count": 2}, Verdict.COMPLETE),
        ({"content": "4"}, {"done_reason": "", "eval_count": 2}, Verdict.COMPLETE),
        ({"tool_calls": [CALL]}, {"eval_count": 2}, Verdict.TOOL),
        ({"content": "4"}, {}, Verdict.ABORTED),
        ({"content": "4"}, {"eval_count": 0}, Verdict.ABORTED),
        ({"content": ""}, {"eval_count": 2}, Verdict.ABORTED),
        ({"content": "4"}, {"done_reason": "stop", "done": False}, Verdict.ABORTED),
        ({"content": "4"}, {"done_reason": "stop", "done": "true"}, Verdict.ABORTED),
        ({"content": "4"}, {"done_reason": "stop", "error": "no"}, Verdict.ERROR),
        (None, {"done_reason": "stop"}, Verdict.EMPTY),
    ],
)
@pytest.mark.parametrize("proved", [True, False])
def test_verdicts(message: object, end: dict[str, object], verdict: Verdict, proved: bool) -> None:
    """``done`` and the closing brace prove the end, however the body is framed."""
    for read in both(message, proved=proved, **end):
        assert read.verdict is verdict
        assert bool(read.messages) == verdict.kept


def test_a_stream_without_its_last_line_was_cut() -> None:
    body = recorded("reply.ndjson").body
    without = body[: body.rindex(b"\n", 0, -1) + 1]
    for cut in (b"", without, without + b'{"model":"qwen3:4b","done":true'):
        for proved in (True, False):
            read = CHAT.read_reply(prompt(), Answer(200, NDJSON, cut, proved))
            assert read.verdict is Verdict.ABORTED


def test_a_line_that_is_no_json_is_an_error() -> None:
    body = recorded("reply.ndjson").body
    read = CHAT.read_reply(prompt(), Answer(200, NDJSON, b"<html>\n" + body, True))
    assert read.verdict is Verdict.ERROR


def test_the_answers_media_type_says_how_to_read_it() -> None:
    whole, lines = recorded("reply.json").body, recorded("reply.ndjson").body
    for media_type, body, verdict in [
        ("", whole, Verdict.COMPLETE),
        ("text/plain", whole, Verdict.COMPLETE),
        ("application/ndjson", lines, Verdict.COMPLETE),
        ("application/json", lines, Verdict.ERROR),
    ]:
        assert CHAT.read_reply(prompt(), Answer(200, media_type, body, True)).verdict is verdict


def test_a_reply_that_can_be_told_as_it_came_keeps_its_bytes() -> None:
    raw = b'{ "content": "\\u0034", "role": "assistant", "x": 1E400 }'
    body = b'{"message": %b ,"done":true,"done_reason":"stop"}' % raw
    (message,) = CHAT.read_reply(prompt(), Answer(200, "application/json", body, True)).messages
    assert message.raw == raw


def test_a_number_that_json_cannot_spell_is_never_stored() -> None:
    line = b'{"message":{"content":"4","x":1E400},"done":true,"done_reason":"stop"}\n'
    assert CHAT.read_reply(prompt(), Answer(200, NDJSON, line, True)).verdict is Verdict.ERROR


@pytest.mark.parametrize("name", ["reply.json", "reply.ndjson"])
def test_a_continued_prefill_is_one_message(name: str) -> None:
    body = b'{"messages":[{"role":"user","content":"2+2?"},{"role":"assistant","content":">> "}]}'
    read = CHAT.read_reply(prompt_of(body), recorded(name))
    assert json.loads(read.messages[0].raw)["content"] == ">> It is 4 — four."


def test_a_call_that_is_left_out_takes_the_thinking_with_it() -> None:
    body = recorded("tool.ndjson").body
    (message,) = CHAT.read_reply(prompt(), Answer(200, NDJSON, body, True)).messages
    assert CHAT.without_calls(message) is None
    said = body.replace(b'"content":"","thinking"', b'"content":"Wait.","thinking"')
    (message,) = CHAT.read_reply(prompt(), Answer(200, NDJSON, said, True)).messages
    left = CHAT.without_calls(message)
    assert left is not None
    assert json.loads(left.raw) == {"role": "assistant", "content": "Wait."}


def test_thinking_can_be_left_out() -> None:
    (message,) = CHAT.read_reply(prompt(), recorded("reply.ndjson")).messages
    left = CHAT.without_reasoning(message)
    assert left is not None
    assert json.loads(left.raw) == {"role": "assistant", "content": "It is 4 — four."}


def test_only_lines_have_an_end_marker() -> None:
    for media_type in (NDJSON, "application/ndjson"):
        marker = CHAT.end_marker(media_type)
        assert marker is not None
        assert marker.spellings == (b'"done":true', b'"done": true')
        assert (marker.top_level, marker.line_start) == (True, False)
    for media_type in ("application/json", "text/event-stream", ""):
        assert CHAT.end_marker(media_type) is None


@pytest.mark.parametrize("name", ["reply.ndjson", "tool.ndjson", "old.ndjson"])
def test_the_end_waits_wherever_the_stream_is_split(name: str) -> None:
    """And a ``done`` that the model itself speaks of, or a tool is given, holds nothing back."""
    body = recorded(name).body
    spoken = (
        b'{"message":{"content":"\\"done\\":true","tool_calls":[{"done":true}]},"done":false}\n'
    )
    body = spoken + body
    ends = body.rindex(b'"done"')
    for at in range(len(body) + 1):
        tee = Tee(1 << 20, CHAT.end_marker)
        tee.begin(200, NDJSON, (), None)
        free = tee.feed(body[:at]) + tee.feed(body[at:])
        assert (free, tee.marked) == (body[:ends], True)
        assert CHAT.read_reply(prompt(), Answer(200, NDJSON, tee.body(), True)) == (
            CHAT.read_reply(prompt(), Answer(200, NDJSON, body, True))
        )


def test_errors_have_the_shape_that_clients_know() -> None:
    content_type, body = CHAT.error_body(409, "conversation_busy", "Say please.")
    assert content_type == "application/json"
    assert json.loads(body) == {"error": "Say please."}
    assert CHAT.error_event("some_code", "Say please.") == b""


def test_a_prompt_that_is_too_long_wants_less_history() -> None:
    said = b'{"error":"request (7900 tokens) exceeds the available context size (4096 tokens)"}'
    assert CHAT.remedy(Answer(400, "application/json", said, True)) is Remedy.LESS_HISTORY


@given(
    st.data(), st.sampled_from(sorted(path.name for path in DATA.glob("*.ndjson"))), st.booleans()
)
def test_a_spoilt_answer_has_a_verdict(data: st.DataObject, name: str, proved: bool) -> None:
    """Pieces of a real answer, out of order, doubled or left out."""
    answer = recorded(name, proved=proved)
    lines = answer.body.splitlines(keepends=True)
    body = b"".join(data.draw(st.lists(st.sampled_from([*lines, b"\n", b"{", b"\xff"]))))
    read = CHAT.read_reply(prompt(), answer._replace(body=body))
    assert bool(read.messages) == read.verdict.kept

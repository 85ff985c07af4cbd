"""Responses: bodies in the shapes of several servers, read, told and remembered."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Answer, Message, Prompt, Remedy, Verdict
from backstory.registry import load_dialects
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.openai_chat import OpenAIChat
from backstory_plugins.dialects.openai_responses import OpenAIResponses

DATA = Path(__file__).parent / "data" / "openai.responses"
RESPONSES = OpenAIResponses()
USER = b'{"role":"user","content":"Hi, I am Ada."}'
ASSISTANT = (
    b'{"type":"message","id":"msg_1","role":"assistant",'
    b'"content":[{"type":"output_text","text":"Hello Ada!"}]}'
)
HELLO = (Message("user", USER, b"", b""), Message("assistant", ASSISTANT, b"", b""))


def recorded(name: str, *, proved: bool = True) -> Answer:
    media_type = "text/event-stream" if name.endswith(".sse") else "application/json"
    return Answer(200, media_type, (DATA / name).read_bytes(), proved)


def prompt_of(body: bytes, dialect: Dialect = RESPONSES) -> Prompt:
    prompt = dialect.read_prompt(body)
    assert prompt is not None
    return prompt


def prompt(letters: str, *, fields: str = "") -> Prompt:
    """Each letter an item: system, developer, user, assistant, reasoning, call, result, unknown."""
    spelled = json.dumps([item(letter) for letter in letters])
    return prompt_of(f'{{"input":{spelled}{fields}}}'.encode())


def item(letter: str) -> dict[str, Any]:
    roles = {"s": "system", "d": "developer", "u": "user", "a": "assistant"}
    if letter in roles:
        return {"role": roles[letter], "content": letter}
    spelled: dict[str, dict[str, Any]] = {
        "r": {"type": "reasoning", "content": letter, "encrypted_content": "g"},
        "c": {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        "t": {"type": "function_call_output", "call_id": "c", "output": "t"},
        "x": {"type": "additional_tools", "role": "developer", "tools": []},
        "w": {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    }
    return spelled[letter]


LETTERS = {
    "reasoning": "r",
    "function_call": "c",
    "function_call_output": "t",
    "additional_tools": "x",
    "web_search_call": "w",
}


def letters(messages: Sequence[Message]) -> str:
    """As ``prompt`` takes them, with a blank between messages."""
    return " ".join(
        "".join(
            LETTERS.get(each.get("type", ""), each.get("content", ""))
            for each in json.loads(b"[" + message.raw + b"]")
        )
        for message in messages
    )


class TestOpenAIResponses(DialectContract):
    marker_suffices = False

    @pytest.fixture
    def dialect(self) -> Dialect:
        return OpenAIResponses()

    @pytest.fixture
    def request_body(self) -> bytes:
        return (DATA / "request.json").read_bytes()

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        names = ["reply.json", "tool.json", "reply.sse", "tool.sse", "vllm.sse"]
        return [recorded(name) for name in [*names, "data_only.sse", "thin.sse"]]


class TestInputAsString(TestOpenAIResponses):
    @pytest.fixture
    def request_body(self) -> bytes:
        return (DATA / "request_text.json").read_bytes()

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        return [recorded("reply.json"), recorded("incomplete.sse")]


@pytest.mark.parametrize(
    ("request_name", "injected"),
    [
        ("request.json", "injected.json"),
        ("request_text.json", "injected_text.json"),
        ("chained.json", "injected_chained.json"),
    ],
)
def test_history_goes_in_front_and_every_other_byte_stays(request_name: str, injected: str) -> None:
    read = prompt_of((DATA / request_name).read_bytes())
    assert RESPONSES.inject(read, (), HELLO) == (DATA / injected).read_bytes()


@pytest.mark.parametrize(
    ("items", "pinned", "claimed", "new"),
    [
        ("u", "", "", "u"),
        ("sdu", "s d", "", "u"),
        ("suau", "s", "u a", "u"),
        ("uasu", "", "u a", "s u"),
        ("uract", "", "u rac", "t"),
        ("urcctt", "", "u rcc", "t t"),
        ("urctrau", "", "u rc t ra", "u"),
        ("uwau", "", "u wa", "u"),
        ("urwrau", "", "u rwra", "u"),
        ("uau", "", "u a", "u"),
        ("uaau", "", "u aa", "u"),
        ("xu", "", "", "xu"),
        ("sxu", "sx", "", "u"),
        ("uxau", "", "ux a", "u"),
        ("uaxu", "", "u ax", "u"),
        ("ucxt", "", "u cx", "t"),
        ("", "", "", ""),
        ("sd", "s d", "", ""),
        ("x", "", "", "x"),
    ],
)
def test_a_prompt_is_pinned_claimed_and_new(
    items: str, pinned: str, claimed: str, new: str
) -> None:
    read = prompt(items)
    assert (letters(read.pinned), letters(read.claimed)) == (pinned, claimed)
    assert (letters(read.new), read.prefill) == (new, False)


@pytest.mark.parametrize(
    ("items", "claimed", "new"), [("ua", "", "u a"), ("uaura", "u a", "u ra"), ("a", "", "a")]
)
def test_an_assistant_at_the_end_is_a_prefill(items: str, claimed: str, new: str) -> None:
    read = prompt(items)
    assert (letters(read.claimed), letters(read.new), read.prefill) == (claimed, new, True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"input":null}',
        b'{"input":7}',
        b'{"input":{"role":"user"}}',
        b'{"input":"a","input":"a"}',
        b'{"input":["u"]}',
        b'{"input":[{"role":"user"},{"content":"u"}]}',
        b'{"input":[{"role":"model","content":"u"}]}',
        b'{"input":[{"role":["user"],"content":"u"}]}',
        b'{"input":[{"type":7,"role":"user"}]}',
        b'{"input":[{"type":"","role":"user"}]}',
        b'{"input":[{"role":"user","content":"u"},]}',
        b'{"input":[{"role":"user","content":' + b"[" * 100_000,
        b'{"prompt":{"id":"pmpt_1"}}',
        b'{"input":"a","background":true}',
        b'{"input":[{"type":"item_reference"},{"role":"user","content":"u"}]}',
        b'{"input":[{"id":7},{"role":"user","content":"u"}]}',
        b'{"input":[{"role":"user","content":"u"},{"type":"compaction_trigger"}]}',
        b'{"input":"a","previous_response_id":7}',
        b'{"input":"a","previous_response_id":""}',
        b'{"input":"a","previous_response_id":"resp_1","previous_response_id":"resp_2"}',
        b'{"input":"a","conversation":{}}',
        b'{"input":"a","conversation":{"id":null}}',
        b'{"input":"a","conversation":["conv_1"]}',
        b'{"input":"a","conversation":"conv_1","conversation":"conv_1"}',
    ],
)
def test_what_cannot_be_told_again_is_not_read(body: bytes) -> None:
    assert RESPONSES.read_prompt(body) is None


def test_what_memory_needs_to_know_is_read() -> None:
    read = prompt("u", fields=',"model":"m","max_output_tokens":64,"instructions":"Be brief."')
    assert (read.model, read.reply_tokens, read.stores, read.auxiliary) == ("m", 64, True, False)
    assert read.fixed_tokens > 0
    tools = prompt("u", fields=',"tools":[{"type":"function","name":"f"}]')
    assert tools.fixed_tokens > prompt("u").fixed_tokens == 0
    assert not prompt("u", fields=',"store":false').stores
    assert prompt("u", fields=',"store":null,"model":7').stores
    assert prompt("u", fields=',"max_output_tokens":1').auxiliary


@pytest.mark.parametrize(
    ("fields", "follows", "conversation"),
    [
        ("", "", ""),
        (',"previous_response_id":null,"conversation":null', "", ""),
        (',"previous_response_id":"resp_1"', "resp_1", ""),
        (',"conversation":"conv_1"', "", "conv_1"),
        (',"conversation":{"id":"conv_1"}', "", "conv_1"),
        (',"conversation":"conv_1","previous_response_id":"resp_1"', "resp_1", "conv_1"),
    ],
)
def test_the_state_that_a_request_refers_to(fields: str, follows: str, conversation: str) -> None:
    read = prompt("u", fields=fields)
    assert (read.follows, read.conversation) == (follows, conversation)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"input":"u","previous_response_id":"resp_1"}', '{"input":"u"}'),
        ('{ "previous_response_id" : "resp_1" , "input":"u"}', '{ "input":"u"}'),
        ('{"a":1,"conversation":{"id":"c"} ,"input":"u"}', '{"a":1 ,"input":"u"}'),
        ('{"conversation":"c","previous_response_id":null,"input":"u"}', '{"input":"u"}'),
        ('{"é":"\\\\","conversation":"ü" , "input":"u"}', '{"é":"\\\\" , "input":"u"}'),
    ],
)
def test_what_refers_to_state_of_ours_is_left_out(before: str, after: str) -> None:
    assert RESPONSES.inject(prompt_of(before.encode()), (), ()) == after.encode()
    told = json.loads(RESPONSES.inject(prompt_of(before.encode()), (), HELLO))
    assert [each["content"] for each in told["input"][::2]] == ["Hi, I am Ada.", "u"]
    assert not {"previous_response_id", "conversation"} & set(told)


def test_an_upstream_that_keeps_state_is_left_alone() -> None:
    dialect = load_dialects(["openai.responses?state=upstream"])["openai.responses?state=upstream"]
    assert dialect.read_prompt(b'{"input":"u","previous_response_id":"resp_1"}') is None
    assert dialect.read_prompt(b'{"input":"u","conversation":{"id":"conv_1"}}') is None
    body = b'{"input":"u","previous_response_id":null}'
    assert dialect.inject(prompt_of(body, dialect), (), ()) is body
    ours = load_dialects(["openai.responses?state=proxy"])["openai.responses?state=proxy"]
    assert prompt_of(b'{"input":"u","previous_response_id":"r"}', ours).follows == "r"


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
            b'[{"role":"system"}\n,{"type":"x"},\n{"role":"user"}]',
            b'[{"role":"system"}\n,{"type":"x"},\n%b, {"role":"user"}]',
        ),
    ],
)
def test_history_fits_into_any_list(before: bytes, after: bytes) -> None:
    body = b'{"\xc3\xa9":"\xf0\x9f\x98\x80", "input":%b, "x":1}'
    told = RESPONSES.inject(prompt_of(body % before), (), HELLO)
    assert told == body % (after % (USER + b", " + ASSISTANT))
    assert RESPONSES.read_prompt(told) is not None


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (b'{"role":"system","content":"s"}', {"role": "system", "content": "s"}),
        (
            b'{"role":"developer","content":[{"type":"input_text","text":"s"}]}',
            {"role": "developer", "content": [{"type": "input_text", "text": "s"}]},
        ),
        (
            b'{"role":"system","content":[{"type":"text","text":"s"}]}',  # of a chat
            {
                "type": "message",
                "role": "system",
                "content": [{"type": "input_text", "text": "s"}],
            },
        ),
    ],
)
def test_stored_system_messages_go_in_front_of_history(stored: bytes, told: object) -> None:
    body = json.loads(RESPONSES.inject(prompt("u"), [stored], HELLO))
    assert body["input"] == [told, json.loads(USER), json.loads(ASSISTANT), item("u")]


@pytest.mark.parametrize("stored", [b"", b"7", b"\xff", b'"s"', b'{"role":'])
def test_a_stored_system_message_that_is_none_is_not_told(stored: bytes) -> None:
    asked = prompt("u")
    assert RESPONSES.inject(asked, [stored], ()) is asked.body


VECTORS = Path(__file__).parents[2] / "proxy" / "data" / "alignment_vectors.json"


@pytest.mark.parametrize("name", ["X06", "X08"])
def test_what_the_alignment_vectors_forward(name: str) -> None:
    """The branch up to the response that the request names, and then the request's own items."""
    vectors = {vector["id"]: vector for vector in json.loads(VECTORS.read_bytes())["vectors"]}
    vector = vectors[name]
    (branch,) = vector["stored"]["branches"]
    told = prompt_of(json.dumps({"input": [*branch, item("u")]}).encode()).claimed
    asked = {"input": vector["incoming"], "previous_response_id": "resp_1"}
    body = RESPONSES.inject(prompt_of(json.dumps(asked).encode()), (), told)
    assert json.loads(body) == {"input": vector["expected"]["forwarded"]}
    said = {"status": "completed", "output": [vector["reply"]]}
    answer = Answer(200, "application/json", json.dumps(said).encode(), True)
    (reply,) = RESPONSES.read_reply(prompt_of(json.dumps(asked).encode()), answer).messages
    assert json.loads(reply.raw) == vector["reply"]


def test_reasoning_that_led_to_nothing_is_not_told() -> None:
    read = prompt("uru")
    assert letters(read.claimed) == "u r"
    assert json.loads(RESPONSES.inject(prompt("u"), (), read.claimed))["input"] == [
        item("u"),
        item("u"),
    ]
    assert letters(prompt("uraru").claimed) == "u ra"


def test_a_chat_told_here_has_every_key_of_the_schema() -> None:
    said = OpenAIChat().read_prompt(
        b'{"messages":[{"role":"user","content":"2+2?"},{"role":"assistant","content":"4"},'
        b'{"role":"user","content":"?"}]}'
    )
    assert said is not None
    told = [message for each in said.claimed if (message := RESPONSES.told(each))]
    user, assistant = json.loads(RESPONSES.inject(prompt("u"), (), told))["input"][:2]
    assert user == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "2+2?"}],
    }
    assert assistant.pop("id").startswith("msg_")
    assert assistant == {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "4", "annotations": []}],
    }
    back = [OpenAIChat().told(message) for message in told]
    assert [m and m.fingerprint for m in back] == [m.fingerprint for m in said.claimed]


def test_a_call_is_the_same_call_in_a_chat() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{ }"}}
    said = OpenAIChat().read_prompt(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": "u"},
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "c", "content": "t"},
                    {"role": "assistant", "content": "a"},
                ]
            }
        ).encode()
    )
    assert said is not None
    ours = prompt("urcta")
    theirs = (*said.claimed, *said.new)
    assert [m.fingerprint for m in (*ours.claimed, *ours.new)] == [m.fingerprint for m in theirs]


def test_only_an_event_stream_has_an_end_marker() -> None:
    marker = RESPONSES.end_marker("text/event-stream")
    assert marker is not None
    assert marker.line_start
    for name in ("reply.sse", "tool.sse", "thin.sse", "data_only.sse", "vllm.sse"):
        lines = recorded(name).body.splitlines()
        begun = [line for line in lines if line.startswith(marker.spellings)]
        assert begun, name
        assert b"response.completed" in begun[0]
    assert RESPONSES.end_marker("application/json") is None
    assert RESPONSES.end_marker("") is None


@pytest.mark.parametrize("end", ["response.completed", "response.incomplete"])
@pytest.mark.parametrize(
    "line",
    ["event: %s", "event:%s", 'data: {"type":"%s"', 'data:{"type": "%s"', 'data:{"type":"%s"'],
)
def test_the_end_is_recognised_in_each_spelling(line: str, end: str) -> None:
    marker = RESPONSES.end_marker("text/event-stream")
    assert marker is not None
    assert (line % end).encode() in marker.spellings


def test_a_failure_does_not_wait() -> None:
    marker = RESPONSES.end_marker("text/event-stream")
    assert marker is not None
    for name in ("failed.sse", "error.sse", "cut.sse"):
        assert not any(
            line.startswith(marker.spellings) for line in recorded(name).body.splitlines()
        )


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (400, {"code": "invalid_encrypted_content", "message": "?"}, Remedy.NO_REASONING),
        (
            400,
            {
                "message": "Item 'rs_1' of type 'reasoning' was provided without its required following item."
            },
            Remedy.NO_REASONING,
        ),
        (
            404,
            {
                "message": "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."
            },
            Remedy.NO_REASONING,
        ),
        (400, {"code": "context_length_exceeded"}, Remedy.LESS_HISTORY),
        (413, {}, Remedy.LESS_HISTORY),
        (500, {"code": "invalid_encrypted_content"}, None),
        (404, {"message": "No such model."}, None),
    ],
)
def test_what_may_help_against_a_refusal(
    status: int, said: dict[str, str], remedy: Remedy | None
) -> None:
    body = json.dumps({"error": said}).encode()
    assert RESPONSES.remedy(Answer(status, "application/json", body, True)) is remedy


@pytest.mark.parametrize(
    ("code", "param"),
    [("previous_response_not_found", "previous_response_id"), ("bad_request", None)],
)
def test_errors_have_the_shape_that_sdks_know(code: str, param: str | None) -> None:
    content_type, body = RESPONSES.error_body(400, code, "Say please.")
    assert content_type == "application/json"
    assert json.loads(body) == {
        "error": {
            "message": "Say please.",
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }
    }


def test_an_error_event_reads_as_an_error() -> None:
    event = RESPONSES.error_event("memory_commit_failed", "Not\nkept.")
    name, data = event.decode().split("\n", 1)
    assert name == "event: error"
    said = json.loads(data.removeprefix("data: "))
    assert (said["type"], said["code"], said["message"]) == (
        "error",
        "memory_commit_failed",
        "Not\nkept.",
    )
    body = recorded("reply.sse").body.replace(b"event: response.completed", event + b"event: x", 1)
    assert RESPONSES.read_reply(
        prompt("u"), Answer(200, "text/event-stream", body, True)
    ).verdict is (Verdict.ERROR)


@given(st.data(), st.sampled_from(sorted(path.name for path in DATA.glob("*.sse"))), st.booleans())
def test_a_spoilt_answer_has_a_verdict(data: st.DataObject, name: str, proved: bool) -> None:
    """Pieces of a real answer, out of order, doubled or left out."""
    answer = recorded(name, proved=proved)
    lines = answer.body.splitlines(keepends=True)
    body = b"".join(data.draw(st.lists(st.sampled_from([*lines, b"\n", b"data: ", b"\xff"]))))
    read = RESPONSES.read_reply(prompt("u"), answer._replace(body=body))
    assert bool(read.messages) == read.verdict.kept

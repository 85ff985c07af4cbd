"""Anthropic's Messages: bodies in the shapes of its API, read, told and remembered."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.fingerprint import fingerprints
from backstory.model import Answer, Message, Prompt, Remedy, Verdict
from backstory.spi import Dialect
from backstory.tee import Tee
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.anthropic import Anthropic
from backstory_plugins.dialects.openai_chat import OpenAIChat

DATA = Path(__file__).parent / "data" / "anthropic"
CLAUDE = Anthropic()
STREAM = "text/event-stream"
USER = {"role": "user", "content": "u"}
MARK = {"type": "ephemeral"}


def recorded(name: str, *, proved: bool = True) -> Answer:
    media_type = STREAM if name.endswith(".sse") else "application/json"
    return Answer(200, media_type, (DATA / name).read_bytes(), proved)


def prompt_of(body: bytes) -> Prompt:
    prompt = CLAUDE.read_prompt(body)
    assert prompt is not None
    return prompt


def prompt(*messages: object, **fields: object) -> Prompt:
    return prompt_of(json.dumps({**fields, "messages": messages}).encode())


def messages(*values: object) -> tuple[Message, ...]:
    """Messages as they are read from a request, and stored."""
    read = prompt(*values, USER)
    return (read.claimed + read.new)[: len(read.claimed + read.new) - 1]


def assistant(*blocks: object) -> dict[str, object]:
    return {"role": "assistant", "content": list(blocks)}


def user(*blocks: object) -> dict[str, object]:
    return {"role": "user", "content": list(blocks)}


def text(said: str, **more: object) -> dict[str, object]:
    return {"type": "text", "text": said, **more}


def call(ident: str, **more: object) -> dict[str, object]:
    return {"type": "tool_use", "id": ident, "name": "look", "input": {}, **more}


def result(ident: str, said: object = "3 C") -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": ident, "content": said}


def thinking(said: str = "hm", signature: str = "c2ln") -> dict[str, object]:
    return {"type": "thinking", "thinking": said, "signature": signature}


def told(history: Sequence[Message], *new: object, **fields: object) -> list[Any]:
    """The messages that go upstream."""
    body = json.loads(CLAUDE.inject(prompt(*(new or (USER,)), **fields), (), history))
    sent: list[Any] = body["messages"]
    return sent


def letters(read: Sequence[Message]) -> str:
    return "".join(json.loads(message.raw)["content"] for message in read)


def reply(answer: Answer | str, asked: Prompt | None = None) -> tuple[Verdict, Any]:
    answer = recorded(answer) if isinstance(answer, str) else answer
    read = CLAUDE.read_reply(asked or prompt(USER), answer)
    return read.verdict, json.loads(read.messages[0].raw)["content"] if read.messages else None


def whole(content: object, reason: object = "end_turn", **more: object) -> Answer:
    value = {"type": "message", "content": content, "stop_reason": reason, **more}
    return Answer(200, "application/json", json.dumps(value).encode(), True)


def stream(*events: dict[str, Any], proved: bool = True) -> Answer:
    body = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    return Answer(200, STREAM, body.encode(), proved)


def streamed(
    first: dict[str, Any], *deltas: dict[str, Any], reason: object = "end_turn", index: int = 0
) -> list[dict[str, Any]]:
    """The events of one block, and the end."""
    return [
        {"type": "content_block_start", "index": index, "content_block": first},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}},
        {"type": "message_stop"},
    ]


class TestAnthropic(DialectContract):
    @pytest.fixture
    def dialect(self) -> Dialect:
        return Anthropic()

    @pytest.fixture
    def request_body(self) -> bytes:
        return (DATA / "request.json").read_bytes()

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        names = ["reply.json", "tool.json", "thinking.json", "reply.sse", "tool.sse"]
        return [recorded(name) for name in [*names, "thinking.sse", "search.sse"]]


HELLO = messages(
    {"role": "user", "content": "Hi, I am Ada."}, {"role": "assistant", "content": "Hello Ada!"}
)


def test_history_goes_to_the_head_and_every_byte_stays() -> None:
    read = prompt_of((DATA / "request.json").read_bytes())
    history = [
        m._replace(raw=json.dumps(json.loads(m.raw), separators=(",", ":")).encode()) for m in HELLO
    ]
    assert CLAUDE.inject(read, (), history) == (DATA / "injected.json").read_bytes()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"[ ]", b"[ %b]"),
        (b"[]", b"[%b]"),
        (b'[ {"role":"user","content":""}]', b'[ %b, {"role":"user","content":""}]'),
    ],
)
def test_history_fits_into_any_list(before: bytes, after: bytes) -> None:
    body = b'{"\xc3\xa9":"\xf0\x9f\x98\x80", "messages":%b, "x":1}'
    sent = CLAUDE.inject(prompt_of(body % before), (), HELLO)
    assert sent == body % (after % b", ".join(message.raw for message in HELLO))


def test_a_prompt_tells_its_facts() -> None:
    read = prompt_of((DATA / "request.json").read_bytes())
    assert (read.model, read.reply_tokens) == ("claude-m", 1024)
    assert read.fixed_tokens > 20
    assert json.loads(read.pinned[0].raw) == {"role": "system", "content": [text("Be kurz …")]}
    assert read.pinned[0].tokens > 5


LETTERS = {"s": "system", "u": "user", "a": "assistant"}


@pytest.mark.parametrize(
    ("said", "claimed", "new", "prefill"),
    [
        ("u", "", "u", False),
        ("uau", "ua", "u", False),
        ("uus", "", "uus", False),  # instructions within the conversation belong to the turn
        ("usau", "usa", "u", False),
        ("su", "", "su", False),
        ("uauu", "ua", "uu", False),
        ("ua", "", "ua", True),
        ("uaua", "ua", "ua", True),
        ("a", "", "a", True),
        ("", "", "", False),
    ],
)
def test_a_prompt_is_claimed_and_new(said: str, claimed: str, new: str, prefill: bool) -> None:
    read = prompt(*({"role": LETTERS[letter], "content": letter} for letter in said))
    assert (letters(read.claimed), letters(read.new)) == (claimed, new)
    assert (read.pinned, read.prefill) == ((), prefill)


def test_replies_that_follow_each_other_are_one_message_as_for_the_api() -> None:
    paused = [assistant(text("a")), {"role": "assistant", "content": "b"}]
    read = prompt(USER, *paused)
    assert [m.role for m in read.new] == ["user", "assistant"]
    assert json.loads(read.new[1].raw) == assistant(text("a"), text("b"))
    assert read.new[1].fingerprint == fingerprints("assistant", "ab")[0]
    assert [m.role for m in prompt(USER, *paused, USER).claimed] == ["user", "assistant"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":null}',
        b'{"messages":{"role":"user"}}',
        b'{"messages":[],"messages":[]}',
        b'{"messages":["u"]}',
        b'{"messages":[{"role":"user"}]}',
        b'{"messages":[{"role":"user","content":null}]}',
        b'{"messages":[{"role":"user","content":["u"]}]}',
        b'{"messages":[{"role":"tool","content":"u"}]}',
        b'{"messages":[{"role":"user","content":"u"},{"content":"u"}]}',
        b'{"messages":[{"role":"user","content":"u"},]}',
        b'{"messages":[{"role":"user","content":' + b"[" * 100_000,
        b'{"prompt":"u"}',
    ],
)
def test_what_is_no_list_of_messages_is_not_read(body: bytes) -> None:
    assert CLAUDE.read_prompt(body) is None


@pytest.mark.parametrize(("limit", "auxiliary"), [(0, True), (1, True), (2, False), (None, False)])
def test_a_cache_warm_up_is_housekeeping(limit: object, auxiliary: bool) -> None:
    assert prompt(USER, max_tokens=limit).auxiliary is auxiliary


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"role": "user", "content": "a"}, user(text("a"))),
        (user(text("a", cache_control=MARK)), user(text("a"))),
        (assistant(thinking(), text("a")), assistant(text("a"))),
        (assistant(text("a", citations=[{}])), assistant(text("a"))),
        (assistant(call("t1")), assistant(call("t2"))),
        (assistant(text("a"), text("b")), {"role": "assistant", "content": "ab"}),
        (user(result("t1", "3")), user(result("t1", [text("3")]))),
    ],
)
def test_what_clients_change_on_the_way_is_the_same_message(
    one: dict[str, object], other: dict[str, object]
) -> None:
    first, second = messages(USER, one)[1], messages(USER, other)[1]
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (assistant(call("t1")), assistant(call("t1", name="other"))),
        (assistant(call("t1")), assistant(call("t1", input={"a": 1}))),
        (user(result("t1")), user(result("t2"))),
        (user(result("t1")), user(result("t1", "4 C"))),
        (
            user({"type": "image", "source": {"type": "base64", "data": "AA=="}}),
            user({"type": "image", "source": {"type": "base64", "data": "AB=="}}),
        ),
        (
            user({"type": "image", "source": {"type": "url", "url": "https://example.org/a"}}),
            user({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
        ),
    ],
)
def test_what_says_something_else_is_another_message(
    one: dict[str, object], other: dict[str, object]
) -> None:
    assert messages(USER, one)[1].fingerprint != messages(USER, other)[1].fingerprint


def test_results_are_known_and_what_is_said_with_them() -> None:
    asked, results, mixed = messages(
        assistant(call("t1"), call("t2")),
        user(result("t1"), result("t2")),
        user(result("t1"), text("go on")),
    )
    assert (asked.calls, asked.answers) == (("t1", "t2"), ())
    assert (results.role, results.answers, results.spine) == ("tool", ("t1", "t2"), b"")
    assert (mixed.role, mixed.answers) == ("user", ("t1",))
    assert mixed.spine == fingerprints("user", "go on")[0]


def test_media_are_worth_what_models_see_and_not_their_bytes() -> None:
    data = "A" * 300_000
    image = {"type": "image", "source": {"type": "base64", "data": data}}
    pdf = {"type": "document", "source": {"type": "base64", "data": data}}
    (seen,), (read,) = messages(user(image)), messages(user(pdf))
    (inside,) = messages(user(result("t1", [image])))
    assert 1500 <= seen.tokens < 1600
    assert 1500 <= inside.tokens < 1700
    assert 15_000 <= read.tokens < 15_100


# What is told.


def test_marks_of_the_cache_are_not_told_again_and_the_client_s_own_stay() -> None:
    schema = {"cache_control": 1}
    history = messages(
        user(text("a", cache_control=MARK)),
        assistant(call("t1", input=schema, cache_control=MARK)),
        user(result("t1", [text("b", cache_control=MARK)]) | {"cache_control": MARK}),
        assistant(text("c")),
    )
    new = user(text("d", cache_control=MARK))
    assert told(history, new) == [
        user(text("a")),
        assistant(call("t1", input=schema)),
        user(result("t1", [text("b")])),
        assistant(text("c")),
        new,
    ]


def test_what_is_told_begins_with_the_user() -> None:
    history = messages(
        assistant(text("Welcome!")),
        user(result("t0")),
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        assistant(text("b")),
    )
    assert told(history) == [{"role": "user", "content": "a"}, assistant(text("b")), USER]


def test_instructions_within_the_conversation_stay_where_they_were() -> None:
    turn = [USER, {"role": "system", "content": "s"}, assistant(text("b"))]
    assert told(messages(*turn)) == [*turn, USER]


@pytest.mark.parametrize(
    ("stored", "new", "sent"),
    [
        pytest.param(
            [assistant(text("a"), call("t1"))], USER, [assistant(text("a"))], id="abandoned"
        ),
        pytest.param([assistant(thinking(), call("t1"))], USER, [], id="abandoned, nothing left"),
        pytest.param(
            [assistant(call("t1"), call("t2")), user(result("t1")), assistant(text("a"))],
            USER,
            [assistant(call("t1")), user(result("t1")), assistant(text("a"))],
            id="answered in part",
        ),
        pytest.param(
            [assistant(call("t1")), user(result("t1"), result("t2"), text("b"))],
            USER,
            [assistant(call("t1")), user(result("t1"), text("b"))],
            id="a result too many",
        ),
        pytest.param(
            [assistant(call("t1"), call("t2"))],
            user(result("t1")),
            [assistant(call("t1"), call("t2"))],
            id="the client answers in part",
        ),
        pytest.param(
            [assistant(call("t1"), call("t2")), user(result("t1")), user(result("t2"))],
            USER,
            [assistant(call("t1"), call("t2")), user(result("t1")), user(result("t2"))],
            id="answered one by one",
        ),
        pytest.param(
            [assistant({"type": "server_tool_use", "id": "s1"}, text("a"))],
            USER,
            [assistant({"type": "server_tool_use", "id": "s1"}, text("a"))],
            id="a server's own tool",
        ),
    ],
)
def test_calls_and_results_stand_together(
    stored: list[object], new: object, sent: list[object]
) -> None:
    assert told(messages(USER, *stored), new) == [USER, *sent, new]


def test_what_stays_of_a_message_keeps_its_bytes() -> None:
    raw = '{"role":"assistant", "content" :[ {"type":"text","text":"\\u00e9", "n":1E400},{"type":"tool_use","id":"t1","name":"look","input":{}} ]}'
    (message,) = prompt_of(f'{{"messages":[{raw},{json.dumps(USER)}]}}'.encode()).claimed
    left = CLAUDE.without_calls(message)
    assert left is not None
    assert left.raw == (
        b'{"role":"assistant", "content" :[{"type":"text","text":"\\u00e9", "n":1E400}]}'
    )
    assert (left.fingerprint, left.calls) == (message.fingerprint, ())


def test_reasoning_goes_without_a_trace_and_a_text_without_words_with_it() -> None:
    (message,) = messages(assistant(thinking(), text("\n\n"), call("t1")))
    left = CLAUDE.without_reasoning(message._replace(note=b"n"))
    assert left is not None
    assert json.loads(left.raw) == assistant(call("t1"))
    assert (left.calls, left.note) == (("t1",), b"")
    (mere,) = messages(assistant(thinking()))
    assert CLAUDE.without_reasoning(mere) is None
    (word,) = messages(assistant(text("I am thinking")))
    assert CLAUDE.without_reasoning(word) is word


SYSTEM = b'{"role":"system","content":"Be kind."}'


def test_stored_instructions_stand_in_where_there_are_none() -> None:
    body = b' { "messages":[{"role":"user","content":"u"}]}'
    sent = CLAUDE.inject(prompt_of(body), [SYSTEM], ())
    assert sent == b' {"system": "Be kind.",  "messages":[{"role":"user","content":"u"}]}'
    both = json.loads(CLAUDE.inject(prompt_of(body), [SYSTEM, SYSTEM], HELLO))
    assert both["system"] == [text("Be kind."), text("Be kind.")]
    assert len(both["messages"]) == 3


@pytest.mark.parametrize("given", ['"Be rude."', '""', "null", "[]"])
def test_what_the_client_says_of_instructions_counts(given: str) -> None:
    body = f'{{"system":{given},"messages":[{json.dumps(USER)}]}}'.encode()
    read = prompt_of(body)
    assert len(read.pinned) == 1
    assert CLAUDE.inject(read, [SYSTEM], ()) is body
    empty = prompt_of(f'{{"messages":[{json.dumps(USER)}]}}'.encode())
    put_in = json.loads(CLAUDE.inject(empty, [read.pinned[0].raw], ()))
    assert put_in.get("system") == ("Be rude." if "rude" in given else None)


def test_the_conversation_goes_on_in_another_dialect() -> None:
    chat = OpenAIChat()
    history = messages(
        user(text("Weather?")),
        assistant(thinking(), text("I look."), call("t1")),
        user(result("t1")),
    )
    theirs = [chat.told(message) for message in history]
    assert [m and json.loads(m.raw) for m in theirs] == [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "I look."},
        None,
    ]
    other = chat.read_prompt(
        b'{"messages":[{"role":"user","content":" "},{"role":"system","content":"s"}]}'
    )
    assert other is not None
    assert [CLAUDE.told(message) for message in other.new] == [None, None]


# What comes back.

FOUR = [text("It is 4 — fo\u2028ur.")]
LOOKS = [
    text("I look."),
    {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "weather",
        "input": {"city": "Oslo", "days": 1.5},
    },
    {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
]
THOUGHT = [
    {"type": "thinking", "thinking": "Two and two. Four.", "signature": "c2lnbg=="},
    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
    text("4"),
]


@pytest.mark.parametrize(
    ("name", "verdict", "content"),
    [
        ("reply", Verdict.COMPLETE, FOUR),
        ("tool", Verdict.TOOL, LOOKS),
        ("thinking", Verdict.COMPLETE, THOUGHT),
    ],
)
@pytest.mark.parametrize("form", ["json", "sse"])
def test_a_reply_as_anthropic_sends_it(
    name: str, verdict: Verdict, content: object, form: str
) -> None:
    assert reply(f"{name}.{form}") == (verdict, content)


@pytest.mark.parametrize("form", ["json", "sse"])
def test_a_tool_s_input_keeps_its_digits(form: str) -> None:
    read = CLAUDE.read_reply(prompt(USER), recorded(f"tool.{form}"))
    assert b'"days": 1.50' in read.messages[0].raw
    assert read.messages[0].calls == ("toolu_1", "toolu_2")


def test_both_forms_of_a_reply_are_the_same_message() -> None:
    for name in ("reply", "tool", "thinking"):
        forms = [recorded(f"{name}.{form}") for form in ("json", "sse")]
        one, other = (CLAUDE.read_reply(prompt(USER), answer).messages[0] for answer in forms)
        assert one.fingerprint == other.fingerprint


def test_what_the_server_searched_stays_in_the_message() -> None:
    verdict, content = reply("search.sse")
    assert verdict is Verdict.COMPLETE
    assert [block["type"] for block in content] == [
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]
    assert content[0]["input"] == {"query": "Oslo"}
    assert content[2]["citations"][0]["cited_text"] == "3 C"
    assert CLAUDE.read_reply(prompt(USER), recorded("search.sse")).messages[0].calls == ()


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("paused.sse", Verdict.PAUSED),
        ("error.sse", Verdict.ERROR),
        ("error.json", Verdict.ERROR),
        ("cut.sse", Verdict.ABORTED),
    ],
)
def test_what_is_not_whole_is_not_kept(name: str, verdict: Verdict) -> None:
    assert reply(name) == (verdict, None)


REASONS = [
    ("end_turn", [text("a")], Verdict.COMPLETE),
    ("stop_sequence", [text("a")], Verdict.COMPLETE),
    ("end_turn", [], Verdict.EMPTY),
    ("end_turn", [text(" \n")], Verdict.EMPTY),
    ("end_turn", [thinking()], Verdict.EMPTY),
    ("end_turn", [call("t1")], Verdict.TOOL),
    ("tool_use", [text("a"), call("t1")], Verdict.TOOL),
    ("tool_use", [text("a")], Verdict.COMPLETE),
    ("max_tokens", [text("a")], Verdict.TRUNCATED),
    ("model_context_window_exceeded", [text("a")], Verdict.TRUNCATED),
    ("max_tokens", [], Verdict.EMPTY),
    ("max_tokens", [thinking()], Verdict.EMPTY),
    ("max_tokens", [text("a"), call("t1")], Verdict.ERROR),
    ("pause_turn", [text("a")], Verdict.PAUSED),
    ("compaction", [{"type": "compaction", "content": "a"}], Verdict.PAUSED),
    ("refusal", [text("a")], Verdict.FILTERED),
    ("refusal", [], Verdict.FILTERED),
    (None, [text("a")], Verdict.ABORTED),
    ("a new reason", [text("a")], Verdict.COMPLETE),
    ("a new reason", [], Verdict.EMPTY),
]


@pytest.mark.parametrize(("reason", "content", "verdict"), REASONS)
def test_verdicts(reason: str | None, content: list[dict[str, Any]], verdict: Verdict) -> None:
    assert reply(whole(content, reason))[0] is verdict
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {}}]
    for index, block in enumerate(content):
        events += streamed(block, index=index)[:2]
    assert reply(stream(*events, *streamed({}, reason=reason)[2:]))[0] is verdict


@pytest.mark.parametrize(
    "value",
    [
        {"content": [call("t1", input="{")]},
        {"content": [call("t1", input=None)]},
        {"content": None},
        {"content": ["a"]},
        {"content": [text("a")], "type": "error"},
        {"content": [text("a")], "error": {"message": "no"}},
        {},
    ],
)
def test_what_is_no_message_is_an_error(value: dict[str, object]) -> None:
    body = json.dumps({"stop_reason": "end_turn", **value}).encode()
    assert reply(Answer(200, "application/json", body, True))[0] is Verdict.ERROR


def test_texts_without_words_are_not_kept_but_beside_thinking() -> None:
    assert reply(whole([text(""), text("a"), text("\n")]))[1] == [text("a")]
    content = [thinking(), text("\n"), text("a")]
    assert reply(whole(content))[1] == content


def test_not_a_number_is_not_kept() -> None:
    body = b'{"content":[{"type":"tool_use","id":"t","input":{"a":NaN}}],"stop_reason":"tool_use"}'
    assert reply(Answer(200, "application/json", body, True))[0] is Verdict.ERROR
    delta = {"type": "input_json_delta", "partial_json": '{"a":Infinity}'}
    assert reply(stream(*streamed(call("t"), delta)))[0] is Verdict.ERROR


def test_the_upstream_counts_what_came_from_its_cache_too() -> None:
    assert CLAUDE.read_reply(prompt(USER), recorded("reply.sse")).prompt_tokens == 30
    assert CLAUDE.read_reply(prompt(USER), recorded("reply.json")).prompt_tokens == 25


# Streams.

WORDS = {"type": "text_delta", "text": "a"}
UNKNOWN = {"type": "hologram_delta", "hologram": "a"}


def test_a_stream_may_be_cut_into_lines_in_any_way() -> None:
    answer = recorded("thinking.sse")
    for old, new in [(b"\n", b"\r\n"), (b"\n", b"\r"), (b": ", b":")]:
        respelled = answer._replace(body=answer.body.replace(old, new))
        assert reply(respelled) == (Verdict.COMPLETE, THOUGHT)
    bare = b"\n".join(line for line in answer.body.split(b"\n") if not line.startswith(b"event:"))
    assert reply(answer._replace(body=bare)) == (Verdict.COMPLETE, THOUGHT)


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        pytest.param(streamed(text(""), WORDS)[:-1], Verdict.ABORTED, id="no message_stop"),
        pytest.param(
            [e for e in streamed(text("a")) if e["type"] != "content_block_stop"],
            Verdict.ABORTED,
            id="a block without its end",
        ),
        pytest.param(
            [e for e in streamed(text("a")) if e["type"] != "message_delta"],
            Verdict.ABORTED,
            id="no reason",
        ),
        pytest.param(streamed(text("a"))[1:], Verdict.ERROR, id="a block without its start"),
        pytest.param(
            [streamed(text("a"))[0], *streamed(text("a"))], Verdict.ERROR, id="two blocks in one"
        ),
        pytest.param(
            [*streamed(text("a")), {"type": "error", "error": {}}], Verdict.ERROR, id="late error"
        ),
        pytest.param(
            [{"type": "a new event"}, *streamed(text("a"))], Verdict.COMPLETE, id="new event"
        ),
        pytest.param(
            streamed(call("t"), {"type": "input_json_delta", "partial_json": '{"a"'}),
            Verdict.ERROR,
            id="a call that was cut",
        ),
        pytest.param(
            streamed(call("t"), {"type": "input_json_delta", "partial_json": "[]"}),
            Verdict.ERROR,
            id="an input that is no object",
        ),
        pytest.param(streamed(call("t"), UNKNOWN), Verdict.ERROR, id="a lossy call"),
        pytest.param(streamed(text("a"), UNKNOWN), Verdict.EMPTY, id="a lossy text"),
    ],
)
def test_what_a_stream_must_have(events: list[dict[str, Any]], verdict: Verdict) -> None:
    assert reply(stream(*events))[0] is verdict


def test_a_lossy_block_goes_and_thinking_with_it() -> None:
    events = [
        *streamed(thinking())[:2],
        *streamed(text("b"), UNKNOWN, index=1)[:3],
        *streamed(text("c"), index=2),
    ]
    assert reply(stream(*events)) == (Verdict.COMPLETE, [text("c")])


def test_a_compaction_is_set_as_a_whole() -> None:
    delta = {"type": "compaction_delta", "content": "all", "encrypted_content": "ZW4="}
    events = [
        *streamed({"type": "compaction", "content": None}, delta)[:3],
        *streamed(text("a"), index=1),
    ]
    assert reply(stream(*events))[1][0] == {
        "type": "compaction",
        "content": "all",
        "encrypted_content": "ZW4=",
    }


def test_the_done_of_a_gateway_says_nothing() -> None:
    answer = recorded("reply.sse")
    assert reply(answer._replace(body=answer.body + b"data: [DONE]\n\n"))[1] == FOUR


def test_only_an_event_stream_has_an_end_marker() -> None:
    marker = CLAUDE.end_marker(STREAM)
    assert marker is not None
    assert marker.line_start
    assert b"event: message_stop" in marker.spellings
    assert CLAUDE.end_marker("application/json") is None
    inside = stream(*streamed(text('"type":"message_stop"'), WORDS))
    assert sum(inside.body.count(b"\n" + spelled) for spelled in marker.spellings) == 2


@pytest.mark.parametrize("name", ["reply.sse", "tool.sse"])
def test_wherever_chunks_are_cut_the_end_waits_and_nothing_else(name: str) -> None:
    body = recorded(name).body
    end = body.index(b"event: message_stop")
    for at in range(len(body) + 1):
        tee = Tee(1 << 20, CLAUDE.end_marker)
        tee.begin(200, STREAM, (), None)
        free = tee.feed(body[:at]) + tee.feed(body[at:])
        assert (free, tee.release()) == (body[:end], body[end:])
        assert tee.marked
        assert tee.body() == body


# Going on with what was begun.


@pytest.mark.parametrize(
    ("began", "content", "joined"),
    [
        ("The answer is (", [text("B)")], [text("The answer is (B)")]),
        ("The answer is (", "B)", "The answer is (B)"),
        ([text("a")], [text("b"), call("t")], [text("ab"), call("t")]),
        ([text("a"), call("s")], [text("b")], [text("a"), call("s"), text("b")]),
        ([text("a", citations=[{}])], [text("b")], [text("a", citations=[{}]), text("b")]),
    ],
)
def test_what_was_begun_and_what_follows_are_one_message(
    began: object, content: object, joined: object
) -> None:
    asked = prompt(USER, {"role": "assistant", "content": began})
    assert asked.prefill
    assert reply(whole(content), asked)[1] == joined


def test_a_paused_turn_is_whole_once_it_was_called_again() -> None:
    paused = assistant({"type": "server_tool_use", "id": "s", "name": "web", "input": {}})
    more = assistant({"type": "web_search_tool_result", "tool_use_id": "s", "content": []})
    verdict, content = reply(whole([text("Done.")]), prompt(USER, paused, more))
    assert verdict is Verdict.COMPLETE
    assert [block["type"] for block in content] == [
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]


# Errors.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (409, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_errors_have_the_shape_that_sdks_know(status: int, kind: str) -> None:
    content_type, body = CLAUDE.error_body(status, "some_code", "Say please.")
    assert content_type == "application/json"
    assert json.loads(body) == {"type": "error", "error": {"type": kind, "message": "Say please."}}


def test_an_error_event_reads_as_an_error() -> None:
    event = CLAUDE.error_event("memory_commit_failed", "Not\nkept.")
    assert event.startswith(b"event: error\ndata: {")
    body = recorded("reply.sse").body.replace(
        b"event: message_stop", event + b"event: message_stop"
    )
    assert reply(Answer(200, STREAM, body, True))[0] is Verdict.ERROR


def test_refused_thinking_is_told_no_more() -> None:
    refusal = Answer(400, "application/json", (DATA / "refused.json").read_bytes(), True)
    assert CLAUDE.remedy(refusal) is Remedy.NO_REASONING
    changed = (
        b"messages.1.content.2: `thinking` or `redacted_thinking` blocks in the latest assistant"
        b" message cannot be modified."
    )
    assert CLAUDE.remedy(refusal._replace(body=changed)) is Remedy.NO_REASONING
    assert CLAUDE.remedy(refusal._replace(status=500)) is None
    too_long = b'{"error":{"message":"prompt is too long: 210000 tokens > 200000 maximum"}}'
    assert CLAUDE.remedy(refusal._replace(body=too_long)) is Remedy.LESS_HISTORY


# Whatever comes.


@given(st.data(), st.sampled_from(sorted(p.name for p in DATA.glob("*.sse"))), st.booleans())
def test_a_spoilt_answer_has_a_verdict(data: st.DataObject, name: str, proved: bool) -> None:
    """Pieces of a real answer, out of order, doubled or left out."""
    answer = recorded(name, proved=proved)
    lines = answer.body.splitlines(keepends=True)
    body = b"".join(data.draw(st.lists(st.sampled_from([*lines, b"\n", b"data: ", b"\xff"]))))
    read = CLAUDE.read_reply(prompt(USER), answer._replace(body=body))
    assert bool(read.messages) == read.verdict.kept


KEYS = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "text",
        "thinking",
        "signature",
        "id",
        "tool_use_id",
        "name",
        "input",
        "source",
        "data",
        "cache_control",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(), max_size=3),
    st.sampled_from(
        ["text", "thinking", "tool_use", "tool_result", "image", "user", "assistant", "�"]
    ),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"])},
    optional={"content": st.lists(st.dictionaries(KEYS, JSON, max_size=5), max_size=3) | JSON},
)


@given(st.lists(MESSAGES | JSON, max_size=4), JSON, JSON)
def test_any_list_of_messages_is_read_or_not(
    said: list[object], system: object, more: object
) -> None:
    body = {"messages": said, "system": system, "tools": more, "model": more, "max_tokens": more}
    read = CLAUDE.read_prompt(json.dumps(body).encode())
    if read is None:
        return
    pinned = [message.raw for message in read.pinned]
    for asked in (read, prompt(USER)):
        json.loads(CLAUDE.inject(asked, pinned, read.claimed + read.new))
    for message in read.claimed + read.new:
        assert message.tokens > 0
        for left in (CLAUDE.without_calls(message), CLAUDE.without_reasoning(message)):
            assert left is None or json.loads(left.raw)


@given(JSON | st.lists(st.dictionaries(KEYS, JSON, max_size=5), max_size=3), st.booleans())
def test_any_answer_has_a_verdict(content: object, proved: bool) -> None:
    start = {"type": "content_block_start", "index": 0, "content_block": content}
    delta = {"type": "content_block_delta", "index": 0, "delta": content}
    end = streamed({})[2:]
    for answer in (
        whole(content),
        stream(start, delta, *end),
        stream({"type": "message_start", "message": content}, delta),
    ):
        read = CLAUDE.read_reply(prompt(USER), answer._replace(proved=proved))
        assert bool(read.messages) == read.verdict.kept


def test_any_depth_has_a_verdict() -> None:
    """What can just be parsed may be too deep to be written, or compared."""
    for depth in [*range(100, 800, 100), *range(800, 1000, 3), 2000, 100_000]:
        deep = "[" * depth + "]" * depth
        nested = '{"content":[' * depth + "]}" * depth
        for block in (
            f'{{"type":"tool_use","id":"t","name":"n","input":{{"a":{deep}}}}}',
            f'{{"type":"tool_result","tool_use_id":"t","cache_control":1,"content":[{nested}]}}',
            f'{{"type":"thinking","signature":{deep}}}',
        ):
            body = f'{{"content":[{block},{{"type":"text","text":"a"}}],"stop_reason":"end_turn"}}'
            for read in (
                CLAUDE.read_reply(prompt(USER), Answer(200, "", body.encode(), True)),
                CLAUDE.read_reply(prompt(USER, USER), Answer(200, "", body.encode(), False)),
            ):
                assert bool(read.messages) == read.verdict.kept
            said = f'{{"role":"user","content":[{block}]}}'
            asked = CLAUDE.read_prompt(
                f'{{"system":{deep},"tools":{deep},"messages":[{said},{said}]}}'.encode()
            )
            for history in (messages(USER, assistant(thinking())), asked.new if asked else ()):
                CLAUDE.inject(asked or prompt(USER), (), [*messages(USER), *history])

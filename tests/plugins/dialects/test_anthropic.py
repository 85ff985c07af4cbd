"""Anthropic's Messages: bodies in the shapes of its API, read and told; the contract; errors."""

import json
from collections.abc import Sequence

import pytest
from tests.plugins.dialects.claude import (
    CLAUDE,
    DATA,
    MARK,
    STREAM,
    USER,
    assistant,
    call,
    letters,
    messages,
    prompt,
    prompt_of,
    recorded,
    reply,
    result,
    text,
    thinking,
    told,
    user,
)

from backstory.fingerprint import fingerprints
from backstory.model import Answer, Remedy, Verdict
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.anthropic import Anthropic
from backstory_plugins.dialects.openai_chat import OpenAIChat


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


@pytest.mark.parametrize(
    "thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}]
)
def test_a_thread_that_the_upstream_keeps_is_its_own(thread: dict[str, str]) -> None:
    """Told by us as well, all of it would be there twice."""
    body = {"messages": [USER]}
    assert CLAUDE.read_prompt(json.dumps(body | {"thread": thread}).encode()) is None
    assert CLAUDE.read_prompt(json.dumps(body | {"thread": None}).encode()) is not None


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

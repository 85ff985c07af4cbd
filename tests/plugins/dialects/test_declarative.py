"""An API that is only described: every description keeps the promises of a dialect."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.declared import answered, declared, recorded

from backstory.errors import ConfigError
from backstory.history import in_form, repaired
from backstory.jsonbody import dump
from backstory.model import Answer, Message, Prompt, Role
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects._chat import plain_message, stored_text
from backstory_plugins.dialects.declarative import Declarative
from backstory_plugins.dialects.falcon import Falcon
from backstory_plugins.dialects.openai_chat import OpenAIChat

CLERK, ORACLE, PARROT = declared("clerk"), declared("oracle"), declared("parrot")
HELLO = (plain_message("user", "Hi, I am Ada."), plain_message("assistant", "Hello Ada!"))


class TestListAndEvents(DialectContract):
    @pytest.fixture
    def dialect(self) -> Dialect:
        return CLERK

    @pytest.fixture
    def request_body(self) -> bytes:
        return recorded("clerk", "request.json")

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        return [
            answered("application/json", recorded("clerk", "reply.json")),
            answered("text/event-stream", recorded("clerk", "reply.sse")),
        ]


class TestTextAndText(DialectContract):
    wraps_every_prompt = True

    @pytest.fixture
    def dialect(self) -> Dialect:
        return ORACLE

    @pytest.fixture
    def request_body(self) -> bytes:
        return recorded("oracle", "request.json")

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        return [answered("text/plain", recorded("oracle", "reply.txt"))]


class TestListAndLines(DialectContract):
    @pytest.fixture
    def dialect(self) -> Dialect:
        return PARROT

    @pytest.fixture
    def request_body(self) -> bytes:
        return recorded("parrot", "request.json")

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        return [
            answered("application/json", recorded("parrot", "reply.json")),
            answered("application/x-ndjson", recorded("parrot", "reply.ndjson")),
        ]


class TestTextAndNamedEvents(DialectContract):
    """A text in, events out; the name of the last one says that it is the last."""

    wraps_every_prompt = True

    @pytest.fixture
    def dialect(self) -> Dialect:
        stream = {"kind": "sse", "text": "$.all", "cumulative": True, "end_event": "bye"}
        return declared("oracle", stream=stream)

    @pytest.fixture
    def request_body(self) -> bytes:
        return recorded("oracle", "request.json")

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        body = b'data: {"all":"4"}\n\ndata: {"all":"4, sure"}\n\nevent: bye\ndata: {}\n\n'
        return [answered("text/event-stream", body)]


def read(dialect: Dialect, body: bytes) -> Prompt:
    prompt = dialect.read_prompt(body)
    assert prompt is not None
    return prompt


def said(messages: Sequence[Message]) -> list[tuple[Role, str]]:
    return [(message.role, stored_text(message)) for message in messages]


def dialogue(*messages: object, **more: object) -> bytes:
    """A request to the clerk."""
    return json.dumps({"dialogue": messages, **more}).encode()


def told_to_clerk(
    prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]
) -> list[tuple[str, str]]:
    value = json.loads(CLERK.inject(prompt, pinned, history))["dialogue"]
    return [(message["speaker"], message["utterance"]) for message in value]


def question(text: str) -> bytes:
    """A request to the oracle."""
    return json.dumps({"ask": {"question": text}}).encode()


def told_to_oracle(
    body: bytes, pinned: Sequence[bytes], history: Sequence[Message], dialect: Dialect = ORACLE
) -> str:
    prompt = read(dialect, body)
    said = json.loads(dialect.inject(prompt, pinned, history))["ask"]["question"]
    assert isinstance(said, str)
    return said


GUEST = {"speaker": "guest", "utterance": "What is 2+2?"}
HOUSE = {"speaker": "house", "utterance": "Be brief."}


@pytest.mark.parametrize("api", ["clerk", "oracle", "parrot"])
def test_history_is_told_in_front_and_every_other_byte_stays(api: str) -> None:
    dialect = declared(api)
    prompt = read(dialect, recorded(api, "request.json"))
    assert dialect.inject(prompt, (), HELLO) == recorded(api, "injected.json")


def test_a_first_prompt_of_text_is_wrapped() -> None:
    prompt = read(ORACLE, recorded("oracle", "request.json"))
    assert ORACLE.inject(prompt, (), ()) == recorded("oracle", "wrapped.json")


def test_the_facts_of_a_prompt_are_where_the_paths_say() -> None:
    prompt = read(CLERK, dialogue(GUEST, desk="front", limits={"most words": 64}))
    assert (prompt.model, prompt.reply_tokens, prompt.auxiliary) == ("front", 64, False)
    prompt = read(CLERK, dialogue(GUEST, desk=7, limits={"most words": 1}))
    assert (prompt.model, prompt.auxiliary) == ("", True)
    prompt = read(CLERK, dialogue(GUEST))
    assert (prompt.model, prompt.reply_tokens, prompt.auxiliary) == ("", None, False)


def test_a_list_is_pinned_claimed_and_new() -> None:
    clerk = {"speaker": "clerk", "utterance": "4"}
    prompt = read(CLERK, dialogue(HOUSE, GUEST, clerk, GUEST))
    assert said(prompt.pinned) == [("system", "Be brief.")]
    assert said(prompt.claimed) == [("user", "What is 2+2?"), ("assistant", "4")]
    assert said(prompt.new) == [("user", "What is 2+2?")]
    assert not prompt.prefill


def test_history_goes_behind_the_leading_system_messages() -> None:
    for messages in ((HOUSE, GUEST), (HOUSE,)):
        prompt = read(CLERK, dialogue(*messages))
        told = [tuple(message.values()) for message in messages]
        told[1:1] = [("guest", "Hi, I am Ada."), ("clerk", "Hello Ada!")]
        assert told_to_clerk(prompt, (), HELLO) == told
    prompt = read(CLERK, b'{"dialogue":[ ]}')
    assert CLERK.inject(prompt, (), ()) is prompt.body
    assert told_to_clerk(prompt, (), HELLO[:1]) == [("guest", "Hi, I am Ada.")]


def test_system_messages_of_any_dialect_are_told_first() -> None:
    prompt = read(CLERK, dialogue(GUEST))
    theirs = b'{"role":"developer","content":[{"type":"text","text":"Be brief."}]}'
    ours = read(CLERK, dialogue(HOUSE)).pinned[0].raw
    for raw in (theirs, ours):
        told = told_to_clerk(prompt, (raw,), HELLO[:1])
        assert told == [
            ("house", "Be brief."),
            ("guest", "Hi, I am Ada."),
            ("guest", "What is 2+2?"),
        ]
        assert told_to_oracle(question("x"), (raw,), ()) == "[Be brief.]\n<Q>x</Q>\n<A>"
    no_system = declared("oracle", transcript={"user": "Q{text}", "assistant": "A{text}"})
    assert told_to_oracle(question("x"), (theirs,), (), no_system) == "QxA"


def test_an_api_without_a_system_role_is_told_no_system_message() -> None:
    prompt = read(PARROT, recorded("parrot", "request.json"))
    assert PARROT.inject(prompt, (b'{"role":"system","content":"x"}',), ()) is prompt.body
    assert declared("parrot").read_prompt(b'{"input":{"turns":[{"by":{"role":"s"}}]}}') is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"dialogue":"text"}',
        b'{"dialogue":null}',
        b'{"dialogue":{}}',
        b'{"dialogue":["text"]}',
        b'{"dialogue":[{"utterance":"x"}]}',
        b'{"dialogue":[{"speaker":"nobody","utterance":"x"}]}',
        b'{"dialogue":[{"speaker":["guest"],"utterance":"x"}]}',
        b'{"dialogue":[{"speaker":"guest","utterance":["x"]}]}',
        b'{"dialogue":[],"dialogue":[]}',
        b'{"dialogue":[{"speaker":"guest","utterance":"x"},]}',
    ],
)
def test_a_list_must_be_one_list_of_messages(body: bytes) -> None:
    assert CLERK.read_prompt(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"ask":{"question":["x"]}}',
        b'{"ask":{"question":null}}',
        b'{"ask":"x"}',
        b'{"ask":[{"question":"x"}]}',
        b'{"question":"x"}',
        b'{"ask":{"question":"x","question":"y"}}',
        b'{"ask":{"question":"x"},"ask":{"question":"x"}}',
    ],
)
def test_a_text_must_be_one_string(body: bytes) -> None:
    assert ORACLE.read_prompt(body) is None


def test_what_the_client_said_is_told_again_as_it_was_spelled() -> None:
    spelled = '{"utterance":"Look: \\u00e9","speaker":"guest", "picture":1E400}'
    bare = '{ "picture": "a cat", "speaker" : "guest" }'
    body = f'{{"dialogue":[{spelled},{bare}]}}'.encode()
    history = read(CLERK, body).new
    assert said(history) == [("user", "Look: é"), ("user", "")]
    again = CLERK.inject(read(CLERK, dialogue(GUEST)), (), history)
    assert f"[{spelled}, {bare}, {{".encode() in again


def test_what_the_template_spells_itself_is_not_kept_twice() -> None:
    assert [message.note for message in read(CLERK, dialogue(GUEST)).new] == [b""]
    prompt = read(PARROT, recorded("parrot", "request.json"))
    assert b'"at":1.50' in prompt.new[0].note


@pytest.mark.parametrize(
    ("spelled", "noted"),
    [
        ('{"v":1,"by":["guest",true],"say":"x"}', False),
        ('{ "v" : 1, "by": ["guest", true], "say": "\\u0078"}', False),
        ('{"v":true,"by":["guest",true],"say":"x"}', True),
        ('{"v":1.0,"by":["guest",true],"say":"x"}', True),
        ('{"v":1,"by":["guest",1],"say":"x"}', True),
        ('{"by":["guest",true],"v":1,"say":"x"}', True),
        ('{"v":1,"by":["guest",true,0],"say":"x"}', True),
        ('{"v":1,"by":["guest"],"say":"x"}', True),
    ],
)
def test_only_white_space_and_escapes_may_be_spelled_anew(spelled: str, *, noted: bool) -> None:
    template = {"v": 1, "by": ["{role}", True], "say": "{text}"}
    dialect = declared("clerk", message=template)
    (message,) = read(dialect, f'{{"dialogue":[{spelled}]}}'.encode()).new
    assert bool(message.note) is noted
    told = dialect.inject(read(dialect, b'{"dialogue":[]}'), (), [message])
    assert json.loads(told)["dialogue"] == [json.loads(spelled)]


def test_a_spelling_of_another_description_is_told_by_its_text() -> None:
    noted = read(PARROT, recorded("parrot", "request.json")).new
    prompt = read(CLERK, dialogue(HOUSE))
    assert told_to_clerk(prompt, (), noted)[1:] == [("guest", "What is 2+2?")]


def test_other_dialects_tell_what_was_said_here_and_the_other_way_round() -> None:
    history = [*read(CLERK, dialogue(GUEST)).new, HELLO[1]]
    falcon, chat = Falcon(), OpenAIChat()
    body = falcon.inject(read(falcon, b'{"text":"x"}'), (), in_form(history, falcon))
    assert json.loads(body)["text"] == "Human: What is 2+2?\nAI: Hello Ada!\nHuman: x\nAI: "
    body = chat.inject(read(chat, b'{"messages":[]}'), (), in_form(history, chat))
    assert json.loads(body)["messages"] == [
        {"role": "user", "content": "What is 2+2?"},
        {"role": "assistant", "content": "Hello Ada!"},
    ]


def test_a_list_that_ends_with_the_beginning_of_a_reply_is_continued() -> None:
    prompt = read(CLERK, dialogue(GUEST, {"speaker": "clerk", "utterance": "2+2 is"}))
    assert prompt.prefill
    answer = answered("application/json", b'{"answer":{"utterance":" 4.","why":"said"}}')
    assert said(CLERK.read_reply(prompt, answer).messages) == [("assistant", "2+2 is 4.")]


def test_a_transcript_is_history_and_prompt() -> None:
    text = "[Be brief.]\n<Q>Hi</Q>\n<A>Hello</A>\n<Q>What is 2+2?</Q>\n<A>"
    prompt = read(ORACLE, question(text))
    assert said(prompt.pinned) == [("system", "Be brief.")]
    assert said(prompt.claimed) == [("user", "Hi"), ("assistant", "Hello")]
    assert said(prompt.new) == [("user", "What is 2+2?")]
    assert ORACLE.inject(prompt, (), ()) is prompt.body
    told = "<Q>Hi, I am Ada.</Q>\n<A>Hello Ada!</A>\n"
    assert told_to_oracle(question(text), (), HELLO) == text.replace("]\n", "]\n" + told)


def test_a_transcript_that_ends_with_an_answer_asks_nothing() -> None:
    prompt = read(ORACLE, question("<Q>Hi</Q>\n<A>Hello</A>\n<A>"))
    assert said(prompt.claimed) == [("user", "Hi"), ("assistant", "Hello")]
    assert (prompt.new, prompt.prefill) == ((), False)


def test_the_end_of_raw_text_is_broken_up_in_told_history_and_not_in_the_prompt() -> None:
    history = [plain_message("user", "What does </A> mean?"), HELLO[1]]
    told = told_to_oracle(question("And </A>?"), (), history)
    assert told == ("<Q>What does < /A> mean?</Q>\n<A>Hello Ada!</A>\n<Q>And </A>?</Q>\n<A>")


ENDS = st.text("|< ", min_size=1, max_size=4)


@given(ENDS, st.lists(ENDS, max_size=6).map("".join))
def test_no_told_text_holds_the_end_of_raw_text(end_text: str, text: str) -> None:
    dialect = declared(
        "oracle",
        transcript={"user": "Q{text}", "assistant": "A{text}"},
        stream={"kind": "text", "end_text": end_text},
    )
    told = told_to_oracle(question("x"), (), [plain_message("user", text + end_text)], dialect)
    assert end_text not in told.removeprefix("Q").removesuffix("QxA")


def test_an_error_of_ours_has_the_shape_that_is_described() -> None:
    kind, body = CLERK.error_body(503, "memory_unavailable", "{code} is no placeholder here")
    assert kind == "application/json"
    assert json.loads(body) == {
        "fault": {
            "kind": "memory_unavailable",
            "says": "503: {code} is no placeholder here",
            "status": 503,
        }
    }
    assert json.loads(ORACLE.error_body(503, "c", "m")[1]) == {
        "error": {"code": "c", "message": "m"}
    }


def test_only_event_streams_have_a_place_for_an_error() -> None:
    assert CLERK.error_event("cut", "m").startswith(b'data: {"fault":{"kind":"cut"')
    assert (ORACLE.error_event("cut", "m"), PARROT.error_event("cut", "m")) == (b"", b"")


def test_a_description_without_anything_says_what_is_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        Declarative.from_options({})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "prompt",
        "message",
        "reply",
    ]


CALLS = st.sampled_from(["c1", "c2", "c3"])
TEXTS = st.sampled_from(["", "Hi", "a\nb"])


def _call(ident: str) -> dict[str, object]:
    return {"id": ident, "type": "function", "function": {"name": "f", "arguments": "{}"}}


THEIRS = st.one_of(
    st.builds(lambda text: {"role": "user", "content": text}, TEXTS),
    st.builds(lambda text: {"role": "system", "content": text}, TEXTS),
    st.builds(lambda text: {"role": "assistant", "content": text}, TEXTS),
    st.builds(
        lambda text, ids: {
            "role": "assistant",
            "content": text,
            "tool_calls": [_call(ident) for ident in ids],
        },
        TEXTS,
        st.lists(CALLS, min_size=1, max_size=3, unique=True),
    ),
    st.builds(lambda i: {"role": "tool", "tool_call_id": i, "content": "result"}, CALLS),
)


@given(st.lists(THEIRS, max_size=8), st.integers(0, 8))
def test_whatever_was_said_elsewhere_no_call_and_no_result_is_told(
    theirs: list[dict[str, object]], cut: int
) -> None:
    """Parallel calls, abandoned calls, results alone, cut anywhere: the list stays one that is legal."""
    messages = read(OpenAIChat(), dump({"messages": theirs}))
    stored = [*messages.pinned, *messages.claimed, *messages.new][cut:]
    body = dialogue(HOUSE, GUEST)
    for dialect, request in ((CLERK, body), (ORACLE, question("x"))):
        prompt = read(dialect, request)
        history = repaired(in_form(stored, dialect), prompt.new, dialect.without_calls)
        told = read(dialect, dialect.inject(prompt, (), history))
        assert b"result" not in told.body
        assert b"c1" not in told.body
        expected = [
            (m.role, stored_text(m)) for m in history if m.role != "tool" and stored_text(m)
        ]
        again = said([*told.pinned, *told.claimed, *told.new])
        if dialect is CLERK:
            assert again == [("system", "Be brief."), *expected, ("user", "What is 2+2?")]
            assert json.loads(told.body)["dialogue"][0] == HOUSE

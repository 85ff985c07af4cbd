"""Any JSON where a message should be: it is read or it is not, and nothing is raised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Answer, Message, Prompt
from backstory_plugins.dialects._chat import read_message, stored_text, text_of, without_calls
from backstory_plugins.dialects.falcon import Falcon
from backstory_plugins.dialects.openai_chat import OpenAIChat

CHAT, FALCON = OpenAIChat(), Falcon()
NOTHING = Prompt(b"", (), (), ())

# The keys that are looked for, and values of every kind in every place.
KEYS = st.sampled_from(
    [
        "role",
        "content",
        "refusal",
        "tool_calls",
        "function_call",
        "audio",
        "reasoning_details",
        "type",
        "text",
        "image_url",
        "url",
        "input_audio",
        "data",
        "file",
        "file_id",
        "id",
        "index",
        "function",
        "custom",
        "name",
        "arguments",
        "input",
        "delta",
        "message",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.sampled_from(["assistant", "user", "tool", "text", "custom", "{}", "\ud800"]),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=5)
FINISH = st.sampled_from(["stop", "length", "tool_calls", "", None, 7])


@given(st.sampled_from(["user", "assistant", "tool", "function"]), OBJECTS)
def test_any_object_with_a_role_is_a_message(role: str, value: dict[str, object]) -> None:
    value = {**value, "role": role}
    message = read_message(value, json.dumps(value).encode())
    assert message is not None
    assert message.tokens > 0
    assert stored_text(message) == text_of(value)
    left = without_calls(message)
    assert left is None or not left.calls


@given(st.lists(JSON | OBJECTS, max_size=3), JSON)
def test_any_list_of_messages_is_read_or_not(messages: list[object], limit: object) -> None:
    for spelled in (messages, [{"role": "user"}, *messages]):
        body = {"messages": spelled, "text": messages, "max_tokens": limit}
        prompt = CHAT.read_prompt(json.dumps(body).encode())
        if prompt is not None:
            json.loads(CHAT.inject(prompt, [], prompt.new))
        assert FALCON.read_prompt(json.dumps(body).encode()) is None


@given(OBJECTS, FINISH, st.booleans())
def test_any_completion_has_a_verdict(
    message: dict[str, object], finish: object, proved: bool
) -> None:
    choice = {"finish_reason": finish, "message": message, "delta": message}
    body = json.dumps({"choices": [choice]}).encode()
    check(Answer(200, "application/json", body, proved))
    check(Answer(200, "text/event-stream", b"data: " + body, proved))


@given(st.lists(JSON | OBJECTS, max_size=4), st.booleans())
def test_any_stream_has_a_verdict(deltas: list[object], proved: bool) -> None:
    chunks: list[object] = [{"choices": [{"delta": delta}]} for delta in deltas]
    chunks += [{"choices": deltas}, {"choices": [{"finish_reason": "stop"}]}, *deltas]
    body = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)
    check(Answer(200, "text/event-stream", body, proved))


def test_any_depth_has_a_verdict() -> None:
    """What can just be parsed may be too deep to be written, or compared."""
    for depth in [*range(100, 800, 100), *range(800, 1000, 3), 2000, 100_000]:
        deep = "[" * depth + "]" * depth
        for message in (
            f'{{"role":"assistant","content":"4","x":{deep},"refusal":null}}',
            f'{{"role":"assistant","tool_calls":[{{"function":{{"arguments":"{deep}"}}}}]}}',
            f'{{"role":"assistant","tool_calls":[{{"function":{{"arguments":{deep}}}}}]}}',
        ):
            choice = f'{{"choices":[{{"message":{message},"delta":{message},"finish_reason":"stop"'
            body = (choice + "}]}").encode()
            check(Answer(200, "application/json", body, True))
            check(Answer(200, "text/event-stream", b"data: " + body, True))
            CHAT.read_prompt(f'{{"messages":[{message}]}}'.encode())
            FALCON.read_prompt(f'{{"text":"a","x":{deep}}}'.encode())


def check(answer: Answer) -> None:
    reply = CHAT.read_reply(NOTHING, answer)
    assert bool(reply.messages) == reply.verdict.kept
    for message in reply.messages:
        assert message.role == "assistant"
        json.loads(message.raw, parse_constant=pytest.fail)
        assert isinstance(FALCON.inject(text_prompt(), (), [message]), bytes)


def text_prompt() -> Prompt:
    prompt = FALCON.read_prompt(b'{"text":"What is 2+2?"}')
    assert prompt is not None
    return prompt


def test_a_reply_is_told_in_another_dialect() -> None:
    body = b'{"choices":[{"message":{"content":[{"type":"text","text":"4"}]}}]}'
    reply = CHAT.read_reply(NOTHING, Answer(200, "application/json", body, True))
    asked = Message("user", b'{"role":"user","content":"2+2?"}', b"", b"")
    told = json.loads(FALCON.inject(text_prompt(), (), [asked, *reply.messages]))["text"]
    assert told == "Human: 2+2?\nAI: 4\nHuman: What is 2+2?\nAI: "

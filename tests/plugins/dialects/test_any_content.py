"""Any JSON where Ollama and Gemini have a message: it is read or it is not, and nothing is raised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Answer, Message, Prompt
from backstory.spi import Dialect
from backstory_plugins.dialects.gemini import Gemini
from backstory_plugins.dialects.ollama_chat import OllamaChat

GEMINI, OLLAMA = Gemini(), OllamaChat()
NOTHING = Prompt(b"", (), (), ())

# The keys that are looked for, and values of every kind in every place.
KEYS = st.sampled_from(
    [
        *("role", "content", "images", "thinking", "tool_calls", "function", "name", "arguments"),
        *("tool_name", "done", "done_reason", "eval_count", "message", "error"),
        *("parts", "text", "thought", "thoughtSignature", "functionCall", "function_call", "args"),
        *("functionResponse", "response", "id", "inlineData", "mimeType", "data", "fileData"),
        *("fileUri", "candidates", "index", "finishReason", "promptFeedback", "blockReason"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.sampled_from(["assistant", "user", "model", "tool", "STOP", "stop", "{}", "\ud800"]),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=5)
PARTS = st.lists(OBJECTS, max_size=3)
CONTENTS = st.builds(
    lambda role, parts, more: {**more, "role": role, "parts": parts},
    st.sampled_from(["user", "model", "function"]),
    PARTS,
    OBJECTS,
)
MESSAGES = st.builds(
    lambda role, more: {**more, "role": role},
    st.sampled_from(["user", "assistant", "tool", "system", "USER"]),
    OBJECTS,
)


def told_again(dialect: Dialect, message: Message) -> None:
    """What is made of a stored message is JSON, and has the same facts."""
    for left in (dialect.without_calls(message), dialect.without_reasoning(message)):
        if left is not None:
            json.loads(left.raw)
            assert left.fingerprint == message.fingerprint
    without = dialect.without_calls(message)
    assert without is None or not without.calls


@given(st.lists(MESSAGES, max_size=3), JSON)
def test_any_list_of_ollamas_messages(messages: list[object], options: object) -> None:
    body = json.dumps({"messages": messages, "options": options, "tools": options}).encode()
    prompt = OLLAMA.read_prompt(body)
    assert prompt is not None
    json.loads(OLLAMA.inject(prompt, [], prompt.new))
    for message in prompt.claimed + prompt.new:
        told_again(OLLAMA, message)


@given(st.lists(CONTENTS, max_size=3), JSON)
def test_any_list_of_contents(contents: list[object], more: object) -> None:
    fields = {"contents": contents, "systemInstruction": more, "generationConfig": more}
    prompt = GEMINI.read_prompt(json.dumps(fields).encode())
    assert prompt is not None
    json.loads(GEMINI.inject(prompt, [json.dumps(more).encode()], prompt.new))
    for message in prompt.claimed + prompt.new:
        told_again(GEMINI, message)


@given(st.lists(JSON | OBJECTS, max_size=3), st.booleans())
def test_any_answer_has_a_verdict(said: list[object], proved: bool) -> None:
    pieces: list[object] = [{"candidates": said, "message": piece, "done": True} for piece in said]
    pieces += [
        {"candidates": [{"content": {"parts": said}, "finishReason": "STOP"}]},
        {"candidates": [{"content": piece, "finishReason": "STOP"} for piece in said]},
    ]
    spelled = [json.dumps(piece).encode() for piece in [*said, *pieces]]
    for body in (*spelled, b"[" + b",".join(spelled) + b"]", b"[" + spelled[-1] + b"]"):
        check(Answer(200, "application/json", body, proved))
    check(Answer(200, "application/x-ndjson", b"\n".join(spelled), proved))
    check(Answer(200, "text/event-stream", b"data: " + b"\n\ndata: ".join(spelled), proved))


def test_any_depth_has_a_verdict() -> None:
    """What can just be parsed may be too deep to be written, or compared."""
    for depth in [*range(100, 800, 100), *range(800, 1000, 3), 2000, 100_000]:
        deep = "[" * depth + "]" * depth
        call = f'{{"functionCall":{{"name":"f","args":{{"a":{deep}}}}}}}'
        tool = f'{{"function":{{"name":"f","arguments":{{"a":{deep}}}}}}}'
        message = f'{{"role":"assistant","content":"4","x":{deep},"tool_calls":[{tool}]}}'
        content = f'{{"role":"model","parts":[{call}]}}'
        for body in (
            f'{{"message":{message},"done":true,"done_reason":"stop"}}',
            f'{{"candidates":[{{"content":{content},"finishReason":"STOP"}}]}}',
        ):
            check(Answer(200, "application/json", body.encode(), True))
            check(Answer(200, "application/x-ndjson", body.encode(), True))
            check(Answer(200, "text/event-stream", b"data: " + body.encode(), True))
        OLLAMA.read_prompt(f'{{"messages":[{message}]}}'.encode())
        GEMINI.read_prompt(f'{{"contents":[{content},{content}]}}'.encode())


def check(answer: Answer) -> None:
    for dialect in (GEMINI, OLLAMA):
        reply = dialect.read_reply(NOTHING, answer)
        assert bool(reply.messages) == reply.verdict.kept
        for message in reply.messages:
            assert message.role == "assistant"
            json.loads(message.raw, parse_constant=pytest.fail)
            told_again(dialect, message)

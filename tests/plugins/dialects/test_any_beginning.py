"""What was read of an earlier body changes nothing: every body is read as if it were the first.

Bodies as clients make them turn after turn, and bodies that nobody would make: other blanks and keys,
messages changed, bytes lost. Whatever of the first is the beginning of the second is not read again.
"""

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.spi import Dialect
from backstory.transcripts import in_common
from backstory_plugins.dialects.anthropic import Anthropic
from backstory_plugins.dialects.gemini import Gemini
from backstory_plugins.dialects.ollama_chat import OllamaChat
from backstory_plugins.dialects.openai_chat import OpenAIChat
from backstory_plugins.dialects.openai_responses import OpenAIResponses

Spelled = dict[str, Any]


class Api(NamedTuple):
    """A dialect, where its messages are, and some of them."""

    dialect: Dialect
    key: str
    messages: tuple[Spelled, ...]
    """A question and a reply first."""


def said(role: str, content: object, **more: object) -> Spelled:
    return {"role": role, "content": content, **more}


FUNCTION = {"name": "look", "arguments": "{}"}
CALL = {"id": "c1", "type": "function", "function": FUNCTION}
MARKED = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]
CHAT = (
    said("user", "Hello"),
    said("assistant", "Hi 世界!"),
    said("system", "Be brief.\r\n"),
    said("user", [{"type": "text", "text": "\U0001f600"}]),
    said("assistant", None, tool_calls=[CALL]),
    said("tool", "found", tool_call_id="c1"),
    said("assistant", "<think>hm</think>\ud800"),
)
APIS = {
    "openai.chat": Api(OpenAIChat(), "messages", CHAT),
    "ollama.chat": Api(OllamaChat(), "messages", (*CHAT, said("user", "e\u0301", images=["aGk="]))),
    "anthropic": Api(
        Anthropic(),
        "messages",
        (
            said("user", "Hello"),
            said("assistant", "Hi 世界!"),
            said("user", MARKED),
            said("assistant", [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]),
            said("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "found"}]),
            said("assistant", [{"type": "thinking", "thinking": "hm", "signature": "s"}]),
            said("system", "Be brief."),
        ),
    ),
    "gemini": Api(
        Gemini(),
        "contents",
        (
            {"role": "user", "parts": [{"text": "Hello"}]},
            {"role": "model", "parts": [{"text": "Hi 世界!"}]},
            {"parts": [{"text": "a"}, {"text": "b"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {}}}]},
        ),
    ),
    "openai.responses": Api(
        OpenAIResponses(),
        "input",
        (
            said("user", "Hello"),
            said("assistant", [{"type": "output_text", "text": "Hi 世界!"}]),
            said("developer", "Be brief."),
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "g"},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "found"},
            {"type": "shell_call", "call_id": "c2", "environment": {"type": "container_auto"}},
            {"type": "shell_call_output", "call_id": "c2", "output": []},
            {"type": "of_tomorrow", "id": "x"},
        ),
    ),
}
BLANKS = st.sampled_from(["", "", "", " ", "\n\t"])
FIELDS = (
    '"model":"m"',
    '"model": "n"',
    '"é":1',
    '"max_tokens":1',
    '"max_tokens": 1024',
    '"system":"Be brief."',
    '"systemInstruction":{"parts":[{"text":"Be brief."}]}',
    '"tools":[{"name":"look"}]',
    '"tools":[{"a":[1E400,"]"]}]',
    '"options":{"num_predict":7}',
    '"store":false',
    '"instructions":"Be brief."',
)
ODD = st.sampled_from(["1", "null", "[]", "{}", '"}"', '{"role":"user"}', '{"role":"x"}', ""])


class Body(NamedTuple):
    """The text of a body in pieces: only what is between ``opening`` and ``closing`` are messages."""

    opening: str
    messages: tuple[str, ...]
    closing: str

    def spelled(self) -> bytes:
        return (self.opening + ",".join(self.messages) + self.closing).encode("utf-8", "replace")


def keys(key: str) -> st.SearchStrategy[str]:
    """As clients spell it, and as they might: escaped, or in capitals as Go reads it."""
    escaped = f"\\u{ord(key[0]):04x}{key[1:]}"
    return st.sampled_from([key] * 8 + [escaped, key.upper()])


@st.composite
def messages(draw: st.DrawFn, api: Api) -> str:
    if draw(st.integers(0, 30)) == 0:
        return draw(ODD)
    message = draw(st.sampled_from(api.messages[:2] * 3 + api.messages))
    if draw(st.integers(0, 5)) == 0:
        message = dict(reversed(message.items()))
    ascii_only = draw(st.booleans())
    return draw(BLANKS) + json.dumps(message, ensure_ascii=ascii_only) + draw(BLANKS)


@st.composite
def bodies(draw: st.DrawFn, api: Api) -> Body:
    before = draw(st.lists(st.sampled_from(FIELDS), max_size=2))
    after = draw(st.lists(st.sampled_from(FIELDS), max_size=2))
    if draw(st.integers(0, 20)) == 0:
        after.append(f'"{draw(keys(api.key))}":[]')
    opening = "{" + "".join(field + draw(BLANKS) + "," for field in before)
    opening += f'{draw(BLANKS)}"{draw(keys(api.key))}":{draw(BLANKS)}['
    listed = tuple(draw(st.lists(messages(api), min_size=2, max_size=9)))
    return Body(opening, listed, "]" + "".join(f",{field}" for field in after) + "}")


@st.composite
def next_bodies(draw: st.DrawFn, api: Api, body: Body) -> bytes:
    """What may follow upon ``body``."""
    opening, listed, closing = body
    more = tuple(draw(st.lists(messages(api), max_size=3)))
    at = draw(st.integers(0, len(listed)))
    match draw(st.integers(0, 7)):
        case 0:
            return body.spelled()
        case 1 | 2:  # a turn more
            return Body(opening, listed + more, closing).spelled()
        case 3:  # another branch
            return Body(opening, listed[:at] + more, closing).spelled()
        case 4:  # a message changed, or cache marks that wander
            changed = listed[:at] + more[:1] + listed[at + 1 :] + more[1:]
            return Body(opening, changed, closing).spelled()
        case 5:  # another field before or behind
            other = draw(bodies(api))
            return draw(
                st.sampled_from(
                    [body._replace(opening=other.opening), body._replace(closing=other.closing)]
                )
            ).spelled()
        case 6:  # lost bytes
            spelled = Body(opening, listed + more, closing).spelled()
            return spelled[: draw(st.integers(0, len(spelled)))]
        case _:  # one byte is another, or is not there
            spelled = Body(opening, listed + more, closing).spelled()
            place = draw(st.integers(0, len(spelled) - 1))
            byte = draw(st.sampled_from([b"", b"\xff", b"\xef\xbb\xbf", b"0", b",", b"]", b" "]))
            return spelled[:place] + byte + spelled[place + 1 :]


@pytest.mark.parametrize("name", APIS)
@given(st.data())
def test_a_body_is_read_as_if_it_were_the_first(name: str, data: st.DataObject) -> None:
    api = APIS[name]
    before = data.draw(bodies(api))
    first = api.dialect.read_prompt(before.spelled())
    if first is None or first.begins is None:
        return
    for _ in range(5):
        body = data.draw(next_bodies(api, before))
        begun = in_common(first.body, first.begins, body)
        assert api.dialect.read_prompt(body, begun) == api.dialect.read_prompt(body)


@pytest.mark.parametrize("name", APIS)
@given(st.data())
def test_a_part_of_what_is_known_is_as_good(name: str, data: st.DataObject) -> None:
    api = APIS[name]
    read = api.dialect.read_prompt(data.draw(bodies(api)).spelled())
    if read is None or read.begins is None:
        return
    for count in range(len(read.begins.messages) + 1):
        assert api.dialect.read_prompt(read.body, read.begins.first(count)) == read


@pytest.mark.parametrize("name", APIS)
def test_what_is_resent_is_not_read_again(name: str) -> None:
    api = APIS[name]
    question, reply = (json.dumps(message) for message in api.messages[:2])
    opening, closing = f'{{"é":"é","{api.key}":[', '],"model":"m"}'
    first = Body(opening, (question, reply, question), closing).spelled()
    second = Body(opening, (question, reply, question, reply, question), closing).spelled()
    known = api.dialect.read_prompt(first)
    assert known is not None
    assert known.begins is not None
    again = api.dialect.read_prompt(second, in_common(first, known.begins, second))
    assert again is not None
    assert [m.role for m in again.claimed] == ["user", "assistant"] * 2
    assert again.claimed[0] is known.claimed[0]
    assert again.claimed[1] is known.claimed[1]


@pytest.mark.parametrize("name", APIS)
def test_what_is_said_to_be_known_is_believed(name: str) -> None:
    """So the test above cannot pass by reading everything."""
    api = APIS[name]
    question, reply = (json.dumps(message) for message in api.messages[:2])
    body = Body(f'{{"{api.key}":[', (question, reply, question, question), "]}").spelled()
    known = api.dialect.read_prompt(body)
    assert known is not None
    assert known.begins is not None
    told = tuple(m._replace(note=b"known") for m in known.begins.messages)
    again = api.dialect.read_prompt(body, known.begins._replace(messages=told))
    assert again is not None
    assert [m.note for m in again.claimed] == [b"known", b"known"]

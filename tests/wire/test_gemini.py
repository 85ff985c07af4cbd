"""Gemini's API over sockets: an object, an array in pieces, events; remembered, and refused in its shape."""

import json
from typing import Any

import pytest
from tests.wire.answers import Framing, respond
from tests.wire.clients import Received
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.talking import NAMED, ask, one
from tests.wire.upstreams import RecordingUpstream
from tests.wire.users import User

from backstory.errors import StoreUnavailable
from backstory_plugins.stores.memory import MemoryStore

MODEL = "/v1beta/models/gemini-demo"
TARGETS = {
    "whole": f"{MODEL}:generateContent",
    "events": f"{MODEL}:streamGenerateContent?alt=sse",
    "array": f"{MODEL}:streamGenerateContent",
}
KEY = ("x-goog-api-key", token())
"""Where Google's SDK puts its key."""
WEATHER = {
    "functionDeclarations": [
        {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {
                "type": "OBJECT",
                "properties": {"city": {"type": "STRING"}},
                "required": ["city"],
            },
        }
    ]
}


def said(text: str) -> dict[str, Any]:
    """What the user says."""
    return {"role": "user", "parts": [{"text": text}]}


async def generate(proxy: Proxy, form: str, *contents: dict[str, Any], **more: object) -> Received:
    """The answer in the conversation ``c``."""
    body = {"contents": list(contents), **more}
    answer = await ask(proxy, TARGETS[form], body, NAMED, KEY)
    assert answer.status == 200, answer.content
    return answer


def parts_in(form: str, content: bytes) -> list[dict[str, Any]]:
    """Every part of an answer."""
    if form == "events":
        events = [event for event in content.split(b"\r\n\r\n") if event]
        responses = [json.loads(event.removeprefix(b"data: ")) for event in events]
    else:
        whole = json.loads(content)
        responses = whole if form == "array" else [whole]
    return [part for each in responses for part in each["candidates"][0]["content"]["parts"]]


async def say(proxy: Proxy, form: str, text: str) -> str:
    """The text of the reply to one new message."""
    answer = await generate(proxy, form, said(text))
    return "".join(part["text"] for part in parts_in(form, answer.content))


async def turns(proxy: Proxy) -> list[list[Any]]:
    """The parts of every message of each turn."""
    answer = await User(proxy.url).manage("c", "/turns")
    found = json.loads(answer.content)["turns"] if answer.status == 200 else []
    return [[message["parts"] for message in turn["messages"]] for turn in found]


@pytest.mark.parametrize("form", TARGETS)
async def test_three_turns_are_one_conversation(
    form: str, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    assert await say(proxy, form, "Repeat the number '94572'.") == "94572"
    assert await say(proxy, form, "What number did you repeat?") == "The number is 94572."
    assert await say(proxy, form, "How many messages do you see?") == "I see 5 messages."
    assert (await turns(proxy))[1] == [
        [{"text": "What number did you repeat?"}],
        [{"text": "The number is 94572."}],
    ]


@pytest.mark.parametrize("form", TARGETS)
async def test_a_tool_loop_is_part_of_the_conversation(
    form: str, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    asked = said("What is the weather in Paris?")
    first = await generate(proxy, form, asked, tools=[WEATHER])
    (part,) = parts_in(form, first.content)
    assert part["functionCall"] == {"name": "get_weather", "args": {"city": "Paris"}}
    result = {"name": "get_weather", "response": {"result": "12 degrees"}}
    second = await generate(
        proxy, form, {"role": "user", "parts": [{"functionResponse": result}]}, tools=[WEATHER]
    )
    told = "".join(each["text"] for each in parts_in(form, second.content))
    assert told == "The tool says: 12 degrees"
    assert await say(proxy, form, "How many messages do you see?") == "I see 5 messages."


async def test_a_system_instruction_stays_until_another_is_sent(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    system = {"parts": [{"text": "The code is XY."}]}
    await generate(proxy, "whole", said("Hello"), systemInstruction=system)
    assert await say(proxy, "events", "What is the code?") == "The code is XY."


async def test_dialects_tell_each_other_what_was_said(demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo)
    user = User(proxy.url)
    assert b"94572" in (await user.ask("Repeat the number '94572'.", NAMED)).content
    assert await say(proxy, "events", "What number did you repeat?") == "The number is 94572."
    told = await user.ask("How many messages do you see?", NAMED)
    assert told.content.startswith(b"I see 5 messages.")


def response(*parts: dict[str, Any], finish: str | None = None) -> bytes:
    """One response object."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    return json.dumps(
        {"candidates": [candidate | ({"finishReason": finish} if finish else {})]}
    ).encode()


SIGNED = {"text": "", "thoughtSignature": "CiQBVKhc7uA="}
OBJECTS = [response({"text": "on"}), response({"text": "e"}), response(SIGNED, finish="STOP")]
PIECES = {
    "whole": [response({"text": "one"}, SIGNED, finish="STOP")],
    "events": [b"data: " + each + b"\r\n\r\n" for each in OBJECTS],
    "array": [b"[" + OBJECTS[0], b"\n,\r\n" + OBJECTS[1], b"\n,\r\n" + OBJECTS[2], b"]\n"],
}
TYPES = {"whole": "application/json", "events": "text/event-stream", "array": "application/json"}


def recorded(form: str, framing: Framing = "chunked") -> bytes:
    return respond(PIECES[form], TYPES[form], framing)


@pytest.mark.parametrize("form", TARGETS)
async def test_what_goes_upstream_has_the_signatures_and_nothing_of_ours(
    form: str, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = recorded(form)
    proxy = await start_proxy(recording_upstream.url)
    for text in ("a", "b"):
        answer = await generate(proxy, form, said(text))
        assert answer.content == b"".join(PIECES[form])
    request = recording_upstream.requests[1]
    assert request.target.decode() == TARGETS[form]
    assert json.loads(request.body) == {
        "contents": [said("a"), {"role": "model", "parts": [{"text": "one"}, SIGNED]}, said("b")]
    }
    assert token().encode() not in request.raw_head


@pytest.mark.parametrize(
    ("form", "framing"),
    [("whole", "length"), ("whole", "chunked"), ("events", "chunked"), ("array", "chunked")],
)
async def test_an_answer_that_cannot_be_remembered_does_not_end(
    form: str,
    framing: Framing,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording_upstream.script = recorded(form, framing)
    proxy = await start_proxy(recording_upstream.url)

    async def down(*_: object) -> None:
        raise StoreUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "commit", down)
        answer = await generate(proxy, form, said("a"))
    assert not answer.complete
    assert await turns(proxy) == []
    if form == "events":
        error = json.loads(answer.content.rpartition(b"data: ")[2])["error"]
        assert (error["code"], error["status"]) == (503, "UNAVAILABLE")
    assert (await generate(proxy, form, said("a"))).complete
    assert await turns(proxy) == [[[{"text": "a"}], [{"text": "one"}, SIGNED]]]


@pytest.mark.parametrize(
    ("form", "pieces", "framing"),
    [
        ("events", PIECES["events"][:2], "chunked"),
        ("events", PIECES["events"], "close"),
        ("array", PIECES["array"][:3], "chunked"),
        ("array", PIECES["array"][:3], "close"),
        ("events", [b'data: {"error":{"code":503}}\r\n\r\n'], "chunked"),
        ("whole", [b'{"promptFeedback":{"blockReason":"SAFETY"}}'], "length"),
    ],
)
async def test_what_is_no_whole_answer_arrives_and_is_not_remembered(
    form: str,
    pieces: list[bytes],
    framing: Framing,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    recording_upstream.script = respond(pieces, TYPES[form], framing)
    proxy = await start_proxy(recording_upstream.url)
    answer = await generate(proxy, form, said("a"))
    assert answer.content == b"".join(pieces)
    assert await turns(proxy) == []


async def test_an_array_that_closes_proves_its_own_end(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = recorded("array", "close")
    proxy = await start_proxy(recording_upstream.url)
    await generate(proxy, "array", said("a"))
    assert len(await turns(proxy)) == 1


@pytest.mark.parametrize("form", TARGETS)
async def test_an_error_of_ours_has_the_shape_of_the_api(
    form: str, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    answer = await ask(proxy, TARGETS[form], {}, NAMED, ("Authorization", "Bearer x"))
    assert (answer.status, one(answer, b"Backstory-Error")) == (401, "invalid_token")
    error = json.loads(answer.content)["error"]
    assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
    assert error["details"][0]["reason"] == "INVALID_TOKEN"


async def test_counting_tokens_is_not_a_turn(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond([b"{}"], "application/json", "length")
    proxy = await start_proxy(recording_upstream.url)
    answer = await ask(proxy, f"{MODEL}:countTokens", {"contents": [said("a")]}, NAMED)
    assert one(answer, b"Backstory-Memory") is None
    assert await turns(proxy) == []

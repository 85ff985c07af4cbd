"""Ollama's own client, and raw lines: remembered, held back at ``done``, refused in their shape."""

import json
from typing import Any

import ollama
import pytest
from tests.wire.answers import Framing, respond
from tests.wire.clients import Received
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.talking import AUTHORIZATION, NAMED, ask, one
from tests.wire.upstreams import RecordingUpstream
from tests.wire.users import User, forwarded

from backstory.errors import StoreUnavailable
from backstory_plugins.stores.memory import MemoryStore

NDJSON = "application/x-ndjson"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def client(proxy: Proxy, credential: str = "") -> ollama.AsyncClient:
    """Ollama's client, in the conversation ``c``; a context manager, entered to be closed."""
    headers = {"Authorization": f"Bearer {credential or token()}", NAMED[0]: NAMED[1]}
    return ollama.AsyncClient(host=proxy.url, headers=headers)


async def say(who: ollama.AsyncClient, text: str, *, stream: bool) -> str:
    """The reply to one new message."""
    messages = [{"role": "user", "content": text}]
    if not stream:
        return (await who.chat("m", messages)).message.content or ""
    pieces = await who.chat("m", messages, stream=True)
    return "".join([piece.message.content or "" async for piece in pieces])


def line(content: str, **more: object) -> bytes:
    """One line of a stream; the last if it is given an end."""
    said = {"model": "m", "message": {"role": "assistant", "content": content}, "done": False}
    return json.dumps(said | more, separators=(",", ":")).encode() + b"\n"


END: dict[str, Any] = {"done": True, "done_reason": "stop", "eval_count": 1}
LINES = [line("on"), line("e"), line("", **END)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_three_turns_are_one_conversation(
    stream: bool, demo: str, start_proxy: StartProxy
) -> None:
    async with client(await start_proxy(demo)) as who:
        assert await say(who, "Repeat the number '94572'.", stream=stream) == "94572"
        assert (
            await say(who, "What number did you repeat?", stream=stream) == "The number is 94572."
        )
        assert await say(who, "How many messages do you see?", stream=stream) == "I see 5 messages."


async def test_the_conversation_may_stand_in_the_address(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    headers = {"Authorization": f"Bearer {token()}"}
    async with ollama.AsyncClient(host=f"{proxy.url}/-/c/trip", headers=headers) as who:
        assert await say(who, "Repeat the number '94572'.", stream=True) == "94572"
        assert await say(who, "What number did you repeat?", stream=True) == "The number is 94572."


@pytest.mark.parametrize("resend", [False, True], ids=["only the result", "the loop's messages"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_tool_loop_without_ids_is_part_of_the_conversation(
    resend: bool, stream: bool, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with client(proxy) as who:
        asked = {"role": "user", "content": "What is the weather in Paris?"}
        if stream:
            pieces = [p async for p in await who.chat("m", [asked], tools=[WEATHER], stream=True)]
            message = next(p.message for p in pieces if p.message.tool_calls)
        else:
            message = (await who.chat("m", [asked], tools=[WEATHER])).message
        (call,) = message.tool_calls or []
        assert call.function.arguments == {"city": "Paris"}
        loop: list[Any] = [asked, message] if resend else []
        result = {"role": "tool", "tool_name": "get_weather", "content": "12 degrees"}
        answer = await who.chat("m", [*loop, result], tools=[WEATHER])
        assert answer.message.content == "The tool says: 12 degrees"
        assert await say(who, "How many messages do you see?", stream=stream) == "I see 5 messages."
        assert (await User(proxy.url).turns("c"))[:2] == [
            ["What is the weather in Paris?", ""],
            ["12 degrees", "The tool says: 12 degrees"],
        ]


async def test_a_call_that_was_given_up_is_not_told(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    call = {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    recording_upstream.script = [
        respond([line("", message=called), line("", **END)], NDJSON, "chunked"),
        respond(LINES, NDJSON, "chunked"),
    ]
    async with client(await start_proxy(recording_upstream.url)) as who:
        await say(who, "What is the weather?", stream=True)
        await say(who, "Never mind.", stream=True)
        assert forwarded(recording_upstream.requests[1].body) == [
            "What is the weather?",
            "Never mind.",
        ]


async def test_what_another_dialect_remembers_is_told(demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo)
    user = User(proxy.url)
    async with client(proxy) as who:
        assert b"94572" in (await user.ask("Repeat the number '94572'.", NAMED)).content
        assert await say(who, "What number did you repeat?", stream=True) == "The number is 94572."
        told = await user.ask("How many messages do you see?", NAMED)
        assert told.content.startswith(b"I see 5 messages.")


async def question(proxy: Proxy) -> Received:
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    return await ask(proxy, "/api/chat", body, NAMED)


@pytest.mark.parametrize(
    ("framing", "pieces"),
    [
        ("chunked", LINES),
        ("close", LINES),
        ("chunked", [b"".join(LINES)]),
        ("chunked", [b"".join(LINES)[at : at + 1] for at in range(len(b"".join(LINES)))]),
    ],
    ids=["chunked", "close", "in one chunk", "byte by byte"],
)
async def test_done_is_seen_only_once_it_is_remembered(
    framing: Framing,
    pieces: list[bytes],
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording_upstream.script = respond(pieces, NDJSON, framing)
    proxy = await start_proxy(recording_upstream.url)
    whole = b"".join(LINES)

    async def down(*_: object) -> None:
        raise StoreUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "commit", down)
        answer = await question(proxy)
    assert (answer.content, answer.complete) == (whole[: whole.rindex(b'"done":true')], False)
    assert await User(proxy.url).turns("c") == []
    answer = await question(proxy)
    assert answer.content == whole
    assert await User(proxy.url).turns("c") == [["a", "one"]]


@pytest.mark.parametrize(
    "lines",
    [
        LINES[:2],
        [*LINES[:2], LINES[2][:60]],
        [*LINES[:2], b'{"error":"the runner has stopped"}\n'],
        [line("", done=True, done_reason="load")],
    ],
    ids=["no last line", "half a last line", "an error", "the model was loaded"],
)
async def test_what_is_no_whole_answer_arrives_and_is_not_remembered(
    lines: list[bytes], start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond(lines, NDJSON, "chunked")
    proxy = await start_proxy(recording_upstream.url)
    answer = await question(proxy)
    assert answer.content == b"".join(lines)
    assert await User(proxy.url).turns("c") == []


async def test_an_error_of_ours_is_one_that_the_client_understands(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with client(proxy, "not a token") as who:
        with pytest.raises(ollama.ResponseError) as caught:
            await say(who, "Hello", stream=False)
    assert caught.value.status_code == 401
    assert "token" in caught.value.error
    answer = await ask(proxy, "/api/chat", {"messages": []}, ("Authorization", "Bearer x"))
    assert one(answer, b"Backstory-Error") == "invalid_token"
    assert set(json.loads(answer.content)) == {"error"}


async def test_loading_a_model_is_not_a_turn(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    body = b'{"model": "m", "messages": []}'
    recording_upstream.script = respond([line("", **END)], NDJSON, "chunked")
    proxy = await start_proxy(recording_upstream.url)
    answer = await ask(proxy, "/api/chat", body, AUTHORIZATION, NAMED)
    assert one(answer, b"Backstory-Memory") == "skipped;reason=nothing_new"
    assert recording_upstream.requests[0].body == body

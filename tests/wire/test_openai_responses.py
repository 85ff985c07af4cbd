"""The Responses API through the proxy: the real OpenAI SDK remembers, and the end waits."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import (
    FunctionToolParam,
    Response,
    ResponseCompletedEvent,
    ResponseInputParam,
)
from tests.wire.answers import respond
from tests.wire.clients import RawClient
from tests.wire.conftest import StartProxy
from tests.wire.sdk import NAMED, sdk
from tests.wire.talking import AUTHORIZATION, stored
from tests.wire.talking import NAMED as NAME
from tests.wire.upstreams import Answer, RecordingUpstream, Step

from backstory.demo_upstream.openai_response import Response as Told
from backstory.demo_upstream.tokens import generate
from backstory.errors import StoreUnavailable
from backstory_plugins.stores.memory import MemoryStore

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


async def ask(
    client: AsyncOpenAI, asked: str | ResponseInputParam, *, stream: bool = False, **options: Any
) -> Response:
    """The response to one new turn."""
    if not stream:
        whole = await client.responses.create(model="m", input=asked, **options)
        assert isinstance(whole, Response)
        return whole
    events = await client.responses.create(model="m", input=asked, stream=True, **options)
    *_, last = [event async for event in events]
    assert isinstance(last, ResponseCompletedEvent)
    return last.response


async def say(client: AsyncOpenAI, text: str, *, stream: bool = False, **options: Any) -> str:
    return (await ask(client, text, stream=stream, **options)).output_text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("session", "options"),
    [
        pytest.param("auto", NAMED, id="header"),
        pytest.param("auto", {"path": "/-/c/trip/v1"}, id="prefix"),
        pytest.param("always", {}, id="cookie"),
    ],
)
async def test_three_turns_are_one_conversation(
    session: str, options: Mapping[str, Any], stream: bool, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo, session=session)
    async with sdk(proxy, **options) as client:
        assert await say(client, "Repeat the number '94572'.", stream=stream) == "94572"
        second = await say(client, "What number did you repeat?", stream=stream)
        assert second == "The number is 94572."
        third = await say(client, "How many messages do you see?", stream=stream)
        assert third == "I see 5 messages."


async def test_a_transcript_is_not_told_twice(demo: str, start_proxy: StartProxy) -> None:
    """As the SDK's users do it without a memory: the output goes back in as it came."""
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        asked: list[Any] = [{"role": "user", "content": "My name is Ada."}]
        for said in ("Hello, Ada!", "Your name is Ada.", "I see 5 messages."):
            response = await ask(client, asked)
            assert response.output_text == said
            asked += [item.model_dump(exclude_none=True) for item in response.output]
            question = "Who am I?" if len(asked) == 2 else "How many messages do you see?"
            asked.append({"role": "user", "content": question})


async def test_instructions_are_those_of_the_request_alone(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        asked = "What is the code?"
        assert await say(client, asked, instructions="The code is XY.") == "The code is XY."
        assert await say(client, "How many messages do you see?") == "I see 3 messages."


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_tool_loop_is_part_of_the_conversation(
    stream: bool, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        asked = await ask(client, "What is the weather in Paris?", stream=stream, tools=[WEATHER])
        (call,) = asked.output
        assert call.type == "function_call"
        assert json.loads(call.arguments) == {"city": "Paris"}
        result: ResponseInputParam = [
            {"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}
        ]
        told = await ask(client, result, stream=stream, tools=[WEATHER])
        assert told.output_text == "The tool says: 12 degrees"
        assert await say(client, "How many messages do you see?") == "I see 5 messages."


async def test_a_tool_that_nobody_answered_is_left_out(demo: str, start_proxy: StartProxy) -> None:
    """The demo refuses a call without its output, as the real API does."""
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        asked = await ask(client, "What is the weather in Paris?", tools=[WEATHER])
        assert asked.output[0].type == "function_call"
        assert await say(client, "How many messages do you see?") == "I see 2 messages."


async def test_a_chat_goes_on_in_responses_and_back(demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        chat = client.chat.completions.create
        _ = await chat(model="m", messages=[{"role": "user", "content": "My name is Ada."}])
        assert await say(client, "Who am I?", stream=True) == "Your name is Ada."
        asked = "How many messages do you see?"
        last = await chat(model="m", messages=[{"role": "user", "content": asked}])
        assert last.choices[0].message.content == "I see 5 messages."


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        pytest.param({"api_key": "nobody"}, openai.AuthenticationError, "invalid_token", id="bad"),
        pytest.param(
            {"default_headers": {"Backstory-Conversation": "a b"}},
            openai.BadRequestError,
            "invalid_conversation",
            id="name",
        ),
    ],
)
async def test_the_sdk_raises_what_our_errors_mean(
    options: Mapping[str, Any],
    kind: type[openai.APIStatusError],
    code: str,
    stream: bool,
    demo: str,
    start_proxy: StartProxy,
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **options) as client:
        with pytest.raises(kind) as raised:
            _ = await say(client, "Hi", stream=stream)
    assert (raised.value.code, raised.value.type) == (
        code,
        "authentication_error" if kind is openai.AuthenticationError else "invalid_request_error",
    )


@pytest.mark.parametrize("target", ["/v1/responses/resp_1", "/v1/conversations/conv_1"])
async def test_what_is_not_built_is_passed_through(
    target: str, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond([b"{}"], "application/json", "length")
    proxy = await start_proxy(recording_upstream.url)
    async with RawClient(proxy.url) as client:
        await client.post(target, {"metadata": {}}, AUTHORIZATION, NAME)
        answer = await client.read_answer()
    assert (answer.status, answer.content) == (200, b"{}")
    assert answer.head.values(b"Backstory-Memory") == []


def streamed(text: str) -> list[bytes]:
    """The events of a response."""
    told = Told(model="m", said=generate(text), tool=None, prompt_tokens=3)
    return list(told.events())


def chunked(*pieces: bytes) -> bytes:
    whole = respond(pieces, "text/event-stream", "chunked")
    return whole.removesuffix(b"0\r\n\r\n")


QUESTION = {"model": "m", "input": "Hi", "stream": True}


async def test_the_last_event_waits_until_the_turn_is_kept(
    start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In whatever pieces it comes: nothing of it is seen before the turn is stored."""
    *begun, last = streamed("Hello")
    held, name = asyncio.Event(), b"event: response.completed"
    keep = MemoryStore.commit

    async def slowly(store: MemoryStore, *args: Any) -> None:
        committing.set()
        await held.wait()
        await keep(store, *args)

    committing = asyncio.Event()
    monkeypatch.setattr(MemoryStore, "commit", slowly)
    steps: list[Step] = [chunked(*begun, last[:7], last[7:90], last[90:]), b"0\r\n\r\n"]
    async with RecordingUpstream(Answer(steps)) as upstream:
        proxy = await start_proxy(upstream.url, store_seconds=60.0)
        async with RawClient(proxy.url) as client:
            await client.post("/v1/responses", QUESTION, AUTHORIZATION, NAME)
            await client.read_head()
            seen = await client.connection.read_until(b"response.output_item.done")
            await committing.wait()
            seen += client.connection.take(100_000)
            assert name not in seen
            assert b'"status":"completed","error"' not in seen
            held.set()
            assert name in await client.connection.read_until(b"0\r\n\r\n")
        assert len(await stored(proxy)) == 1


async def test_an_answer_that_cannot_be_remembered_ends_with_an_error(
    start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object) -> None:
        raise StoreUnavailable("down")

    async with RecordingUpstream(Answer([chunked(*streamed("Hello")), b"0\r\n\r\n"])) as upstream:
        proxy = await start_proxy(upstream.url)
        with monkeypatch.context() as patch:
            patch.setattr(MemoryStore, "commit", down)
            async with sdk(proxy, **NAMED) as client:
                with pytest.raises(openai.APIError) as raised:
                    _ = await say(client, "Hi", stream=True)
        assert raised.value.code == "memory_commit_failed"
        assert await stored(proxy, "trip") == []


async def test_a_cut_answer_is_not_remembered(start_proxy: StartProxy) -> None:
    *begun, last = streamed("Hello")
    async with RecordingUpstream(Answer([chunked(*begun, last[:-9])], "fin")) as upstream:
        proxy = await start_proxy(upstream.url)
        async with RawClient(proxy.url) as client:
            await client.post("/v1/responses", QUESTION, AUTHORIZATION, NAME)
            answer = await client.read_answer()
        assert not answer.complete
        assert b"response.completed" not in answer.content
        assert b'"code":"upstream_truncated"' in answer.content
        assert await stored(proxy) == []

"""The real Anthropic SDK remembers, with a token of ours as its API key and nothing else changed."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import MessageParam, ToolParam
from tests.wire.answers import respond
from tests.wire.clients import RawClient, request
from tests.wire.conftest import StartProxy, token
from tests.wire.sdk import NAMED as BY_HEADER
from tests.wire.sdk import anthropic_sdk as sdk
from tests.wire.talking import AUTHORIZATION, NAMED, ask, chunk, one
from tests.wire.upstreams import Answer, RecordingUpstream, Step
from tests.wire.users import User

WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def said(text: str) -> MessageParam:
    """What the user says."""
    return {"role": "user", "content": text}


async def say(client: AsyncAnthropic, text: str, *, stream: bool = False) -> str:
    """The reply to one new message."""
    asked = {"model": "m", "max_tokens": 64, "messages": [said(text)]}
    if not stream:
        whole = await client.messages.create(**asked)  # type: ignore[call-overload]
        return "".join(block.text for block in whole.content)
    async with client.messages.stream(**asked) as events:  # type: ignore[arg-type]
        return await events.get_final_text()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("session", "options"),
    [
        pytest.param("auto", BY_HEADER, id="header"),
        pytest.param("auto", {"path": "/-/c/trip"}, id="prefix"),
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
        counted = await say(client, "How many messages do you see?", stream=stream)
        assert counted == "I see 5 messages."


@pytest.mark.parametrize("resend", [False, True], ids=["only the result", "the loop's messages"])
async def test_a_tool_loop_is_part_of_the_conversation(
    resend: bool, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **BY_HEADER) as client:
        asked = said("What is the weather in Paris?")
        create = client.messages.create
        first = await create(model="m", max_tokens=64, messages=[asked], tools=[WEATHER])
        (call,) = first.content
        assert call.type == "tool_use"
        assert call.input == {"city": "Paris"}
        result: MessageParam = {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "12 degrees"}],
        }
        loop: list[Any] = []
        if resend:
            loop = [asked, {"role": "assistant", "content": [call.model_dump(exclude_none=True)]}]
        second = await create(model="m", max_tokens=64, messages=[*loop, result], tools=[WEATHER])
        assert second.content[0].type == "text"
        assert second.content[0].text == "The tool says: 12 degrees"
        assert await say(client, "How many messages do you see?") == "I see 5 messages."
    turns = await User(proxy.url).turns("trip")
    assert len(turns) == 3


async def test_a_thread_that_the_upstream_keeps_is_left_to_it(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """As the SDK's tool runner asks for it: history told by us would be there twice."""
    recording_upstream.script = respond(
        [*map(event, SAID), event(STOP)], "text/event-stream", "chunked"
    )
    proxy = await start_proxy(recording_upstream.url)
    async with sdk(proxy, **BY_HEADER) as client:
        assert await say(client, "Hi", stream=True) == "one"
        thread = client.beta.messages.thread(model="m", max_tokens=64)
        for _ in range(2):
            async with thread.stream({"role": "user", "content": "again"}) as events:
                assert await events.get_final_text() == "one"
                receipt = events.response.headers["Backstory-Memory"]
                assert receipt == "skipped;reason=not_understood"
    first, second = (json.loads(request.body) for request in recording_upstream.requests[1:])
    assert first["messages"] == second["messages"] == [said("again")]
    assert first["thread"] == {"type": "create"}
    assert second["thread"] == {"type": "continue", "previous_message_id": "msg_1"}
    assert len(await User(proxy.url).turns("trip")) == 1


async def test_instructions_are_remembered(demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **BY_HEADER) as client:
        await client.messages.create(
            model="m", max_tokens=64, system="The code is XY.", messages=[said("Hello")]
        )
        assert await say(client, "What is the code?") == "The code is XY."


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        pytest.param(
            {"api_key": "nobody"}, anthropic.AuthenticationError, "invalid_token", id="token"
        ),
        pytest.param(
            {"default_headers": {"Backstory-Conversation": "a b"}},
            anthropic.BadRequestError,
            "invalid_conversation",
            id="name",
        ),
        pytest.param(
            {"default_headers": {"Backstory-Conversation": "c", "If-Match": '"7"'}},
            anthropic.APIStatusError,
            "version_mismatch",
            id="version",
        ),
    ],
)
async def test_the_sdk_raises_what_our_errors_mean(
    options: Mapping[str, Any],
    kind: type[anthropic.APIStatusError],
    code: str,
    demo: str,
    start_proxy: StartProxy,
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **options) as client:
        with pytest.raises(kind) as raised:
            await say(client, "Hi")
    assert raised.value.response.headers["Backstory-Error"] == code
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["type"] == "error"
    assert raised.value.body["error"]["message"]


async def test_an_error_in_the_stream_is_raised_and_its_turn_is_not_kept(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    events = [event(BEGUN), event(error)]
    recording_upstream.script = respond(events, "text/event-stream", "chunked")
    proxy = await start_proxy(recording_upstream.url)
    async with sdk(proxy, **BY_HEADER) as client:
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            await say(client, "Hi", stream=True)
    assert await User(proxy.url).turns("trip") == []


BEGUN = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "usage": {"input_tokens": 1, "output_tokens": 0},
    },
}
SAID: list[Mapping[str, Any]] = [
    BEGUN,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "one"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
]
STOP = {"type": "message_stop"}
QUESTION = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 64, "stream": True}


def event(value: Mapping[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


async def test_the_end_waits_until_the_turn_is_durable(start_proxy: StartProxy) -> None:
    """The upstream has said its last event, but not the end of the framing: nobody sees it yet."""
    end = asyncio.Event()
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    *before, last = [chunk(event(value)) for value in (*SAID, STOP)]
    # The last two events in one piece: who has the one could have the other.
    steps: list[Step] = [head, *before[:-1], before[-1] + last, end, b"0\r\n\r\n"]
    async with RecordingUpstream(Answer(steps)) as upstream:
        proxy = await start_proxy(upstream.url)
        async with RawClient(proxy.url) as client:
            await client.send(request("POST", "/v1/messages", QUESTION, AUTHORIZATION, NAMED))
            await client.connection.read_until(event(SAID[-1]))
            assert await User(proxy.url).turns("c") == []
            assert b"message_stop" not in client.connection.buffer
            end.set()
            await client.connection.read_until(b"message_stop")
            assert len(await User(proxy.url).turns("c")) == 1


async def test_what_goes_upstream_is_the_conversation_and_no_token(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond(
        [*map(event, SAID), event(STOP)], "text/event-stream", "chunked"
    )
    proxy = await start_proxy(recording_upstream.url)
    target = "/v1/messages?beta=true"
    assert (await ask(proxy, target, QUESTION, NAMED)).complete
    answer = await ask(proxy, target, QUESTION, NAMED)
    second = recording_upstream.requests[1]
    assert [m["role"] for m in json.loads(second.body)["messages"]] == ["user", "assistant", "user"]
    assert second.target == b"/v1/messages?beta=true"
    assert token().encode() not in second.raw_head
    assert (one(answer, b"Backstory-Memory") or "").startswith("hit;turns=1")
    counted = await ask(proxy, "/v1/messages/count_tokens", QUESTION, NAMED)
    assert one(counted, b"Backstory-Memory") is None
    assert json.loads(recording_upstream.requests[2].body) == QUESTION

"""The real OpenAI SDK, with a token of ours as its API key: what works, and what it raises if not."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from tests.wire.answers import chat_json, chat_stream
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.talking import HOP_BY_HOP
from tests.wire.upstreams import Answer, RecordingUpstream, Request
from tests.wire.users import User, forwarded

from backstory.demo_upstream import create_demo_app

NAMED = {"default_headers": {"Backstory-Conversation": "trip"}}
WEATHER: ChatCompletionToolParam = {
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


@pytest.fixture
async def demo() -> AsyncIterator[str]:
    """The URL of a demo upstream: it knows what stands in the messages, and nothing else."""
    runner = web.AppRunner(create_demo_app(token_seconds=0.0), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def sdk(
    proxy: Proxy, subject: str = "ada", *, path: str = "/v1", **options: Any
) -> AsyncIterator[AsyncOpenAI]:
    """A client of the SDK; nothing is retried, so that a test sees each error."""
    options = {"api_key": token(subject), "max_retries": 0} | options
    async with AsyncOpenAI(base_url=proxy.url + path, **options) as client:
        yield client


def said(text: str) -> ChatCompletionMessageParam:
    """What the user says."""
    return {"role": "user", "content": text}


async def say(client: AsyncOpenAI, text: str, *, stream: bool = False, **options: Any) -> str:
    """The reply to one new message."""
    create = client.chat.completions.create
    if not stream:
        whole = await create(model="m", messages=[said(text)], **options)
        return whole.choices[0].message.content or ""
    pieces = await create(model="m", messages=[said(text)], stream=True, **options)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in pieces])


async def receipt(client: AsyncOpenAI, text: str) -> str:
    """What the answer's headers say that memory did."""
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=[said(text)])
    return raw.headers["Backstory-Memory"]


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
        assert await say(client, "How many messages do you see?", stream=stream) == (
            "I see 5 messages."
        )


async def test_the_blocking_client_remembers_as_well(demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo, session="always")

    def talk() -> list[str | None]:
        with OpenAI(base_url=f"{proxy.url}/v1", api_key=token(), max_retries=0) as client:
            create = client.chat.completions.create
            asked = ["Repeat the number '94572'.", "What number did you repeat?"]
            answers = [create(model="m", messages=[said(text)]) for text in asked]
            return [answer.choices[0].message.content for answer in answers]

    assert await asyncio.to_thread(talk) == ["94572", "The number is 94572."]


async def test_what_goes_upstream_is_the_conversation_and_no_secret(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = [chat_stream("one"), chat_json("two"), chat_stream("three")]
    proxy = await start_proxy(recording_upstream.url, session="always")
    async with sdk(proxy) as client:
        assert await say(client, "first", stream=True) == "one"
        assert await say(client, "second", temperature=0.5) == "two"
        assert await say(client, "third", stream=True) == "three"
    assert [forwarded(request.body) for request in recording_upstream.requests] == [
        ["first"],
        ["first", "one", "second"],
        ["first", "one", "second", "two", "third"],
    ]
    for request in recording_upstream.requests:
        assert token().encode() not in request.raw_head
        assert b"backstory=" not in request.raw_head
        assert request.values(b"accept-encoding") == [b"identity"]
        assert request.target == b"/v1/chat/completions"


async def test_without_a_name_nothing_is_remembered_and_nothing_changes(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """One SDK object often serves many people: its cookies name nobody."""
    recording_upstream.script = chat_json("Grüße")
    proxy = await start_proxy(recording_upstream.url)
    async with (
        sdk(proxy) as client,
        AsyncOpenAI(base_url=f"{recording_upstream.url}/v1", api_key="k") as direct,
    ):
        for _ in range(2):
            raw = await client.chat.completions.with_raw_response.create(
                model="m", messages=[said("Hi")]
            )
            plain = await direct.chat.completions.with_raw_response.create(
                model="m", messages=[said("Hi")]
            )
            assert raw.headers["Backstory-Memory"] == "off;reason=no_conversation"
            assert "Set-Cookie" not in raw.headers
            assert raw.content == plain.content
    ours, directly = recording_upstream.requests[:2]
    assert ours.body == directly.body
    expected = [field for field in untouched(directly) if field[0] != b"authorization"]
    assert untouched(ours) == sorted([*expected, (b"via", b"1.1 backstory")])


def untouched(request: Request) -> list[tuple[bytes, bytes]]:
    """The fields that a proxy has to relay; their names are not case-sensitive."""
    fields = [(name.lower(), value) for name, value in request.headers]
    gone = (*HOP_BY_HOP, b"host")
    return sorted(field for field in fields if field[0] not in gone)


async def test_two_people_may_use_the_same_name(demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, "ada", **NAMED) as ada, sdk(proxy, "bob", **NAMED) as bob:
        assert await say(ada, "My name is Ada.") == "Hello, Ada!"
        assert "I don't know" in await say(bob, "Who am I?")
        assert await say(bob, "My name is Bob.") == "Hello, Bob!"
        assert "Ada" in await say(ada, "Who am I?")
        assert "Bob" in await say(bob, "Who am I?")


async def test_two_people_behind_one_cookie_jar_do_not_meet(
    demo: str, start_proxy: StartProxy
) -> None:
    """LiteLLM keeps one HTTP client for a process: one user's cookie goes out with another's key."""
    proxy = await start_proxy(demo, session="always")
    async with DefaultAsyncHttpxClient() as jar:
        ada = AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=token("ada"), http_client=jar)
        bob = AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=token("bob"), http_client=jar)
        assert await say(ada, "My name is Ada.") == "Hello, Ada!"
        assert "Ada" in await say(ada, "Who am I?")
        foreign = await receipt(bob, "Who am I?")
        assert foreign.startswith("new;")
        assert foreign.endswith(";reason=foreign_cookie")
        assert "I don't know" in await say(bob, "Who am I?")
        assert (await receipt(ada, "Who am I?")).endswith(";reason=foreign_cookie")


@pytest.mark.parametrize("resend", [False, True], ids=["only the result", "the loop's messages"])
async def test_a_tool_loop_is_part_of_the_conversation(
    resend: bool, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        asked = said("What is the weather in Paris?")
        create = client.chat.completions.create
        first = await create(model="m", messages=[asked], tools=[WEATHER])
        message = first.choices[0].message
        assert first.choices[0].finish_reason == "tool_calls"
        assert message.tool_calls is not None
        call = message.tool_calls[0]
        assert call.type == "function"
        assert call.function.arguments == '{"city":"Paris"}'
        result: ChatCompletionMessageParam = {
            "role": "tool",
            "tool_call_id": call.id,
            "content": "12 degrees",
        }
        loop: list[Any] = [asked, message.model_dump(exclude_none=True)] if resend else []
        second = await create(model="m", messages=[*loop, result], tools=[WEATHER])
        assert second.choices[0].message.content == "The tool says: 12 degrees"
        assert await say(client, "How many messages do you see?") == "I see 5 messages."
    turns = await User(proxy.url).turns("trip")
    assert turns[:2] == [
        ["What is the weather in Paris?", None],
        ["12 degrees", "The tool says: 12 degrees"],
    ]


async def test_a_streamed_tool_loop_is_part_of_the_conversation(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        asked = said("What is the weather in Paris?")
        create = client.chat.completions.create
        pieces = await create(model="m", messages=[asked], tools=[WEATHER], stream=True)
        calls = [c for p in [p async for p in pieces] for c in p.choices[0].delta.tool_calls or []]
        assert calls[0].id is not None
        result: ChatCompletionMessageParam = {
            "role": "tool",
            "tool_call_id": calls[0].id,
            "content": "12 degrees",
        }
        stream = await create(model="m", messages=[result], tools=[WEATHER], stream=True)
        spoken = "".join([p.choices[0].delta.content or "" async for p in stream])
        assert spoken == "The tool says: 12 degrees"
        assert await say(client, "How many messages do you see?") == "I see 5 messages."


@pytest.mark.parametrize(
    ("options", "kind", "status", "code"),
    [
        pytest.param(
            {"api_key": "nobody"}, openai.AuthenticationError, 401, "invalid_token", id="bad"
        ),
        pytest.param(
            {"api_key": token(exp=1)},
            openai.AuthenticationError,
            401,
            "expired_token",
            id="expired",
        ),
        pytest.param(
            {"default_headers": {"Backstory-Conversation": "a b"}},
            openai.BadRequestError,
            400,
            "invalid_conversation",
            id="name",
        ),
        pytest.param(
            {"default_headers": {"Backstory-Conversation": "c", "If-Match": '"7"'}},
            openai.APIStatusError,
            412,
            "version_mismatch",
            id="version",
        ),
    ],
)
async def test_the_sdk_raises_what_our_errors_mean(
    options: Mapping[str, Any],
    kind: type[openai.APIStatusError],
    status: int,
    code: str,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    async with sdk(proxy, **options) as client:
        with pytest.raises(kind) as raised:
            await say(client, "Hi")
    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert raised.value.response.headers["Backstory-Error"] == code
    assert recording_upstream.requests == []


async def test_a_busy_conversation_is_a_conflict(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    gate = asyncio.Event()
    recording_upstream.script = Answer([gate, chat_json("one")])
    proxy = await start_proxy(recording_upstream.url, queue_depth=0)
    async with sdk(proxy, **NAMED) as client, asyncio.TaskGroup() as group:
        first = group.create_task(say(client, "first"))
        await recording_upstream.wait_for_request()
        with pytest.raises(openai.ConflictError) as raised:
            await say(client, "second")
        assert raised.value.code == "conversation_busy"
        assert raised.value.response.headers["Retry-After"] == "1"
        gate.set()
    assert first.result() == "one"
    assert len(recording_upstream.requests) == 1


CUTS = {
    "whole": chat_json("A long reply")[:-9],
    "between events": chat_stream("A long reply", finish=None).removesuffix(b"0\r\n\r\n"),
    "within an event": chat_stream("A long reply").partition(b"reply")[0],
}


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(
    "where",
    [
        "whole",
        "between events",
        pytest.param(
            "within an event",
            marks=pytest.mark.xfail(
                raises=json.JSONDecodeError,
                reason="forward._cut ends the half event with a blank line, which makes it an event",
            ),
        ),
    ],
)
async def test_a_cut_answer_is_an_error_and_not_a_short_reply(
    where: str,
    how: Literal["fin", "rst"],
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    recording_upstream.script = Answer([CUTS[where]], how)
    proxy = await start_proxy(recording_upstream.url)
    async with sdk(proxy, **NAMED) as client:
        with pytest.raises(openai.APIError) as raised:
            await say(client, "Hi", stream=where != "whole")
        told = "upstream_truncated" if where == "between events" else None
        assert raised.value.code == told  # half an event has no place for an error of ours
        recording_upstream.script = chat_json("one")
        assert await say(client, "Hi again") == "one"
    assert forwarded(recording_upstream.requests[-1].body) == ["Hi again"]

"""The real OpenAI SDK remembers, with a token of ours as its API key and nothing else changed."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from tests.wire.answers import chat_json, chat_stream
from tests.wire.conftest import StartProxy, token
from tests.wire.sdk import NAMED, said, say, sdk
from tests.wire.talking import HOP_BY_HOP
from tests.wire.upstreams import RecordingUpstream, Request
from tests.wire.users import User, forwarded

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

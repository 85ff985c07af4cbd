"""A client that leaves before the end leaves no trace; one that leaves after it is remembered."""

import asyncio
import json
from collections.abc import Sequence
from typing import Literal

import pytest
from aiohttp import web
from tests.wire.answers import FALCON_END, chat_stream
from tests.wire.clients import RawClient
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.upstreams import Answer, RecordingUpstream, Step

AUTHORIZATION = ("Authorization", f"Bearer {token()}")
NAMED = ("Backstory-Conversation", "c")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
Leave = Literal["fin", "rst"]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def leave(client: RawClient, how: Leave) -> None:
    if how == "rst":
        client.reset()
    else:
        client.close()


async def ask(client: RawClient, text: str = "Hi") -> None:
    await client.post("/conversation/falcon", {"text": text}, AUTHORIZATION, NAMED)


async def stored(proxy: Proxy) -> list[str]:
    """The replies that are remembered."""
    async with RawClient(proxy.url) as client:
        name, value = AUTHORIZATION
        target = "/-/v1/conversations/c/turns"
        await client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n".encode())
        answer = await client.read_answer()
    turns = json.loads(answer.content)["turns"] if answer.status == 200 else []
    return [turn["messages"][-1]["content"] for turn in turns]


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(
    "before",
    [
        pytest.param([], id="before the head"),
        pytest.param([HEAD], id="after the head"),
        pytest.param([HEAD, chunk(b"Hel"), chunk(b"lo")], id="in the middle"),
        pytest.param([HEAD, chunk(b"Hello<|endof")], id="within the marker"),
    ],
)
async def test_leaving_before_the_end_closes_the_upstream_and_stores_nothing(
    before: Sequence[bytes], how: Leave, start_proxy: StartProxy
) -> None:
    async with RecordingUpstream(Answer([*before], "hold")) as upstream:
        proxy = await start_proxy(upstream.url)
        client = RawClient(proxy.url)
        async with client:
            await ask(client)
            await upstream.wait_for_request()
            if before:
                await client.read_head()
            if before[1:]:
                await client.connection.read_until(b"\r\n")
            leave(client, how)
            await upstream.closed()
        # The conversation is free again at once, and the next turn begins it.
        upstream.script = Answer([HEAD + chunk(b"two") + b"0\r\n\r\n"])
        async with RawClient(proxy.url) as again:
            await ask(again, "Again")
            assert (await again.read_answer()).complete
        assert json.loads(upstream.requests[1].body)["text"] == "Human: Again\nAI: "
        assert await stored(proxy) == ["two"]


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_leaving_while_the_end_is_held_back_is_remembered(
    how: Leave, start_proxy: StartProxy
) -> None:
    """The answer said that it is complete: its framing is read to the end without the client."""
    gate = asyncio.Event()
    steps: list[Step] = [HEAD + chunk(b"Hello") + chunk(FALCON_END), gate, b"0\r\n\r\n"]
    async with RecordingUpstream(Answer(steps)) as upstream:
        proxy = await start_proxy(upstream.url)
        async with RawClient(proxy.url) as client:
            await ask(client)
            await client.read_head()
            assert await client.connection.read_until(b"Hello\r\n")
            leave(client, how)
            await client.ended()
        async with RawClient(proxy.url) as other:
            await ask(other, "And?")  # waits for the turn before it
            gate.set()
            upstream.script = Answer([HEAD + chunk(b"two") + b"0\r\n\r\n"])
            assert (await other.read_answer()).complete
        forwarded = json.loads(upstream.requests[1].body)["text"]
        assert forwarded == "Human: Hi\nAI: Hello\nHuman: And?\nAI: "
        assert await stored(proxy) == ["Hello", "two"]


async def test_the_end_is_held_back_until_the_framing_has_ended(start_proxy: StartProxy) -> None:
    gate = asyncio.Event()
    steps: list[Step] = [HEAD + chunk(b"Hello") + chunk(FALCON_END), gate, b"0\r\n\r\n"]
    async with RecordingUpstream(Answer(steps)) as upstream:
        proxy = await start_proxy(upstream.url)
        async with RawClient(proxy.url) as client:
            await ask(client)
            await client.read_head()
            await client.connection.read_until(b"Hello\r\n")
            assert client.connection.take(100) == b""
            assert await stored(proxy) == []
            gate.set()
            rest = await client.connection.read_until(b"0\r\n\r\n")
            assert FALCON_END in rest
            assert await stored(proxy) == ["Hello"]


async def test_an_end_marker_without_an_end_of_framing_is_a_cut(start_proxy: StartProxy) -> None:
    whole = chat_stream("Hello")
    without_end = whole.removesuffix(b"0\r\n\r\n")
    async with RecordingUpstream(Answer([without_end], "hold")) as upstream:
        proxy = await start_proxy(upstream.url, end_seconds=0.1)
        async with RawClient(proxy.url) as client:
            question = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
            await client.post("/v1/chat/completions", question, AUTHORIZATION, NAMED)
            answer = await client.read_answer()
        assert not answer.complete
        assert b"[DONE]" not in answer.content
        assert b'"upstream_truncated"' in answer.content
        assert await stored(proxy) == []


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_what_goes_on_and_on_after_its_end_marker_is_a_cut(
    start_proxy: StartProxy, framing: Literal["chunked", "close"]
) -> None:
    """What comes after the marker is held back, so it must be little."""
    whole = chat_stream("Hello", framing=framing)
    more = b": more\n\n" * 8192
    more = chunk(more) if framing == "chunked" else more
    begun = whole.removesuffix(b"0\r\n\r\n") if framing == "chunked" else whole
    async with RecordingUpstream(Answer([begun, *[more] * 64], "hold")) as upstream:
        proxy = await start_proxy(upstream.url, end_seconds=30)
        async with RawClient(proxy.url) as client:
            question = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
            await client.post("/v1/chat/completions", question, AUTHORIZATION, NAMED)
            answer = await client.read_answer()
        assert not answer.complete
        assert b"[DONE]" not in answer.content
        await upstream.closed(0)
        assert await stored(proxy) == []


async def test_a_client_that_hangs_up_at_done_is_remembered(start_proxy: StartProxy) -> None:
    """The OpenAI SDK closes its connection at ``[DONE]``, before the zero chunk."""
    async with RecordingUpstream(chat_stream("Hello")) as upstream:
        proxy = await start_proxy(upstream.url)
        async with RawClient(proxy.url) as client:
            question = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
            await client.post("/v1/chat/completions", question, AUTHORIZATION, NAMED)
            await client.connection.read_until(b"[DONE]")
            client.reset()
        assert await stored(proxy) == ["Hello"]


async def test_a_hundred_departures_leave_nothing_behind(start_proxy: StartProxy) -> None:
    async with RecordingUpstream(Answer([HEAD, chunk(b"Hel")], "hold")) as upstream:
        proxy = await start_proxy(upstream.url)
        before = len(asyncio.all_tasks())
        for number in range(100):
            async with RawClient(proxy.url) as client:
                await ask(client)
                await client.read_head()
                leave(client, "rst" if number % 2 else "fin")
                await upstream.closed(number)
        assert await stored(proxy) == []
        assert len(asyncio.all_tasks()) <= before + 2  # the last connections are just closing


async def test_production_cancels_handlers_of_clients_that_left(start_proxy: StartProxy) -> None:
    """``aiohttp.test_utils`` does so by itself, production only if told: here they are the same."""
    from backstory import RUN_APP

    assert RUN_APP["handler_cancellation"] is True
    assert RUN_APP["auto_decompress"] is False
    assert RUN_APP["access_log"] is None
    assert isinstance(web.AppRunner(web.Application(), **RUN_APP), web.AppRunner)

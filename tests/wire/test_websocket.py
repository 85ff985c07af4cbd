"""A WebSocket passes through as bytes, whoever speaks first and whoever leaves first."""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType
from tests.wire.answers import respond
from tests.wire.clients import RawClient
from tests.wire.conftest import Proxy, StartProxy
from tests.wire.connection import Connection
from tests.wire.talking import AUTHORIZATION, head, one, refused, say
from tests.wire.upstreams import Answer, RecordingUpstream
from tests.wire.websockets import HANDSHAKE, START, echo

SWITCH = head(
    "HTTP/1.1 101 Switching Protocols",
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ("X-Odd", "1"),
)


@asynccontextmanager
async def opened(
    start_proxy: StartProxy, **options: object
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket to the echo, through a proxy."""
    async with echo() as url:
        proxy = await start_proxy(url)
        async with (
            aiohttp.ClientSession(headers=[AUTHORIZATION]) as session,
            session.ws_connect(
                proxy.url + "/v1/realtime",
                protocols=("v2", "other"),
                autoping=False,
                max_msg_size=0,
            ) as socket,
        ):
            yield socket


async def test_messages_of_every_kind_pass_both_ways(start_proxy: StartProxy) -> None:
    megabyte = os.urandom(1 << 20)
    async with opened(start_proxy) as socket:
        assert socket.protocol == "v2"
        await socket.send_str("Grüße")
        assert await socket.receive_str() == "Grüße"
        await socket.send_bytes(megabyte)
        assert await socket.receive_bytes() == megabyte
        await socket.ping(b"are you there")
        answer = await socket.receive()
        assert (answer.type, answer.data) == (WSMsgType.PONG, b"are you there")
        await socket.send_str("")
        assert await socket.receive_str() == ""
        await socket.close(code=4002)


async def test_the_upstreams_close_code_reaches_the_client(start_proxy: StartProxy) -> None:
    async with opened(start_proxy) as socket:
        await socket.send_str("leave")
        answer = await socket.receive()
        assert (answer.type, answer.data, answer.extra) == (WSMsgType.CLOSE, 4001, "as told")


async def test_the_clients_close_code_reaches_the_upstream(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    frame = b"\x88\x82\0\0\0\0" + (4002).to_bytes(2, "big")
    async with tunnel(recording_upstream, start_proxy) as (client, upstream, _):
        await client.send(frame)
        assert await upstream.read_exactly(len(frame)) == frame


@asynccontextmanager
async def tunnel(
    upstream: RecordingUpstream, start_proxy: StartProxy
) -> AsyncIterator[tuple[RawClient, Connection, Proxy]]:
    """Both ends of a tunnel, as bytes."""
    upstream.script = Answer([SWITCH + b"first"], "hold")
    proxy = await start_proxy(upstream.url)
    async with RawClient(proxy.url) as client:
        await client.send(head(START, AUTHORIZATION, *HANDSHAKE))
        found = await client.read_head()
        assert found.status == 101
        assert await client.connection.read_exactly(5) == b"first"
        yield client, await upstream.wait_for_connection(), proxy


async def test_the_handshake_is_relayed_as_it_was(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    recording_upstream.script = Answer([SWITCH], "hold")
    proxy = await start_proxy(recording_upstream.url)
    async with RawClient(proxy.url) as client:
        await client.send(head(START, AUTHORIZATION, *HANDSHAKE))
        found = await client.read_head()
        expected = dict(SWITCH_FIELDS)
        assert {name: one(found, name) for name in expected} == expected
    seen = recording_upstream.requests[0]
    assert seen.target == b"/v1/realtime?model=%6d"
    assert [value.lower() for value in seen.values(b"connection")] == [b"upgrade"]
    assert seen.values(b"upgrade") == [b"websocket"]
    for name, value in HANDSHAKE[3:]:
        assert seen.values(name.encode()) == [value.encode()]


SWITCH_FIELDS = [
    (b"Upgrade", "websocket"),
    (b"Connection", "Upgrade"),
    (b"Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    (b"X-Odd", "1"),
    (b"Content-Type", None),
    (b"Content-Length", None),
    (b"Transfer-Encoding", None),
]


async def test_any_bytes_pass_in_any_pieces(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    noise = os.urandom(3_000_000)
    async with tunnel(recording_upstream, start_proxy) as (client, upstream, _):
        for byte in noise[:50]:
            await client.send(bytes([byte]))
            assert await upstream.read_exactly(1) == bytes([byte])
        for sender, receiver in ((client.connection, upstream), (upstream, client.connection)):
            for begin in range(0, len(noise), 60_000):
                piece = noise[begin : begin + 60_000]
                await sender.send(piece)
                assert await receiver.read_exactly(len(piece)) == piece


async def test_bytes_that_come_with_the_handshake_are_not_lost(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    recording_upstream.script = Answer([SWITCH], "hold")
    proxy = await start_proxy(recording_upstream.url)
    async with RawClient(proxy.url) as client:
        await client.send(head(START, AUTHORIZATION, *HANDSHAKE) + b"early")
        assert (await client.read_head()).status == 101
        connection = await recording_upstream.wait_for_connection()
        assert await connection.read_exactly(5) == b"early"


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_leaves_closes_the_upstream(
    how: str, recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    async with tunnel(recording_upstream, start_proxy) as (client, _, __):
        getattr(client, how)()
        assert await recording_upstream.closed() in ("fin", "rst")


@pytest.mark.parametrize("how", ["finish", "reset"])
async def test_an_upstream_that_leaves_closes_the_client(
    how: str, recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    async with tunnel(recording_upstream, start_proxy) as (client, upstream, _):
        await upstream.send(b"last")
        assert await client.connection.read_exactly(4) == b"last"
        getattr(upstream, how)()
        assert await client.ended() in ("fin", "rst")


async def test_a_refused_upgrade_is_an_answer_like_any_other(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    recording_upstream.script = respond([b"not you"], "a/b", "length", status="403 No")
    proxy = await start_proxy(recording_upstream.url)
    async with RawClient(proxy.url) as client:
        for _ in range(2):  # the connection is good for more
            await client.send(head(START, AUTHORIZATION, *HANDSHAKE))
            answer = await client.read_answer()
            assert (answer.head.start[2], answer.content) == (b"No", b"not you")


async def test_an_upgrade_needs_a_token(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    refused(None, await say(proxy.url, head(START, *HANDSHAKE)), 401, "missing_token")
    assert recording_upstream.connections == []


OTHERS = [
    (START, [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")]),
    (START, [("Connection", "Upgrade"), ("Upgrade", "TLS/1.2")]),
    (START, [("Connection", "close"), ("Upgrade", "websocket")]),
    ("POST /x HTTP/1.1", [("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Content-Length", "0")]),
]


@pytest.mark.parametrize(("start", "fields"), OTHERS, ids=str)
async def test_an_upgrade_to_something_else_is_a_plain_request(
    start: str,
    fields: list[tuple[str, str]],
    recording_upstream: RecordingUpstream,
    start_proxy: StartProxy,
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    answer = await say(proxy.url, head(start, ("Host", "x"), AUTHORIZATION, *fields))
    assert answer.status == 200
    seen = recording_upstream.requests[0]
    assert seen.values(b"upgrade") == seen.values(b"connection") == []


async def test_an_upgrade_with_a_body_cannot_smuggle_a_request(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    """What follows the handshake's head is its body, and never a request of its own."""
    proxy = await start_proxy(recording_upstream.url)
    second = head("GET /smuggled HTTP/1.1", ("Host", "x"), AUTHORIZATION)
    length = ("Content-Length", str(len(second)))
    sent = head(START, AUTHORIZATION, *HANDSHAKE, length) + second
    async with RawClient(proxy.url) as client:
        await client.send(sent)
        await client.read_answer()
    targets = [seen.target for seen in recording_upstream.requests]
    assert b"/smuggled" not in targets


def test_the_sample_key_is_the_one_of_the_standard() -> None:
    assert base64.b64decode(dict(HANDSHAKE)["Sec-WebSocket-Key"]) == b"the sample nonce"

"""An upstream that cannot be asked, or does not answer in HTTP or in time: the promised error."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from tests.wire.answers import respond
from tests.wire.clients import RawClient
from tests.wire.conftest import Proxy, StartProxy
from tests.wire.talking import APIS, AUTHORIZATION, NAMED, Api, ask, head, one, refused, say, stored
from tests.wire.upstreams import Answer, RecordingUpstream, nobody_listens

from backstory.settings import Secret

HOST = ("Host", "x")
GET = head("GET /x HTTP/1.1", HOST, AUTHORIZATION)


@pytest.fixture
async def proxy(recording_upstream: RecordingUpstream, start_proxy: StartProxy) -> Proxy:
    """In front of the recording upstream."""
    return await start_proxy(recording_upstream.url)


GARBAGE = [
    b"hello\r\n\r\n",
    b"HTTP/3.0 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 O",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: ascii(garbage[:40]))
@pytest.mark.parametrize("api", [None, *APIS], ids=str)
async def test_an_upstream_that_does_not_speak_http_is_a_502(
    garbage: bytes, api: Api | None, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = Answer([garbage], "fin")
    answer = await ask(proxy, api.target if api else "/x", api.good if api else b"", NAMED)
    refused(api, answer, 502, "upstream_protocol_error")
    assert await stored(proxy) == []


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("api", [None, *APIS], ids=str)
async def test_an_upstream_that_ends_without_a_word_is_a_502(
    how: Any, api: Api | None, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = Answer([], how)
    answer = await ask(proxy, api.target if api else "/x", api.good if api else b"", NAMED)
    refused(api, answer, 502, "upstream_unreachable")


@pytest.mark.parametrize("api", [None, *APIS], ids=str)
async def test_an_upstream_that_refuses_is_a_502(api: Api | None, start_proxy: StartProxy) -> None:
    with nobody_listens() as url:
        proxy = await start_proxy(url)
        answer = await ask(proxy, api.target if api else "/x", api.good if api else b"", NAMED)
    refused(api, answer, 502, "upstream_unreachable")


@contextmanager
def nobody_accepts() -> Iterator[str]:
    """A URL where connecting takes forever: its backlog is full."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one_more in waiting:
                one_more.setblocking(False)
                one_more.connect_ex(deaf.getsockname())
            yield f"http://127.0.0.1:{deaf.getsockname()[1]}"
        finally:
            for one_more in waiting:
                one_more.close()


async def test_a_connection_that_is_not_made_in_time_is_a_504(start_proxy: StartProxy) -> None:
    with nobody_accepts() as url:
        proxy = await start_proxy(url, connect_seconds=0.1)
        answer = await say(proxy.url, GET)
    refused(None, answer, 504, "upstream_timeout")
    assert b"connect" in answer.content


@pytest.mark.parametrize("begun", [[], [b"HTTP/1.1 200 OK\r\nContent-"]], ids=["silent", "begun"])
@pytest.mark.parametrize("api", [None, *APIS], ids=str)
async def test_a_head_that_does_not_come_in_time_is_a_504(
    begun: Sequence[bytes],
    api: Api | None,
    recording_upstream: RecordingUpstream,
    start_proxy: StartProxy,
) -> None:
    recording_upstream.script = Answer(begun, "hold")
    proxy = await start_proxy(recording_upstream.url, first_byte_seconds=0.1)
    answer = await ask(proxy, api.target if api else "/x", api.good if api else b"", NAMED)
    refused(api, answer, 504, "upstream_timeout")
    assert b"first byte" in answer.content
    await recording_upstream.closed()


async def test_an_upstream_that_falls_silent_is_cut(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    recording_upstream.script = Answer([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"], "hold")
    proxy = await start_proxy(recording_upstream.url, silence_seconds=0.1)
    answer = await say(proxy.url, GET)
    assert (answer.content, answer.complete) == (b"abc", False)


@pytest.mark.parametrize("via", ["1.1 backstory", "1.0 a, 1.1 backstory (x)", "HTTP/1.1 backstory"])
async def test_a_loop_is_a_508(
    via: str, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    question = head("GET /x HTTP/1.1", HOST, AUTHORIZATION, ("Via", "1.1 b"), ("Via", via))
    refused(None, await say(proxy.url, question), 508, "loop_detected")
    assert recording_upstream.connections == []


async def test_two_proxies_of_the_same_name_are_a_loop(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    inner = await start_proxy(recording_upstream.url, auth="off")
    outer = await start_proxy(inner.url)
    assert (await say(outer.url, GET)).status == 508
    other = await start_proxy(inner.url, via="another")
    assert (await say(other.url, GET)).status == 200


@pytest.mark.parametrize("api", [None, *APIS], ids=str)
async def test_a_refusal_of_our_own_credential_is_a_502(
    api: Api | None, recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    recording_upstream.script = respond([b"no"], "a/b", "length", status="401 No")
    proxy = await start_proxy(recording_upstream.url, upstream_authorization=Secret("s"))
    answer = await ask(proxy, api.target if api else "/x", api.good if api else b"", NAMED)
    refused(api, answer, 502, "upstream_rejected_credentials")
    assert one(answer, b"x-should-retry") == "false"
    own = await start_proxy(recording_upstream.url, auth="off")
    assert (await say(own.url, GET)).status == 401  # it was the client's own


async def test_an_upstream_that_takes_no_more_of_an_upload_is_a_504(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    recording_upstream.on_head = [asyncio.Event()]
    proxy = await start_proxy(recording_upstream.url, silence_seconds=0.2)
    size = 40_000_000  # more than the kernel takes for an upstream that does not read
    length = ("Content-Length", str(size))
    async with RawClient(proxy.url) as client:
        await client.send(head("PUT /x HTTP/1.1", HOST, AUTHORIZATION, length))
        client.connection.transport.write(bytes(size))
        refused(None, await client.read_answer(), 504, "upstream_timeout")

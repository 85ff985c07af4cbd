"""HTTP that is ambiguous or malformed, and clients that ask before they send their body."""

from collections.abc import Iterator

import pytest
from aiohttp.http_exceptions import BadHttpMessage
from tests.wire.clients import RawClient, request
from tests.wire.conftest import StartProxy
from tests.wire.talking import (
    APIS,
    AUTHORIZATION,
    NAMED,
    Api,
    Scene,
    head,
    nothing_broke,
    one,
    refused,
    say,
    stored,
)
from tests.wire.upstreams import RecordingUpstream

HOST = ("Host", "x")
EXPECT = ("Expect", "100-continue")
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture(autouse=True)
def _no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    # aiohttp's own parser tells what it refused; ``log.JsonLines`` leaves the words out.
    nothing_broke(caplog, but=BadHttpMessage)


@pytest.fixture(params=APIS, ids=str)
def api(request: pytest.FixtureRequest) -> Api:
    """Each memory route."""
    found = request.param
    assert isinstance(found, Api)
    return found


@pytest.fixture
async def scene(api: Api, recording_upstream: RecordingUpstream, start_proxy: StartProxy) -> Scene:
    """A conversation has begun."""
    found = Scene(api, recording_upstream, await start_proxy(recording_upstream.url))
    await found.begin()
    return found


def malformed(method: str, target: str, *fields: tuple[str, str], version: str = "1.1") -> bytes:
    """A request without a body."""
    return head(f"{method} {target} HTTP/{version}", *fields, AUTHORIZATION)


MALFORMED = {
    "a whole URL": (malformed("GET", "http://evil/p", HOST), 400),
    "HTTP/2.0": (malformed("GET", "/", HOST, version="2.0"), 400),
    "a path as host": (malformed("GET", "/", ("Host", "a/b")), 400),
    "a user in host": (malformed("GET", "/", ("Host", "a@b")), 400),
    "two hosts": (malformed("GET", "/", HOST, HOST), 400),
    "no host": (malformed("GET", "/"), 400),
    "a fragment": (malformed("GET", "/a#b", HOST), 400),
    "CONNECT": (malformed("CONNECT", "x:1", HOST), 405),
    "TRACE": (malformed("TRACE", "/", HOST), 405),
    "gzip, chunked": (
        malformed("POST", "/", HOST, ("Transfer-Encoding", "gzip, chunked")) + b"0\r\n\r\n",
        400,
    ),
    "chunked in HTTP/1.0": (
        malformed("POST", "/", HOST, ("Transfer-Encoding", "chunked"), version="1.0")
        + b"0\r\n\r\n",
        400,
    ),
    "two framings": (
        malformed("POST", "/", HOST, ("Transfer-Encoding", "chunked"), ("Content-Length", "3"))
        + b"0\r\n\r\n",
        400,
    ),
    "two lengths": (
        malformed("POST", "/", HOST, ("Content-Length", "1"), ("Content-Length", "2")) + b"abc",
        400,
    ),
    "a blank before the colon": (malformed("GET", "/", HOST, ("X ", "y")), 400),
    "a method that llhttp does not know": (malformed("BREW", "/", HOST), 400),
    "two user agents": (malformed("GET", "/", HOST, ("User-Agent", "a"), ("user-agent", "b")), 400),
    "129 fields": (malformed("GET", "/", HOST, *[("X", "y")] * 127), 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
}


@pytest.mark.parametrize(("sent", "status"), MALFORMED.values(), ids=MALFORMED)
async def test_ambiguous_http_never_reaches_the_upstream(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy, sent: bytes, status: int
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    assert (await say(proxy.url, sent)).status == status
    assert recording_upstream.connections == []


async def test_a_chunk_that_is_none_ends_the_request(scene: Scene) -> None:
    start = head(
        f"POST {scene.api.target} HTTP/1.1",
        HOST,
        AUTHORIZATION,
        NAMED,
        ("Transfer-Encoding", "chunked"),
    )
    async with RawClient(scene.proxy.url) as client:
        await client.send(start + b"3\r\n{" + b'"t\r\nxyz\r\n')
        answer = await client.read_answer()
        assert answer.status == 400
        await client.ended()
    await scene.is_intact(asked=1)


def with_expect(target: str, length: int, *headers: tuple[str, str]) -> bytes:
    """The head of a request whose client waits before it sends ``length`` bytes."""
    whole = request("POST", target, b"", *headers, EXPECT)
    return whole.replace(b"Content-Length: 0", b"Content-Length: %d" % length)


async def test_a_stranger_is_refused_before_the_body_is_asked_for(scene: Scene) -> None:
    async with RawClient(scene.proxy.url) as client:
        await client.send(with_expect(scene.api.target, 10, NAMED))
        refused(scene.api, await client.read_answer(), 401, "missing_token")
    await scene.is_intact(asked=1)


async def test_a_body_too_large_is_not_asked_for(scene: Scene) -> None:
    async with RawClient(scene.proxy.url) as client:
        await client.send(with_expect(scene.api.target, 40_000_000, NAMED, AUTHORIZATION))
        refused(scene.api, await client.read_answer(), 413, "body_too_large")
    await scene.is_intact(asked=1)


async def test_a_waiting_client_is_told_to_go_on_and_answered(scene: Scene) -> None:
    scene.upstream.script = scene.api.answer("two")
    async with RawClient(scene.proxy.url) as client:
        for _ in range(2):  # the connection is good for more
            length = len(scene.api.good)
            await client.send(with_expect(scene.api.target, length, NAMED, AUTHORIZATION))
            assert (await client.read_head()).raw == GO_ON
            await client.send(scene.api.good)
            answer = await client.read_answer()
            assert (answer.status, answer.complete) == (200, True)
            assert one(answer, b"Backstory-Memory")
    assert scene.upstream.requests[2].values(b"expect") == []
    assert await stored(scene.proxy) == ["one", "two", "two"]


async def test_a_waiting_client_is_told_to_go_on_where_bytes_pass_through(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    body = bytes(2_000_000)  # curl waits with anything over a megabyte
    async with RawClient(proxy.url) as client:
        await client.send(with_expect("/v1/files", len(body), AUTHORIZATION))
        assert (await client.read_head()).raw == GO_ON
        await client.send(body)
        assert (await client.read_answer()).status == 200
    assert recording_upstream.requests[0].body == body
    assert recording_upstream.requests[0].values(b"expect") == []


async def test_a_client_that_does_not_wait_after_all_is_answered(scene: Scene) -> None:
    scene.upstream.script = scene.api.answer("two")
    async with RawClient(scene.proxy.url) as client:
        length = len(scene.api.good)
        start = with_expect(scene.api.target, length, NAMED, AUTHORIZATION)
        await client.send(start + scene.api.good)
        found = await client.read_head()
        if found.status == 100:  # RFC 9110 section 10.1.1: may be left out if the body is there
            found = await client.read_head()
        assert found.status == 200


async def test_http_1_0_never_sees_an_interim_answer(scene: Scene) -> None:
    """RFC 9110 section 10.1.1: a server must ignore the expectation of an HTTP/1.0 request."""
    scene.upstream.script = scene.api.answer("two")
    start = with_expect(scene.api.target, len(scene.api.good), NAMED, AUTHORIZATION)
    answer = await say(scene.proxy.url, start.replace(b"HTTP/1.1", b"HTTP/1.0") + scene.api.good)
    assert answer.status == 200

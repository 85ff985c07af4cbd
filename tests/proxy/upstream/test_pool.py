"""Which connections carry a second request, and which must not."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from backstory.errors import UpstreamFailure
from backstory.run_options import new_event_loop
from backstory.upstream import Upstream
from backstory.upstream.origin import Origin
from backstory.upstream.pool import Pool

if TYPE_CHECKING:
    from tests.proxy.upstream.conftest import Dial, Line

OK = b"HTTP/1.1 200 OK\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\nab"


def repeating(raw: bytes) -> "Callable[[Line], Awaitable[None]]":
    """A script that answers every request with ``raw``, until the proxy closes."""

    async def script(line: "Line") -> None:
        try:
            while True:
                await line.answer(raw)
        except (asyncio.IncompleteReadError, ConnectionError):
            line.gone.set()

    return script


async def fetch(upstream: Upstream, method: str = "GET") -> bytes:
    answer = await upstream.send(method, "/", [], None)
    body = b""
    while piece := await answer.read():
        body += piece
    answer.close()
    return body


@pytest.mark.parametrize(
    ("raw", "method"),
    [
        (TWO, "GET"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "GET"),
        (OK + b"Content-Length: 1234\r\n\r\n", "HEAD"),
        (OK + b"\r\n", "HEAD"),
        (b"HTTP/1.1 204 No\r\n\r\n", "GET"),
        (b"HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n", "GET"),
    ],
)
async def test_a_connection_with_a_whole_answer_is_used_again(
    dial: "Dial", raw: bytes, method: str
) -> None:
    upstream = await dial(repeating(raw))
    bodies = [await fetch(upstream, method) for _ in range(3)]
    assert bodies == [b"ab" if b"ab" in raw else b""] * 3
    assert len(dial.lines) == 1


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab",
        OK + b"Keep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nab",
        TWO + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        TWO + b"x",
    ],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(
    dial: "Dial", raw: bytes
) -> None:
    upstream = await dial(repeating(raw))
    assert [await fetch(upstream) for _ in range(2)] == [b"ab", b"ab"]
    assert len(dial.lines) == 2


@pytest.mark.parametrize("stray", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"])
@pytest.mark.parametrize("seen", [True, False])
async def test_an_idle_connection_that_closes_or_speaks_is_dropped(
    dial: "Dial", stray: bytes, seen: bool
) -> None:
    async def script(line: "Line") -> None:
        await line.answer(TWO)
        await idle.wait()
        if stray:
            await line.say(stray)
        else:
            line.writer.close()
        done.set()
        await line.until_gone()

    idle, done = asyncio.Event(), asyncio.Event()
    upstream = await dial(script, repeating(TWO))
    assert await fetch(upstream) == b"ab"
    idle.set()
    await done.wait()
    if seen:  # else the kernel has it, and the event loop has not told us yet
        await asyncio.wait_for(dial.lines[0].gone.wait(), 2)
    assert await fetch(upstream) == b"ab"
    assert len(dial.lines) == 2


async def test_an_answer_left_half_read_is_not_used_again(dial: "Dial") -> None:
    upstream = await dial(repeating(OK + b"Content-Length: 3\r\n\r\nab"), repeating(TWO))
    answer = await upstream.send("GET", "/", [], None)
    assert await answer.read() == b"ab"
    answer.close()
    assert await fetch(upstream) == b"ab"
    assert len(dial.lines) == 2


async def test_an_answer_stays_its_own_after_its_connection_has_gone_on(dial: "Dial") -> None:
    upstream = await dial(repeating(TWO))
    first = await upstream.send("GET", "/", [], None)
    assert first.ended
    first.close()
    second = await upstream.send("GET", "/", [], None)
    assert [await first.read(), await first.read()] == [b"ab", b""]
    assert await second.read() == b"ab"
    second.close()
    assert len(dial.lines) == 1


async def test_an_idle_connection_is_closed_when_its_time_is_over(dial: "Dial") -> None:
    upstream = await dial(repeating(TWO), keepalive_seconds=0.05)
    await fetch(upstream)
    assert not dial.lines[0].gone.is_set()
    await asyncio.wait_for(dial.lines[0].gone.wait(), 2)
    await fetch(upstream)
    assert len(dial.lines) == 2


async def test_its_time_is_over_even_if_the_event_loop_is_late(dial: "Dial") -> None:
    upstream = await dial(repeating(TWO), keepalive_seconds=0.02)
    await fetch(upstream)
    time.sleep(0.04)  # noqa: ASYNC251  # no timer can ring, as in a process that is overloaded
    await fetch(upstream)
    assert len(dial.lines) == 2


async def test_the_upstreams_own_keep_alive_shortens_the_time(dial: "Dial") -> None:
    upstream = await dial(
        repeating(OK + b"Keep-Alive: timeout=2\r\nContent-Length: 2\r\n\r\nab"),
        keepalive_seconds=60,
    )
    begin = asyncio.get_running_loop().time()
    await fetch(upstream)
    await asyncio.wait_for(dial.lines[0].gone.wait(), 2)
    assert 0.9 < asyncio.get_running_loop().time() - begin < 1.5


async def test_the_connection_used_last_is_used_first(dial: "Dial") -> None:
    upstream = await dial(repeating(TWO))
    first, second = [await upstream.send("GET", "/", [], None) for _ in range(2)]
    second.close()
    first.close()
    again = await upstream.send("GET", "/", [], None)
    assert again._connection is first._connection
    again.close()
    assert len(dial.lines) == 2


async def test_a_request_that_was_written_is_never_sent_again(dial: "Dial") -> None:
    async def script(line: "Line") -> None:
        await line.answer(TWO)
        await line.request()  # taken, perhaps done, and then nothing

    upstream = await dial(script, repeating(TWO))
    await fetch(upstream)
    with pytest.raises(UpstreamFailure):
        await upstream.send("POST", "/", [], b"once")
    assert len(dial.lines) == 1


async def test_closing_ends_the_idle_at_once_and_the_others_later(dial: "Dial") -> None:
    upstream = await dial(repeating(TWO))
    busy, idle = [await upstream.send("GET", "/", [], None) for _ in range(2)]
    idle.close()
    await upstream.close()
    await asyncio.wait_for(dial.lines[1].gone.wait(), 2)
    assert not dial.lines[0].gone.is_set()
    assert await busy.read() == b"ab"
    busy.close()
    await asyncio.wait_for(dial.lines[0].gone.wait(), 2)


async def test_a_limit_of_connections_makes_requests_wait_and_then_fail(dial: "Dial") -> None:
    upstream = await dial(repeating(TWO), max_connections=1, connect_seconds=0.05)
    answer = await upstream.send("GET", "/", [], None)
    with pytest.raises(UpstreamFailure) as caught:
        await upstream.send("GET", "/", [], None)
    assert (caught.value.status, caught.value.code) == (503, "upstream_saturated")
    assert caught.value.headers == (("Retry-After", "1"),)
    waiting = asyncio.gather(*(fetch(upstream) for _ in range(3)))
    await asyncio.wait([waiting], timeout=0)
    answer.close()
    assert await waiting == [b"ab"] * 3
    assert len(dial.lines) == 1


async def test_a_failed_connection_gives_its_place_back(dial: "Dial") -> None:
    upstream = dial.to("http://127.0.0.1:1", max_connections=1, connect_seconds=1)
    for _ in range(3):
        with pytest.raises(UpstreamFailure) as caught:
            await upstream.send("GET", "/", [], None)
        assert caught.value.code == "upstream_unreachable"


def test_a_connection_may_expire_at_once() -> None:
    async def scenario() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        pool = Pool(
            Origin.parse(f"http://127.0.0.1:{listener.getsockname()[1]}"),
            connect_seconds=5,
            keepalive_seconds=4,
            max_connections=0,
            ssl_context=None,
        )
        first, second = await pool.take(), await pool.take()
        # uvloop's handle for what is due within half a millisecond cannot say when that is.
        pool.give_back(first, 0.0003)
        pool.give_back(second, 0.0002)
        await asyncio.wait_for(asyncio.gather(first.gone, second.gone), 5)
        assert len(pool) == 0
        await pool.close()
        listener.close()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(scenario())

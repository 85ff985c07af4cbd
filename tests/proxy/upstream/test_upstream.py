"""Asking an upstream: what its failures are called, which timer ran out, and who may leave when."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from backstory.errors import UpstreamCut, UpstreamFailure

if TYPE_CHECKING:
    from tests.proxy.upstream.conftest import Dial, Line

OK = b"HTTP/1.1 200 OK\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\nab"


async def failure(dial_to: object, *, target: str = "/secret?key=secret") -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        await dial_to.send("GET", target, [], None)  # type: ignore[attr-defined]
    assert "secret" not in str(caught.value)
    return caught.value


async def silent(line: "Line") -> None:
    await line.until_gone()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"", "upstream_unreachable"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", "upstream_protocol_error"),
        (b"secret\r\n\r\n", "upstream_protocol_error"),
        (OK + b"A: " + b"x" * 2000 + b"\r\n\r\n", "upstream_protocol_error"),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "upstream_protocol_error"),
        (
            b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "upstream_protocol_error",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "upstream_protocol_error"),
    ],
)
@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_an_upstream_without_an_answer_is_a_502(
    dial: "Dial", said: bytes, code: str, end: str
) -> None:
    async def script(line: "Line") -> None:
        await line.answer(said)
        if end == "rst":
            line.reset()

    error = await failure(await dial(script, max_head_bytes=1000))
    assert (error.status, error.code) == (502, code)


@pytest.mark.parametrize("origin", ["http://127.0.0.1:1", "http://" + "a" * 64 + ".invalid"])
async def test_an_upstream_that_is_not_there_is_a_502(dial: "Dial", origin: str) -> None:
    error = await failure(dial.to(origin))
    assert (error.status, error.code) == (502, "upstream_unreachable")


async def test_an_upstream_that_does_not_accept_is_a_connect_timeout(dial: "Dial") -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # fill the backlog: the next SYN is not answered
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        upstream = dial.to(f"http://127.0.0.1:{full.getsockname()[1]}", connect_seconds=0.1)
        error = await failure(upstream)
        for one in waiting:
            one.close()
    assert (error.status, error.code) == (504, "upstream_timeout")
    assert "connect" in error.message
    assert "0.1 s" in error.message


async def test_a_tls_handshake_counts_as_connecting(dial: "Dial") -> None:
    plain = await dial(silent)
    error = await failure(dial.to(f"https://{plain.authority}", connect_seconds=0.1))
    assert (error.status, error.code) == (504, "upstream_timeout")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_upstream_that_does_not_answer_is_a_first_byte_timeout(
    dial: "Dial", said: bytes
) -> None:
    async def script(line: "Line") -> None:
        await line.answer(said)
        await line.until_gone()

    loop = asyncio.get_running_loop()
    upstream = await dial(script, first_byte_seconds=0.1)
    begin = loop.time()
    error = await failure(upstream)
    assert 0.1 <= loop.time() - begin < 0.35
    assert (error.status, error.code) == (504, "upstream_timeout")
    assert "first byte" in error.message
    assert "0.1 s" in error.message


async def test_a_head_that_drips_does_not_move_the_first_byte_timer(dial: "Dial") -> None:
    async def script(line: "Line") -> None:
        await line.answer(OK)
        leaving = asyncio.gather(line.until_gone())
        while not (await asyncio.wait([leaving], timeout=0.02))[0]:
            await line.say(b"A: b\r\n")

    error = await failure(await dial(script, first_byte_seconds=0.1))
    assert "first byte" in error.message


async def test_the_first_byte_timer_runs_from_the_end_of_an_upload(dial: "Dial") -> None:
    async def script(line: "Line") -> None:
        await line.request()
        await line.say(TWO)

    async def slow() -> AsyncIterator[bytes]:
        yield b"a"
        pause = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, pause.set)
        await pause.wait()
        yield b"b"

    upstream = await dial(script, silent, first_byte_seconds=0.1)
    answer = await upstream.send("POST", "/", [], slow(), length=2)
    answer.close()
    await upstream.close()
    upstream = await dial(silent, first_byte_seconds=0.1)
    with pytest.raises(UpstreamFailure, match="first byte"):
        await upstream.send("POST", "/", [], slow(), length=2)


@pytest.mark.parametrize("stuck", [True, False])
async def test_an_answer_may_come_before_the_request_is_whole(dial: "Dial", stuck: bool) -> None:
    async def script(line: "Line") -> None:
        await line.head()
        await line.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
        await line.until_gone()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1000)
            await (asyncio.Event().wait() if stuck else asyncio.sleep(0))

    upstream = await dial(script)
    answer = await upstream.send("POST", "/", [], endless())
    assert (answer.status, await answer.read()) == (413, b"large")
    assert len(dial.tasks) == 1
    answer.close()
    await asyncio.wait_for(dial.lines[0].gone.wait(), 2)
    assert not len(dial.tasks)


async def test_an_upload_goes_on_while_the_answer_is_read(dial: "Dial") -> None:
    async def script(line: "Line") -> None:
        await line.head()
        await line.say(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await line.say(b"1\r\n" + await line.reader.readexactly(1) + b"\r\n")
        await line.say(b"0\r\n\r\n")
        await line.answer(TWO)

    async def talk() -> AsyncIterator[bytes]:
        for word in (b"a", b"b", b"c"):
            yield word
            await heard.wait()
            heard.clear()

    heard = asyncio.Event()
    upstream = await dial(script)
    answer = await upstream.send("POST", "/", [], talk(), length=3)
    body = b""
    while piece := await answer.read():
        body += piece
        heard.set()
    assert body == b"abc"
    await asyncio.wait_for(dial.tasks.settle(1), 2)
    answer.close()
    again = await upstream.send("GET", "/", [], None)
    again.close()
    assert len(dial.lines) == 1, "the request was whole after all"


async def test_a_client_that_breaks_off_its_upload_cuts_the_answer(dial: "Dial") -> None:
    async def script(line: "Line") -> None:
        await line.head()
        await line.say(OK + b"\r\nearly")
        await line.until_gone()

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        await leave.wait()
        raise ConnectionResetError("the client left")

    leave = asyncio.Event()
    answer = await (await dial(script)).send("POST", "/", [], broken())
    assert await answer.read() == b"early"
    leave.set()
    with pytest.raises(ConnectionResetError, match="the client left"):
        await answer.read()
    await asyncio.wait_for(dial.lines[0].gone.wait(), 2)
    assert not answer.ended
    answer.close()


async def test_an_upload_that_is_cancelled_cuts_the_answer(dial: "Dial") -> None:
    async def script(line: "Line") -> None:
        await line.answer(OK + b"\r\nearly")
        await line.until_gone()

    async def endless() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    answer = await (await dial(script)).send("POST", "/", [], endless())
    await dial.tasks.settle(0)
    assert await answer.read() == b"early"
    with pytest.raises(UpstreamCut):
        await answer.read()
    answer.close()


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_leaves_is_seen_by_the_upstream_at_once(
    dial: "Dial", streamed: bool
) -> None:
    asked = asyncio.Event()

    async def script(line: "Line") -> None:
        await line.head()
        asked.set()
        await line.until_gone()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1000)
            await asyncio.sleep(0)

    upstream = await dial(script)
    body = endless() if streamed else b"body"
    sending = asyncio.gather(upstream.send("POST", "/", [], body))
    await asked.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.wait_for(dial.lines[0].gone.wait(), 2)
    assert not len(dial.tasks)


async def test_a_client_that_leaves_while_connecting_leaves_no_task_behind(dial: "Dial") -> None:
    async def script(line: "Line") -> None:
        await line.reader.readexactly(1)
        greeted.set()
        await line.until_gone()

    greeted = asyncio.Event()
    plain = await dial(script)
    before = asyncio.all_tasks()
    sending = asyncio.gather(dial.to(f"https://{plain.authority}").send("GET", "/", [], None))
    await greeted.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.wait_for(dial.lines[0].gone.wait(), 2)
    ours = {task for task in asyncio.all_tasks() - before if "accept" not in repr(task)}
    assert not ours

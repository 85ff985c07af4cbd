"""Answers: every framing, every way to be cut, and how fast bytes may come."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from backstory.errors import UpstreamCut, UpstreamFailure
from backstory.upstream import Framing, Upstream, UpstreamAnswer

if TYPE_CHECKING:
    from tests.proxy.upstream.conftest import Dial, Line, Script

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 10\r\n\r\n0123456789"
CHUNKED = (
    OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\nA: b\r\n\r\n"
)
CLOSE = OK + b"\r\n0123456789"
MOST_HELD = 64 * 1024 + 256 * 1024
"""What waits before the upstream has to, and one read of the event loop."""


def saying(*pieces: bytes, end: str = "stay") -> "Script":
    """A script: one request, these bytes, then FIN, RST, or waiting for the proxy to close."""

    async def script(line: "Line") -> None:
        await line.answer(*pieces)
        if end == "rst":
            line.reset()
        elif end == "stay":
            await line.until_gone()

    return script


async def get(upstream: Upstream, method: str = "GET") -> UpstreamAnswer:
    return await upstream.send(method, "/", [], None)


async def read_all(answer: UpstreamAnswer) -> tuple[bytes, bool]:
    """The body, and whether it was cut. Closes the answer."""
    body = b""
    try:
        while piece := await answer.read():
            body += piece
    except UpstreamCut:
        return body, True
    finally:
        answer.close()
    return body, False


@pytest.mark.parametrize(
    ("raw", "framing", "proved"),
    [
        (LENGTH, Framing.LENGTH, True),
        (CHUNKED, Framing.CHUNKED, True),
        (CLOSE, Framing.CLOSE, False),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_whole_answer_is_read_however_it_is_split(
    dial: "Dial", raw: bytes, framing: Framing, proved: bool, size: int
) -> None:
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    answer = await get(await dial(saying(*pieces, end="fin")))
    assert (answer.status, answer.reason, answer.version) == (200, "OK", "1.1")
    assert answer.framing is framing
    assert answer.length == (10 if framing is Framing.LENGTH else None)
    assert await read_all(answer) == (b"0123456789", False)
    assert (answer.ended, answer.proved) == (True, proved)
    assert await answer.read() == b""


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize(
    ("missing", "delivered"),
    [(1, 10), (2, 10), (8, 10), (9, 10), (12, 10), (15, 8), (20, 4), (30, 2)],
)
async def test_a_cut_chunked_answer_delivers_what_came_and_is_cut(
    dial: "Dial", end: str, missing: int, delivered: int
) -> None:
    answer = await get(await dial(saying(CHUNKED[:-missing], end=end)))
    assert await read_all(answer) == (b"0123456789"[:delivered], True)
    assert not answer.ended
    assert not answer.proved


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("missing", [1, 9, 10])
async def test_an_answer_shorter_than_its_length_is_cut(
    dial: "Dial", end: str, missing: int
) -> None:
    answer = await get(await dial(saying(LENGTH[:-missing], end=end)))
    assert await read_all(answer) == (b"0123456789"[: 10 - missing], True)
    assert not answer.ended


async def test_a_reset_of_a_close_delimited_answer_is_a_cut(dial: "Dial") -> None:
    answer = await get(await dial(saying(CLOSE, end="rst")))
    assert await read_all(answer) == (b"0123456789", True)
    assert not answer.ended


@pytest.mark.parametrize(
    "garbage", [b"zz\r\n", b"4\r\nabcdX\r\n", b"fffffffffffffffff\r\n", b"4\n"]
)
async def test_broken_chunks_are_a_cut_after_what_was_good(dial: "Dial", garbage: bytes) -> None:
    # In one piece with the head: the head counts all the same.
    answer = await get(await dial(saying(CHUNKED[: CHUNKED.index(b"6;")] + garbage)))
    body, cut = await read_all(answer)
    assert body.startswith(b"0123")
    assert cut


async def test_order_case_and_duplicates_of_fields_are_kept(dial: "Dial") -> None:
    head = b"X-b: 1\r\nset-cookie: a=1 \t\r\nX-A:\r\nSet-Cookie: b=2\r\nX-b: \xff\r\n"
    answer = await get(await dial(saying(OK + head + b"Content-Length: 0\r\n\r\n")))
    answer.close()
    assert answer.fields == [
        (b"X-b", b"1"),
        (b"set-cookie", b"a=1"),
        (b"X-A", b""),
        (b"Set-Cookie", b"b=2"),
        (b"X-b", b"\xff"),
        (b"Content-Length", b"0"),
    ]
    assert answer.field(b"set-cookie") == b"a=1"
    assert answer.field(b"content-type") is None


async def test_a_read_returns_all_that_has_come_and_waits_for_no_more(dial: "Dial") -> None:
    more = asyncio.Event()

    async def script(line: "Line") -> None:
        await line.answer(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n")
        await more.wait()
        await line.say(b"1\r\ne\r\n0\r\n\r\n")
        await line.until_gone()

    answer = await get(await dial(script))
    assert (answer.has_data, answer.ended) == (True, False)
    assert await answer.read() == b"abcd"
    assert (answer.has_data, answer.ended) == (False, False)
    more.set()
    assert await answer.read() == b"e"
    assert await answer.read() == b""
    assert (answer.has_data, answer.ended) == (True, True)
    answer.close()


async def test_silence_within_a_body_is_a_timeout_with_its_name(dial: "Dial") -> None:
    upstream = await dial(saying(CLOSE), silence_seconds=0.05)
    answer = await upstream.send("GET", "/secret?key=1", [], None)
    assert await answer.read() == b"0123456789"
    with pytest.raises(UpstreamFailure) as caught:
        await answer.read()
    answer.close()
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")
    assert "silence" in caught.value.message
    assert "0.05 s" in caught.value.message
    assert "secret" not in caught.value.message
    assert not answer.ended, "leaving a close-delimited body must not look like its end"


async def test_a_slow_reader_is_not_taken_for_a_silent_upstream(dial: "Dial") -> None:
    async def script(line: "Line") -> None:
        await line.answer(CHUNKED[:-26])
        await more.wait()
        await line.say(CHUNKED[-26:-11])
        await late.wait()
        await line.say(CHUNKED[-11:])

    more, late = asyncio.Event(), asyncio.Event()
    answer = await get(await dial(script, silence_seconds=0.05))
    await answer.read()
    reading = asyncio.gather(answer.read())
    await asyncio.wait([reading], timeout=0)
    more.set()
    body = (await reading)[0]
    asyncio.get_running_loop().call_later(0.12, late.set)
    await late.wait()
    rest, cut = await read_all(answer)
    assert (body + rest, cut) == (b"456789", False)


async def test_closing_in_the_middle_shows_the_upstream_that_nobody_listens(dial: "Dial") -> None:
    answer = await get(await dial(saying(CHUNKED[:-20])))
    reading = asyncio.gather(read_all(answer))
    await asyncio.wait([reading], timeout=0)
    answer.close()
    answer.close()
    await asyncio.wait_for(dial.lines[0].gone.wait(), 2)
    assert (await reading)[0] == (b"0123", True)
    with pytest.raises(UpstreamCut):
        await answer.read()


async def test_a_cancelled_read_loses_nothing(dial: "Dial") -> None:
    more = asyncio.Event()

    async def script(line: "Line") -> None:
        await line.answer(CLOSE[:-10])
        await more.wait()
        await line.say(b"0123456789")

    answer = await get(await dial(script))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer.read(), 0.01)
    more.set()
    assert await read_all(answer) == (b"0123456789", False)


class Flood:
    """A script: a long answer, and whether the upstream has had to wait with it."""

    SIZE = 50 * 1024 * 1024

    def __init__(self) -> None:
        self.sent = 0
        self.blocked = asyncio.Event()

    async def __call__(self, line: "Line") -> None:
        await line.answer(OK + b"Content-Length: %d\r\n\r\n" % self.SIZE)
        for _ in range(self.SIZE // 65536):
            line.writer.write(bytes(65536))
            try:
                await asyncio.wait_for(line.writer.drain(), 0.2)
            except TimeoutError:
                self.blocked.set()
                await line.writer.drain()
            self.sent += 65536


async def test_a_slow_reader_makes_the_upstream_wait(dial: "Dial") -> None:
    flood = Flood()
    answer = await get(await dial(flood))
    await asyncio.wait_for(flood.blocked.wait(), 5)
    assert flood.sent < flood.SIZE // 2, "the kernel's buffers, and what a read may take"
    largest = total = 0
    while piece := await answer.read():
        largest = max(largest, len(piece))
        total += len(piece)
    answer.close()
    assert total == flood.SIZE
    assert largest <= MOST_HELD


async def test_after_a_pause_nothing_is_taken_until_somebody_waits_for_it(dial: "Dial") -> None:
    flood = Flood()
    answer = await get(await dial(flood))
    taken: list[int] = []

    def only_one(data: bytes) -> bool:
        taken.append(len(data))
        return False

    assert not await answer.flow(only_one)
    answer.pause()
    await asyncio.wait_for(flood.blocked.wait(), 5)
    assert not answer.has_data
    while not await answer.flow(only_one):
        answer.pause()
        assert answer.has_data == answer.ended
    answer.close()
    assert sum(taken) == flood.SIZE
    assert max(taken) <= MOST_HELD


async def test_a_tunnel_carries_bytes_both_ways_and_what_came_with_the_head_first(
    dial: "Dial",
) -> None:
    async def script(line: "Line") -> None:
        await line.answer(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nfirst")
        while data := await line.reader.read(100):
            await asyncio.wait([asyncio.gather(line.gone.wait())], timeout=0.04)  # in silence
            await line.say(data.upper())

    upgrade = [(b"Connection", b"upgrade"), (b"Upgrade", b"x")]
    upstream = await dial(script, silence_seconds=0.02)
    answer = await upstream.send("GET", "/", upgrade, None)
    assert answer.status == 101
    tunnel = answer.tunnel()
    assert await tunnel.read() == b"first"
    for said in (b"one", b"HTTP/1.1 200 OK\r\n\r\n"):
        tunnel.write(said)
        assert await tunnel.drain()
        assert await tunnel.read() == said.upper()
    tunnel.close()
    tunnel.write(b"too late")
    assert not await tunnel.drain()


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_tunnel_ends_as_the_upstream_ends_it(dial: "Dial", end: str) -> None:
    head = b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nlast"
    upstream = await dial(saying(head, end=end))
    answer = await upstream.send("GET", "/", [(b"Upgrade", b"x")], None)
    assert await read_all(answer) == (b"last", end == "rst")


async def test_an_answer_of_another_status_is_no_tunnel(dial: "Dial") -> None:
    answer = await get(await dial(saying(LENGTH)))
    with pytest.raises(ValueError, match="101"):
        answer.tunnel()
    answer.close()

"""The client's body on a real socket: asked for only when it is wanted, bounded, undone."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from tests.proxy.clock import on_a_clock, ticking

from backstory.body import decode_body, ignore_expect, plain_body, read_body, stream_body
from backstory.buffers import COST, Buffers, NoRoom, Share
from backstory.errors import BackstoryError
from backstory.tasks import Tasks

MOST = 300_000
ROOM = 2
BUFFERS = Buffers(ROOM * COST * MOST, wait_seconds=0.01)
"""Room for two of the largest."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Client:
    """One connection to a server that reads bodies in the way its path says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, head: str, body: bytes = b"") -> None:
        self.writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    async def answer(self) -> str:
        """The next answer's status and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        body = await self.reader.readexactly(length)
        return f"{head.split()[1].decode()} {body.decode()}"


@pytest.fixture
async def pieces() -> asyncio.Queue[bytes]:
    """What the server read, piece by piece, as it read it."""
    return asyncio.Queue()


@pytest.fixture
async def client(pieces: asyncio.Queue[bytes]) -> AsyncIterator[Client]:
    async def whole(request: web.Request) -> web.Response:
        share = BUFFERS.share()
        try:
            body = await read_body(request, MOST, share)
            assert share.taken == COST * len(body)
        except BackstoryError as refused:
            return web.Response(status=refused.status, text=refused.code)
        finally:
            share.release()
        pieces.put_nowait(body)
        return web.Response(text=f"read {len(body)}")

    async def impatient(request: web.Request) -> web.Response:
        try:
            await read_body(request, MOST, Buffers(MOST, wait_seconds=0).share(), idle_seconds=0.01)
        except BackstoryError as refused:
            return web.Response(status=refused.status, text=refused.code)
        return web.Response(text="read")

    async def stream(request: web.Request) -> web.Response:
        size = 0
        async for piece in stream_body(request):
            pieces.put_nowait(piece)
            size += len(piece)
        return web.Response(text=f"read {size}")

    async def unread(request: web.Request) -> web.Response:
        return web.Response(status=401, text="no token")

    async def fails(request: web.Request) -> web.Response:
        await read_body(request, MOST, Buffers(MOST, wait_seconds=0).share())
        raise ValueError

    app = web.Application()
    paths = {
        "/whole": whole,
        "/stream": stream,
        "/unread": unread,
        "/fails": fails,
        "/impatient": impatient,
    }
    for path, handler in paths.items():
        app.router.add_post(path, handler, expect_handler=ignore_expect)
    runner = web.AppRunner(app, lingering_time=0)  # nothing more comes of an unread body
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    async with asyncio.timeout(10):
        yield Client(reader, writer)
    writer.close()
    await runner.cleanup()


@pytest.mark.parametrize("path", ["/whole", "/stream"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_is_read_as_it_was_sent(
    client: Client, pieces: asyncio.Queue[bytes], path: str, framing: str
) -> None:
    if framing == "length":
        client.say(f"POST {path} HTTP/1.1\nHost: x\nContent-Length: 1000", b"a" * 1000)
    else:
        chunks = b"1f4\r\n" + b"a" * 500 + b"\r\n1f4\r\n" + b"a" * 500 + b"\r\n0\r\n\r\n"
        client.say(f"POST {path} HTTP/1.1\nHost: x\nTransfer-Encoding: chunked", chunks)
    assert await client.answer() == "200 read 1000"
    assert b"".join([pieces.get_nowait() for _ in range(pieces.qsize())]) == b"a" * 1000


async def test_a_streamed_body_is_passed_on_before_it_ends(
    client: Client, pieces: asyncio.Queue[bytes]
) -> None:
    client.say("POST /stream HTTP/1.1\nHost: x\nContent-Length: 6", b"abc")
    assert await pieces.get() == b"abc"
    client.writer.write(b"def")
    assert await client.answer() == "200 read 6"


async def test_a_streamed_body_may_have_any_size(client: Client) -> None:
    client.say("POST /stream HTTP/1.1\nHost: x\nContent-Length: 3000000", b"a" * 3_000_000)
    assert await client.answer() == "200 read 3000000"


async def test_a_body_said_to_be_too_large_is_refused_unread(client: Client) -> None:
    client.say(f"POST /whole HTTP/1.1\nHost: x\nContent-Length: {MOST + 1}\nExpect: 100-continue")
    assert await client.answer() == "413 body_too_large"


async def test_a_body_that_stops_coming_is_refused(client: Client) -> None:
    client.say("POST /impatient HTTP/1.1\nHost: x\nContent-Length: 1000", b"a" * 10)
    assert await client.answer() == "408 request_timeout"


async def test_a_body_that_came_with_the_head_waits_for_nothing(client: Client) -> None:
    client.say("POST /impatient HTTP/1.1\nHost: x\nContent-Length: 10", b"a" * 10)
    assert await client.answer() == "200 read"


# 30 s, and a second for each kilobyte: the third comes at 30 of 33, the fourth would at 45.
@pytest.mark.parametrize(("every", "sent"), [(15, 3), (40, 1)], ids=["drips", "stops"])
def test_a_body_that_comes_too_slowly_is_refused(every: int, sent: int) -> None:
    async def play() -> None:
        protocol = BaseProtocol(asyncio.get_running_loop())
        protocol.connection_made(asyncio.Transport())
        stream = StreamReader(protocol, 2**16)
        request = make_mocked_request("POST", "/", payload=stream)
        share = BUFFERS.share()
        reading = Tasks().spawn(read_body(request, MOST, share), name="reading")
        pieces = 0
        while not reading.done():
            stream.feed_data(b"a" * 1024)
            pieces += 1
            await ticking().pass_by(every)
        with pytest.raises(BackstoryError, match="stopped coming") as caught:
            await reading
        assert (pieces, caught.value.status) == (sent, 408)
        share.release()

    on_a_clock(play())


@pytest.fixture
def full() -> Iterator[Share]:
    """All the room is taken, by this share."""
    share = BUFFERS.share()
    share.charge(COST * MOST * ROOM)
    yield share
    share.release()
    assert (BUFFERS.taken, BUFFERS.waiting) == (0, 0)


async def test_a_body_without_room_is_refused_unread(client: Client, full: Share) -> None:
    client.say(f"POST /whole HTTP/1.1\nHost: x\nContent-Length: {MOST}\nExpect: 100-continue")
    assert await client.answer() == "503 memory_unavailable"


async def test_a_body_is_asked_for_once_there_is_room(
    client: Client, full: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, wait = asyncio.Event(), BUFFERS.wait

    async def noted(share: Share, cost: int) -> None:
        began.set()
        await wait(share, cost)

    monkeypatch.setattr(BUFFERS, "_wait_seconds", 30)
    monkeypatch.setattr(BUFFERS, "wait", noted)
    client.say(f"POST /whole HTTP/1.1\nHost: x\nContent-Length: {MOST}\nExpect: 100-continue")
    await began.wait()
    assert BUFFERS.waiting == 1
    full.release()
    assert await client.reader.readexactly(len(CONTINUE)) == CONTINUE
    client.writer.write(b"a" * MOST)
    assert await client.answer() == f"200 read {MOST}"


async def test_a_body_that_finds_no_room_as_it_grows_is_refused(
    client: Client, full: Share
) -> None:
    chunks = [b"2710\r\n" + b"a" * 10_000 + b"\r\n"] * (MOST // 10_000)
    client.say("POST /whole HTTP/1.1\nHost: x\nTransfer-Encoding: chunked", b"".join(chunks))
    assert await client.answer() == "503 memory_unavailable"


async def test_a_small_body_needs_no_room(client: Client, full: Share) -> None:
    client.say("POST /whole HTTP/1.1\nHost: x\nContent-Length: 1000", b"a" * 1000)
    assert await client.answer() == "200 read 1000"


async def test_what_comes_out_of_a_coding_is_charged_in_place_of_it() -> None:
    share, packed = BUFFERS.share(), gzip.compress(b"a" * 1000)
    assert share.take(len(packed))
    assert await plain_body(packed, ("gzip",), MOST, share) == b"a" * 1000
    assert share.taken == COST * 1000
    assert await plain_body(packed, ("br",), MOST, share) is None
    assert share.taken == COST * 1000
    share.release()


async def test_what_may_come_out_of_a_coding_needs_room(full: Share) -> None:
    share = BUFFERS.share()
    with pytest.raises(NoRoom):
        await plain_body(gzip.compress(b"a" * MOST), ("gzip",), MOST, share)
    assert share.taken == 0


async def test_a_bomb_is_charged_for_no_longer_than_it_is_looked_at() -> None:
    share = BUFFERS.share()
    with pytest.raises(BackstoryError, match="max_body_bytes"):
        await plain_body(gzip.compress(bytes(MOST + 1)), ("gzip",), MOST, share)
    share.release()
    assert BUFFERS.taken == 0


async def test_a_body_that_turns_out_too_large_is_refused(client: Client) -> None:
    chunks = b"%x\r\n" % MOST + b"a" * MOST + b"\r\n1\r\na\r\n"
    client.say("POST /whole HTTP/1.1\nHost: x\nTransfer-Encoding: chunked", chunks)
    assert await client.answer() == "413 body_too_large"


@pytest.mark.parametrize("path", ["/whole", "/stream"])
@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
async def test_a_client_that_waits_is_told_to_go_on_once(
    client: Client, path: str, expect: str
) -> None:
    client.say(f"POST {path} HTTP/1.1\nHost: x\nContent-Length: 3\nExpect: {expect}")
    assert await client.reader.readexactly(len(CONTINUE)) == CONTINUE
    client.writer.write(b"abc")
    assert await client.answer() == "200 read 3"


async def test_a_client_that_waits_is_not_asked_for_a_body_that_nobody_wants(
    client: Client,
) -> None:
    client.say("POST /unread HTTP/1.1\nHost: x\nContent-Length: 3\nExpect: 100-continue")
    assert await client.answer() == "401 no token"


async def test_an_error_after_being_told_to_go_on_is_answered(client: Client) -> None:
    client.say("POST /fails HTTP/1.1\nHost: x\nContent-Length: 3\nExpect: 100-continue")
    await client.reader.readexactly(len(CONTINUE))
    client.writer.write(b"abc")
    assert (await client.answer()).startswith("500")


@pytest.mark.parametrize(
    "head",
    [
        "POST /whole HTTP/1.0\nHost: x\nContent-Length: 3\nExpect: 100-continue",
        "POST /whole HTTP/1.1\nHost: x\nContent-Length: 3",
    ],
    ids=["too old to understand", "not asked for"],
)
async def test_nobody_else_is_told_to_go_on(client: Client, head: str) -> None:
    client.say(head, b"abc")
    assert await client.answer() == "200 read 3"


@pytest.mark.parametrize(
    ("coding", "packed"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)],
)
def test_a_coding_is_undone(coding: str, packed: Callable[[bytes], bytes]) -> None:
    assert decode_body(packed(b"a" * MOST), (coding,), MOST) == b"a" * MOST
    assert decode_body(packed(b""), (coding,), MOST) == b""


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        (("br",), b"x"),
        (("gzip", "gzip"), gzip.compress(gzip.compress(b"x"))),
        (("gzip",), b"x"),
        (("gzip",), b""),
        (("gzip",), gzip.compress(b"x")[:-1]),
        (("gzip",), gzip.compress(b"x") + b"y"),
    ],
    ids=["another coding", "coded twice", "not coded", "empty", "cut", "garbage behind it"],
)
def test_what_cannot_be_undone_is_the_upstreams_to_judge(
    codings: tuple[str, ...], body: bytes
) -> None:
    assert decode_body(body, codings, MOST) is None


@pytest.mark.parametrize("size", [MOST + 1, 100_000_000])
def test_a_body_that_grows_too_large_is_refused(size: int) -> None:
    with pytest.raises(BackstoryError) as refused:
        decode_body(gzip.compress(bytes(size), 1), ("gzip",), MOST)
    assert (refused.value.status, refused.value.code) == (413, "body_too_large")
    assert "max_body_bytes" in refused.value.message

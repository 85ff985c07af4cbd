"""A hundred megabytes pass either way, and nobody here keeps more than a little of them."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.wire.conftest import StartProxy
from tests.wire.connection import Connection, Ended
from tests.wire.messages import read_head
from tests.wire.server import Server, reserved_port
from tests.wire.talking import AUTHORIZATION, CHAT, chunk, head, refused
from tests.wire.upstreams import RecordingUpstream, Request

from backstory.buffers import COST

from tests.wire.clients import RawClient, Received, request  # isort: skip

PIECE = bytes(range(256)) * 256
PIECES = 1600
SIZE = PIECES * len(PIECE)
GROWTH = 64 * 1024 * 1024
SERVER_GROWTH = 30 * 1024 * 1024


class Sink:
    """Reads bytes and keeps their hash, and how much memory this process had at most."""

    def __init__(self) -> None:
        self.size = 0
        self.hash = hashlib.sha256()
        self.most = resident()

    def take(self, data: bytes) -> None:
        """The next bytes."""
        before = self.size
        self.size += len(data)
        self.hash.update(data)
        if before >> 20 != self.size >> 20:
            self.most = max(self.most, resident())

    async def take_all(self, connection: Connection, size: int) -> None:
        """The next ``size`` bytes of a connection."""
        while self.size < size:
            if not connection.buffer:
                await connection.more()
            self.take(connection.take(size - self.size))

    async def take_chunks(self, connection: Connection) -> None:
        """A chunked body, whatever its chunks are."""
        while size := int(await connection.read_until(b"\r\n"), 16):
            await self.take_all(connection, self.size + size)
            assert await connection.read_exactly(2) == b"\r\n"


def resident() -> int:
    """Memory of this process, in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


EXPECTED = hashlib.sha256(PIECE * PIECES).digest()


async def serve_one(connection: Connection, sink: Sink) -> None:
    """Take a body of ``SIZE`` bytes, or send one if there is none, and leave."""
    found = await read_head(connection)
    leave = ("Connection", "close")
    if found.start[0] == b"GET":
        await connection.send(head("HTTP/1.1 200 OK", ("Content-Length", str(SIZE)), leave))
        for _ in range(PIECES):
            await connection.send(PIECE)
        return
    if found.values(b"content-length"):
        await sink.take_all(connection, SIZE)
    else:
        await sink.take_chunks(connection)
    await connection.send(head("HTTP/1.1 204 No Content", leave))


@asynccontextmanager
async def upstream(sink: Sink) -> AsyncIterator[str]:
    """Where one request after another is served; gives its URL."""
    async with asyncio.TaskGroup() as group:

        async def serve(connection: Connection) -> None:
            try:
                await serve_one(connection, sink)
            except Ended:
                pass  # the proxy has left
            finally:
                connection.close()

        def accepted(connection: Connection) -> None:
            _ = group.create_task(serve(connection))

        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(accepted), "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upload_is_never_kept(framing: str, start_proxy: StartProxy) -> None:
    sink = Sink()
    before = resident()
    async with upstream(sink) as url:
        proxy = await start_proxy(url)
        async with RawClient(proxy.url) as client:
            chunked = framing == "chunked"
            length = ("Content-Length", str(SIZE))
            how = ("Transfer-Encoding", "chunked") if chunked else length
            await client.send(head("PUT /x HTTP/1.1", ("Host", "x"), AUTHORIZATION, how))
            for _ in range(PIECES):
                await client.send(chunk(PIECE) if chunked else PIECE)
            if chunked:
                await client.send(b"0\r\n\r\n")
            assert (await client.read_head()).status == 204
    assert sink.hash.digest() == EXPECTED
    assert sink.most - before < GROWTH


async def test_a_download_is_never_kept(start_proxy: StartProxy) -> None:
    sink = Sink()
    before = resident()
    async with upstream(Sink()) as url:
        proxy = await start_proxy(url)
        async with RawClient(proxy.url) as client:
            await client.send(head("GET /x HTTP/1.1", ("Host", "x"), AUTHORIZATION))
            assert (await client.read_head()).status == 200
            await sink.take_all(client.connection, SIZE)
    assert sink.hash.digest() == EXPECTED
    assert sink.most - before < GROWTH


def memory_of(pid: int, what: str) -> int:
    """Of a process, in bytes; ``VmRSS``: now, ``VmHWM``: the most that it ever was."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise LookupError(what)


async def pass_through(url: str, method: str, size: int) -> None:
    """Send a body of this size, or take one."""
    sink = Sink()
    async with RawClient(url) as client:
        length = () if method == "GET" else (("Content-Length", str(size)),)
        await client.send(head(f"{method} /x HTTP/1.1", ("Host", "x"), AUTHORIZATION, *length))
        if method == "PUT":
            for _ in range(size // len(PIECE)):
                await client.send(PIECE)
        found = await client.read_head()
        assert found.status == (200 if method == "GET" else 204)
        if method == "GET":
            await sink.take_all(client.connection, size)
            assert sink.hash.digest() == EXPECTED


@pytest.mark.parametrize("method", ["PUT", "GET"])
async def test_a_server_of_its_own_keeps_its_size(method: str, tmp_path: Path) -> None:
    sink = Sink()
    with reserved_port() as port:
        async with upstream(sink) as url, Server(tmp_path, port, url) as server:
            before = memory_of(server.pid, "VmRSS")
            await pass_through(server.url, method, SIZE)
            assert memory_of(server.pid, "VmHWM") - before < SERVER_GROWTH
            assert await server.stop() == 0
    assert method == "GET" or sink.hash.digest() == EXPECTED


IMAGES, IMAGE_BYTES = 24, 20_000_000
ROOM = 2 * COST * IMAGE_BYTES
"""For two of them at once."""
AT_HAND = 128 * 1024 * 1024
"""What a server keeps of bodies when they are over: the turns that were told a moment ago."""


def image() -> bytes:
    """A request with an image in it, of about this many bytes."""
    url = "data:image/png;base64," + "A" * (IMAGE_BYTES - 200)
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
    return json.dumps({"messages": [{"role": "user", "content": parts}]}).encode()


async def show(url: str, body: bytes, number: int) -> Received:
    """The answer to a large question in a conversation of its own."""
    name = ("Backstory-Conversation", f"c{number}")
    whole = request("POST", CHAT.target, body, AUTHORIZATION, name)
    async with RawClient(url) as client:
        for at in range(0, len(whole), len(PIECE)):
            await client.send(whole[at : at + len(PIECE)])
        while True:
            try:
                return await client.read_answer()
            except TimeoutError:
                assert client.connection.ending is None


@pytest.mark.parametrize("waits", [True, False])
async def test_many_large_requests_at_once_share_the_room_there_is(
    waits: bool, tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    """All are answered, or those that waited too long are refused: memory has its bound."""
    env = {
        "BACKSTORY_MAX_BODY_BYTES": f"{IMAGE_BYTES}",
        "BACKSTORY_MAX_DECODED_BYTES": f"{IMAGE_BYTES}",
        "BACKSTORY_MAX_BUFFERED_BYTES": f"{ROOM}",
        "BACKSTORY_BUFFER_SECONDS": "60" if waits else "0.2",
    }
    sizes: list[int] = []

    def seen(one: Request) -> bytes:
        sizes.append(len(one.body))
        recording_upstream.requests.clear()  # or this process would keep them all
        recording_upstream.requests.append(one)
        return CHAT.answer("A cat.")

    recording_upstream.script = seen
    body = image()
    with reserved_port() as port:
        async with Server(tmp_path, port, recording_upstream.url, env) as server:
            assert (await show(server.url, CHAT.good, 0)).status == 200
            before = memory_of(server.pid, "VmRSS")
            async with asyncio.TaskGroup() as group:
                asked = [
                    group.create_task(show(server.url, body, number))
                    for number in range(1, IMAGES + 1)
                ]
            most = memory_of(server.pid, "VmHWM") - before
            answers = [task.result() for task in asked]
            answered = [answer for answer in answers if answer.status == 200]
            assert all(answer.complete for answer in answers)
            for answer in answers:
                if answer not in answered:
                    refused(CHAT, answer, 503, "memory_unavailable")
            assert len(answered) == IMAGES if waits else 0 < len(answered) < IMAGES
            assert sizes[1:] == [len(body)] * len(answered), "who was refused was never sent on"
            assert most < ROOM + AT_HAND
            assert await server.stop() == 0
            assert server.complaints() == []

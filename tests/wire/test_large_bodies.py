"""A hundred megabytes pass either way, and nobody here keeps more than a little of them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.wire.conftest import StartProxy
from tests.wire.connection import Connection, Ended
from tests.wire.messages import read_head
from tests.wire.server import Server, reserved_port
from tests.wire.talking import AUTHORIZATION, chunk, head

from tests.wire.clients import RawClient  # isort: skip

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

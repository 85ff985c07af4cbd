"""An upstream that does on its socket exactly what a test's script says."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from backstory.tasks import Tasks
from backstory.upstream import Upstream


class Line:
    """The upstream's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.gone = asyncio.Event()
        """The proxy has closed this connection, in whichever way."""

    async def head(self) -> bytes:
        """The next request's head, with the empty line."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """The next request, as long as its Content-Length says."""
        head = await self.head()
        _, announced, after = head.partition(b"\r\nContent-Length: ")
        body = await self.reader.readexactly(int(after.split(b"\r\n")[0])) if announced else b""
        return head + body

    async def say(self, *pieces: bytes) -> None:
        """Send bytes, each piece when the proxy has had its turn to read the one before."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            for _ in range(2):  # one turn polls the sockets, the next reads them
                await asyncio.sleep(0)

    async def answer(self, *pieces: bytes) -> bytes:
        """Read a request, send bytes, return the request."""
        request = await self.request()
        await self.say(*pieces)
        return request

    def reset(self) -> None:
        """Close by RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_gone(self) -> None:
        """Read until the proxy has closed."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass  # closed by RST: gone as well
        self.gone.set()


Script = Callable[[Line], Awaitable[object]]


class Dial:
    """Starts scripted upstreams, and makes what talks to them."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        """Every connection that was accepted."""
        self.tasks = Tasks()
        self._servers: list[asyncio.Server] = []
        self._upstreams: list[Upstream] = []
        self._scripts: list[asyncio.Task[object]] = []

    async def __call__(
        self,
        *scripts: Script,
        path: str = "",
        server_ssl: ssl.SSLContext | None = None,
        **options: Any,
    ) -> Upstream:
        """An upstream whose n-th connection runs the n-th script, the last one again and again."""
        accepted = 0

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal accepted
            script = scripts[min(accepted, len(scripts) - 1)]
            accepted += 1
            line = Line(reader, writer)
            self.lines.append(line)
            task = asyncio.current_task()
            assert task is not None
            self._scripts.append(task)
            try:
                await script(line)
            finally:
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server_ssl)
        self._servers.append(server)
        scheme = "http" if server_ssl is None else "https"
        host = "127.0.0.1" if server_ssl is None else "localhost"
        return self.to(f"{scheme}://{host}:{port(server)}{path}", **options)

    def to(self, origin: str, **options: Any) -> Upstream:
        """An upstream at ``origin``, closed when the test is over."""
        upstream = Upstream(origin, self.tasks, **options)
        self._upstreams.append(upstream)
        return upstream

    async def hang_up(self) -> None:
        """Close everything; a script that failed fails the test."""
        for upstream in self._upstreams:
            await upstream.close()
        for server in self._servers:
            server.close()
        if self._scripts:
            _, late = await asyncio.wait(self._scripts, timeout=2)
            for script in self._scripts:
                script.cancel()
            results = await asyncio.gather(*self._scripts, return_exceptions=True)
            errors = [result for result in results if isinstance(result, BaseException)]
            assert not late, "a script still waits: a connection was not closed"
            assert not errors, errors
        assert not len(self.tasks), "an upload is left behind"


def port(server: asyncio.Server) -> int:
    """Where ``server`` listens."""
    number = server.sockets[0].getsockname()[1]
    assert isinstance(number, int)
    return number


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """See Dial."""
    dial = Dial()
    yield dial
    await dial.hang_up()

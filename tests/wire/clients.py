"""A client that sends exactly the bytes it is told, and sees exactly what comes back."""

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from tests.wire.connection import Connection, Ending
from tests.wire.messages import Body, Head, read_body, read_head


@dataclass(frozen=True, slots=True)
class Received:
    """An answer, as far as it came."""

    head: Head
    body: Body

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    @property
    def content(self) -> bytes:
        """The body, framing undone."""
        return self.body.content

    @property
    def complete(self) -> bool:
        """The framing proved the end of the body."""
        return self.body.complete


class RawClient:
    """One connection to a server. An async context manager."""

    def __init__(self, url: str) -> None:
        """``url``: only its host and port count."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self.connection = Connection()
        """For reading piece by piece: ``read_exactly``, ``read_until``, ``read_to_end``."""

    async def __aenter__(self) -> "RawClient":
        """Connected."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.connection, self._host, self._port)
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """Closed, at once."""
        self.connection.transport.abort()

    async def send(self, *pieces: bytes) -> None:
        """Send bytes, each piece by a write of its own."""
        await self.connection.send(*pieces)

    async def post(self, target: str, body: object, *headers: tuple[str, str]) -> None:
        """Send a request with a JSON body, or with these bytes."""
        await self.send(request("POST", target, body, *headers, host=self.host))

    @property
    def host(self) -> str:
        """For the field ``Host``."""
        return f"{self._host}:{self._port}"

    async def read_head(self) -> Head:
        """The next head; 1xx answers are heads too."""
        return await read_head(self.connection)

    async def read_body(self, head: Head) -> Body:
        """The body that follows ``head``, as far as it comes; never fails because of a cut."""
        if head.status < 200 or head.status in (204, 304):
            return Body(complete=True)
        return await read_body(self.connection, head, to_end=True)

    async def read_answer(self) -> Received:
        """The next whole answer, to a request that was no HEAD."""
        head = await self.read_head()
        return Received(head, await self.read_body(head))

    async def ended(self) -> Ending:
        """How the server ended the connection, once it has: ``fin`` or ``rst``."""
        return await self.connection.ended()

    def finish(self) -> None:
        """Send a FIN: nothing more will be sent, but answers are read."""
        self.connection.finish()

    def reset(self) -> None:
        """Leave by RST, as a killed process with unread bytes does."""
        self.connection.reset()

    def close(self) -> None:
        """Leave, as most clients do."""
        self.connection.close()


def request(
    method: str, target: str, body: object, *headers: tuple[str, str], host: str = "localhost"
) -> bytes:
    """A request with Content-Length; ``body`` is JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        *(f"{name}: {value}" for name, value in headers),
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


def post_chunked(target: str, *chunks: bytes, host: str = "localhost") -> list[bytes]:
    """A request with chunked framing, in pieces: its head, each chunk, the last chunk."""
    head = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
    framed = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    return [head.encode(), *framed, b"0\r\n\r\n"]

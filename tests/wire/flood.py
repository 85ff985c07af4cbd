"""A long answer of an upstream that counts what it could send, and when nothing more could be.

Sent means given to the kernel: see ``connection.Connection``. Whoever reads too slowly makes an
upstream wait as soon as what lies between them is full.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from tests.wire.connection import Connection, Ended
from tests.wire.messages import Head, read_head
from tests.wire.talking import chunk, head, say
from tests.wire.upstreams import Answer, Step

Framed = Literal["length", "chunked", "close"]

_EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n'
_LAST = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
LETTERS = 65536 - len(_EVENT) + 2
"""Of the reply, in each piece."""
PIECE = _EVENT % (b"x" * LETTERS)
"""An event of 64 KiB, as a Chat Completions stream spells it."""
DONE = _LAST + b"data: [DONE]\n\n"
"""The end of such a stream."""
_QUIET_ROUNDS = 5


class Flood(Sequence[Any]):
    """The steps of an answer: so many times ``PIECE``, and the end. Others may read it at once."""

    def __init__(self, pieces: int, framed: Framed, *, until: asyncio.Event | None = None) -> None:
        """``until``: when it is set, the end comes next; not with ``length``, which is said before."""
        self.framed = framed
        self.sent = 0
        """Bytes of all bodies, without their framing."""
        self.done = 0
        """How many could send everything."""
        self._pieces = pieces
        self._until = until

    @property
    def size(self) -> int:
        """Of the body."""
        return self._pieces * len(PIECE) + len(DONE)

    @property
    def answer(self) -> Answer:
        """For a script."""
        return Answer(self, "fin" if self.framed == "close" else "next")

    def __len__(self) -> int:
        return self._pieces + 2

    def __getitem__(self, at: Any) -> Any:
        raise TypeError("it is sent from its beginning to its end")

    def __iter__(self) -> Iterator[Step]:
        how = {
            "length": ("Content-Length", str(self.size)),
            "chunked": ("Transfer-Encoding", "chunked"),
            "close": ("Connection", "close"),
        }[self.framed]
        yield head("HTTP/1.1 200 OK", ("Content-Type", "text/event-stream"), how)
        framed = chunk if self.framed == "chunked" else bytes
        whole = framed(PIECE)
        for _ in range(self._pieces):
            if self._until is not None and self._until.is_set():
                break
            yield whole
            self.sent += len(PIECE)
        yield framed(DONE) + (b"0\r\n\r\n" if self.framed == "chunked" else b"")
        self.sent += len(DONE)
        self.done += 1

    async def stalls(self, url: str) -> int:
        """How much could be sent, once that is not more with every answer of the server ``url``."""
        quiet = 0
        while quiet < _QUIET_ROUNDS:
            before = self.sent
            await say(url, head("GET /-/health/live HTTP/1.1", ("Host", "x")))
            quiet = quiet + 1 if self.sent == before else 0
        return self.sent


class Reader:
    """Takes an answer piece by piece, whatever its framing, and keeps its hash alone."""

    def __init__(self, connection: Connection) -> None:
        """``connection``: a request was sent on it."""
        self.size = 0
        """Bytes of the body so far."""
        self.complete = False
        """The framing proved the end."""
        self.head: Head | None = None
        self._connection = connection
        self._hash = hashlib.sha256()
        self._last = b""
        self._left = 0
        """Bytes up to the end of a chunk, or of the body."""
        self._chunked = False

    async def begin(self) -> Head:
        """The head."""
        self.head = await read_head(self._connection)
        self._chunked = bool(self.head.values(b"Transfer-Encoding"))
        lengths = self.head.values(b"Content-Length")
        self._left = int(lengths[0]) if lengths else -1
        if self._chunked:
            self._left = 0
        return self.head

    async def read(self, size: int) -> None:
        """At least so much more of the body, or all of it."""
        wanted = self.size + size
        try:
            while self.size < wanted and not self.complete:
                await self._some()
        except Ended:
            return  # how is in ``connection.ending``

    async def read_all(self) -> bytes:
        """Everything; the hash of the body."""
        while not self.complete and self._connection.ending is None:
            await self.read(1 << 30)
        return self._hash.digest()

    async def _some(self) -> None:
        connection = self._connection
        if self._chunked and self._left == 0:
            self._left = int(await connection.read_until(b"\r\n"), 16)
            if self._left == 0:
                assert await connection.read_exactly(2) == b"\r\n"
                self.complete = True
                return
        if not connection.buffer:
            await connection.more()
        taken = connection.take(len(connection.buffer) if self._left < 0 else self._left)
        self.size += len(taken)
        self._hash.update(taken)
        if self._left >= 0:
            self._left -= len(taken)
            if self._left == 0 and self._chunked:
                assert await connection.read_exactly(2) == b"\r\n"
            self.complete = self._left == 0 and not self._chunked


def hash_of(pieces: int) -> bytes:
    """Of the body of a whole flood."""
    whole = hashlib.sha256()
    for _ in range(pieces):
        whole.update(PIECE)
    whole.update(DONE)
    return whole.digest()

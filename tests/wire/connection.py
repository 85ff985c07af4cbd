"""One end of a TCP connection, as bytes: what arrived, what is sent, and how the peer ended it.

``asyncio.StreamReader`` does not do: after a reset it raises without giving what had arrived
before, and it does not tell a FIN from an RST.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Literal

Ending = Literal["fin", "rst", "ours"]
"""The peer said that it sends no more; the peer, or the network, cut; we closed."""

DEADLINE_SECONDS = 10.0
"""What a test waits for comes at once or never."""


class Ended(Exception):
    """The connection ended before what was waited for had arrived."""

    def __init__(self, ending: Ending, rest: bytes) -> None:
        """``rest`` arrived and is not enough."""
        super().__init__(f"{ending} after {rest[-200:]!r}")
        self.ending = ending
        self.rest = rest


class Connection(asyncio.Protocol):
    """See the module. Reading stops while much is unread: a test that does not read is a slow peer."""

    UNREAD_BYTES = 65536

    def __init__(
        self,
        opened: Callable[["Connection"], object] = lambda _: None,
        *,
        deadline_seconds: float | None = DEADLINE_SECONDS,
    ) -> None:
        """Not connected yet.

        Args:
            opened: called with this connection as soon as it is made.
            deadline_seconds: longest wait for more bytes, or for the end.
        """
        self.ending: Ending | None = None
        self.buffer = bytearray()
        """What arrived and was not taken yet."""
        self._opened = opened
        self._deadline_seconds = deadline_seconds
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=0)  # "sent" means: given to the kernel
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.buffer += data
        if len(self.buffer) >= self.UNREAD_BYTES:
            self.transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        """See asyncio.Protocol; stays open for what we still have to say."""
        self._end("fin")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._end("ours" if exc is None else "rst")
        self._writable.set()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.set()

    def _end(self, ending: Ending) -> None:
        if self.ending is None:  # the first counts: after a FIN, what we send is answered by an RST
            self.ending = ending
        self._news.set()

    async def send(self, *pieces: bytes) -> None:
        """Give every piece to the kernel, one by one.

        Raises:
            ConnectionResetError: there is nobody to send to.
        """
        for piece in pieces:
            if self.transport.is_closing():
                raise ConnectionResetError("the peer is gone")
            self.transport.write(piece)
            await self._writable.wait()

    async def more(self) -> None:
        """Return when something more has arrived.

        Raises:
            Ended: nothing more will arrive.
        """
        async with asyncio.timeout(self._deadline_seconds):
            seen = len(self.buffer)
            self.transport.resume_reading()
            while len(self.buffer) == seen:
                if self.ending is not None:
                    raise Ended(self.ending, bytes(self.buffer))
                self._news.clear()
                await self._news.wait()

    def take(self, size: int) -> bytes:
        """Remove and return the first ``size`` bytes of the buffer."""
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    async def read_exactly(self, size: int) -> bytes:
        """The next ``size`` bytes. Raises ``Ended``."""
        while len(self.buffer) < size:
            await self.more()
        return self.take(size)

    async def read_until(self, marker: bytes) -> bytes:
        """Everything up to the next ``marker``, and the marker. Raises ``Ended``."""
        begin = 0
        while (found := self.buffer.find(marker, begin)) < 0:
            begin = max(0, len(self.buffer) - len(marker) + 1)
            await self.more()
        return self.take(found + len(marker))

    async def read_to_end(self) -> bytes:
        """Everything until the connection ends; ``ending`` says how."""
        try:
            while True:
                await self.more()
        except Ended:
            return self.take(len(self.buffer))

    async def ended(self) -> Ending:
        """How the connection ended, once it has. What arrives meanwhile stays unread."""
        async with asyncio.timeout(self._deadline_seconds):
            while self.ending is None:
                self.transport.resume_reading()
                self._news.clear()
                await self._news.wait()
        return self.ending

    def finish(self) -> None:
        """Send a FIN after what was sent; the peer may still speak."""
        if not self.transport.is_closing():
            self.transport.write_eof()

    def reset(self) -> None:
        """Send an RST. What the kernel has not delivered yet is lost."""
        sock = self.transport.get_extra_info("socket")
        if not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def close(self) -> None:
        """Close; with unread bytes from the peer, the kernel makes an RST of it."""
        self.transport.close()

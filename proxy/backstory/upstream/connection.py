"""One connection to an upstream: moves bytes, knows whether it is still good, judges nothing."""

import asyncio
import os
import select
from collections.abc import Callable, Iterable
from typing import Protocol, cast


class Receiver(Protocol):
    """Who gets what arrives on a connection."""

    def received(self, data: bytes) -> None:
        """Bytes came."""

    def lost(self, error: Exception | None) -> None:
        """The connection is gone; ``None``: the other side closed it in order (FIN)."""


class Connection(asyncio.Protocol):
    """A connection in use while it has a receiver, idle while it has none."""

    receiver: Receiver | None = None
    on_lost: Callable[["Connection"], object] | None = None
    """Called once, when the connection is gone."""
    expires = 0.0
    """Loop time after which it must not carry another request."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        """In which it lives. To ask for it anew is a system call each time (Python 3.11)."""
        self.gone: asyncio.Future[None] = self.loop.create_future()
        """Done when the connection is gone."""
        self._writable: asyncio.Future[None] | None = None
        self._kernel = select.poll()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's are of no class of asyncio's
        self._kernel.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.receiver is None:
            self.abort()  # nothing was asked: it would be taken for the next answer
        else:
            self.receiver.received(data)

    def eof_received(self) -> None:
        """See asyncio.Protocol. Who sends no more is gone: nobody waits for our rest to be taken."""
        receiver = self.receiver
        self.abort()
        if receiver is not None:
            receiver.lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.gone.set_result(None)
        self.resume_writing()
        if self.on_lost is not None:
            self.on_lost(self)
        if exc is not None:
            self._rescue()
        if self.receiver is not None:
            self.receiver.lost(exc)

    def _rescue(self) -> None:
        """Take what came before the RST and was not read yet.

        An upstream that answers an upload with 413 and closes resets the connection. If a write of
        ours meets the RST first, the event loop reads no more, and the answer would be lost.
        """
        if self._transport.get_extra_info("ssl_object") is not None:
            return
        descriptor = self._transport.get_extra_info("socket").fileno()
        try:
            while self.receiver is not None and (data := os.read(descriptor, 65536)):
                self.receiver.received(data)
        except OSError:
            return  # the RST itself

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def usable(self) -> bool:
        """Whether an idle connection can carry a request: nothing has come on it, no FIN either.

        The kernel is asked, because it may know what the event loop has not told us yet.
        """
        return not self._transport.is_closing() and not self._kernel.poll(0)

    def write(self, pieces: Iterable[bytes]) -> None:
        """Send ``pieces`` as one, or nothing if the upstream is gone."""
        if not self._transport.is_closing():
            self._transport.writelines(pieces)

    async def drain(self, seconds: float | None) -> bool:
        """Wait until the upstream has taken most of what was written; ``False``: it is gone.

        Raises:
            TimeoutError: it takes nothing for ``seconds``.
        """
        if self._writable is not None:
            async with asyncio.timeout(seconds):
                await self._writable
        return not self._transport.is_closing()

    def pause_reading(self) -> None:
        """Let what comes wait in the kernel, and so the upstream."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; what is not sent yet is not sent. The receiver hears no more."""
        self.receiver = None
        self._transport.abort()

"""An upstream's answer: its head, and its body as it arrives.

The body has four ways out: the framing proves the end; the upstream closes a body that only its
closing ends; it is cut (``UpstreamCut``); nothing comes for too long (``UpstreamFailure``).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from backstory.deadlines import Deadlines
from backstory.errors import UpstreamCut, UpstreamFailure
from backstory.upstream.connection import Connection
from backstory.upstream.framing import AnswerParser, Fields, Framing
from backstory.upstream.pool import Pool
from backstory.upstream.request import timed_out

PAUSE_BYTES = 64 * 1024
"""With more than this waiting to be read, the upstream has to wait; a read takes all of it."""


class UpstreamAnswer:
    """One answer. Whoever has it must ``close`` it; one task reads."""

    status: int
    reason: str
    version: str
    """``1.0`` or ``1.1``."""
    fields: Fields
    """As on the wire: order, case and duplicates kept; hop-by-hop fields still there."""
    noted: Mapping[bytes, Sequence[bytes]]
    """See ``AnswerParser.noted``."""
    framing: Framing
    length: int | None
    """Content-Length; of an answer to HEAD too."""

    def __init__(
        self, connection: Connection, parser: AnswerParser, pool: Pool, silence: Deadlines
    ) -> None:
        """Made by ``Upstream.send``; what is public of it is there once ``head`` has returned."""
        self._connection = connection
        self._parser = parser
        self._pool = pool
        self._silence: Deadlines | None = silence
        self._upload: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], bool] | None = None
        self._sink_error: Exception | None = None
        self._wanted = True
        self._error: BaseException | None = None
        self._waits: tuple[str, Deadlines] | None = None
        self._paused = False
        self._closed = False
        connection.receiver = self

    @property
    def has_data(self) -> bool:
        """Whether ``read`` would return or raise without waiting."""
        return bool(self._parser.pieces) or self._settled

    @property
    def ended(self) -> bool:
        """Whether the end has arrived; what came before it may not be read yet."""
        return self._parser.ended

    @property
    def exhausted(self) -> bool:
        """Whether the end has arrived, and nothing before it is still to be read."""
        return self._parser.ended and not self._parser.pieces

    @property
    def proved(self) -> bool:
        """Whether the framing proved the end, which the upstream's closing never does."""
        return self._parser.ended and self.framing is not Framing.CLOSE

    def field(self, name: bytes) -> bytes | None:
        """The first value of a field of ``noted``."""
        values = self.noted.get(name)
        return values[0] if values else None

    async def read(self) -> bytes:
        """Everything that has arrived since the last read; waits if that is nothing. Empty: the end.

        Raises:
            UpstreamCut: the upstream ended before its framing said so, or this answer was closed.
            UpstreamFailure: nothing came for ``silence_seconds``.
        """
        parser = self._parser
        while not parser.pieces and not self._settled:  # a chunk's size alone is nothing to read
            await self._wait("silence", self._silence)
        if parser.pieces:
            return self._take()
        if parser.ended:
            return b""
        raise self._error or UpstreamCut(parser.fault)

    async def peek(self, most_bytes: int) -> bytes:
        """The whole body, or at least ``most_bytes`` of it; all of it is still to be read.

        Raises:
            UpstreamFailure: nothing came for ``silence_seconds``.
        """
        while not self._settled and self._parser.size < most_bytes:
            await self._wait("silence", self._silence)
        return b"".join(self._parser.pieces)

    async def flow(self, sink: Callable[[bytes], bool]) -> bool:
        """Give everything to ``sink`` the moment it arrives; whether that was all of the body.

        ``sink`` says whether it wants more; what comes after it did not waits to be read. No task
        wakes up for a chunk.

        Raises:
            UpstreamCut, UpstreamFailure: as ``read``.
            Exception: what ``sink`` raised.
        """
        parser = self._parser
        if parser.pieces and not sink(self._take()):
            return False
        while not self._settled:
            self._sink, self._wanted = sink, True
            try:
                await self._wait("silence", self._silence)
            finally:
                self._sink = None
            if self._sink_error is not None:
                raise self._sink_error
            if not self._wanted:
                return False
        if parser.ended:
            return True
        raise self._error or UpstreamCut(parser.fault)

    def pause(self) -> None:
        """Leave what comes in the kernel, so that the upstream waits, until somebody waits for it."""
        if not (self._paused or self._settled):
            self._paused = True
            self._connection.pause_reading()

    def close(self) -> None:
        """Let go of the connection: kept if everything was said, else the upstream sees us leave."""
        if self._closed:
            return
        self._closed = True
        self._paused = False
        self._wait_no_more()
        if not self._parser.ended:
            self._fail(UpstreamCut("The answer was closed before its end."))
        said = self._said()
        if self._upload is not None:
            self._upload.cancel()
        self._pool.give_back(self._connection, self._parser.keepalive_seconds() if said else 0.0)
        self._parser.let_go()

    def tunnel(self) -> "Tunnel":
        """The connection itself, after status 101. Closing the answer closes it.

        Raises:
            ValueError: the upstream did not switch protocols.
        """
        if self.status != 101:
            raise ValueError("only an answer with status 101 is a tunnel")
        self._silence = None  # whoever talks through it has pings of its own
        return Tunnel(self, self._connection)

    async def head(self, first_byte: Deadlines, upload: asyncio.Task[None] | None) -> None:
        """Wait for the head; the timer runs from the end of the ``upload``.

        Raises:
            UpstreamFailure: no head came in time, or something else came.
            BaseException: what the request's body raised.
        """
        self._upload = upload
        if upload is not None:
            upload.add_done_callback(self._uploaded)
        while not self._parser.headed and not self._settled:
            sent = upload is None or upload.done()
            await self._wait("first byte", first_byte if sent else None)
        if self._error is not None:
            raise self._error
        if not self._parser.headed:
            code = "upstream_protocol_error" if self._parser.begun else "upstream_unreachable"
            raise UpstreamFailure(502, code, self._parser.fault)
        self._publish()

    def received(self, data: bytes) -> None:
        """See Receiver."""
        parser = self._parser
        parser.feed(data)
        if self._sink is not None:
            if parser.pieces:
                self._give(self._sink)
        elif parser.size > PAUSE_BYTES:
            self.pause()
        if parser.fault:
            self._connection.abort()
        if self._settled or (parser.headed and self._sink is None):
            self._wake()

    def _give(self, sink: Callable[[bytes], bool]) -> None:
        try:
            self._wanted = sink(self._take())
        except Exception as error:  # noqa: BLE001 - told to whoever waits in ``flow``
            self._sink_error, self._wanted = error, False
        if not self._wanted:
            self._sink = None
        elif self._silence is not None:
            self._silence.set(self)

    def lost(self, error: Exception | None) -> None:
        """See Receiver."""
        self._parser.finish(clean=error is None)
        self._wake()

    def overdue(self) -> None:
        """See deadlines.Waiting."""
        if self._waits is not None:
            timer, deadlines = self._waits
            self._fail(timed_out(timer, deadlines.seconds))

    @property
    def _settled(self) -> bool:
        """Whether nothing more can come."""
        return self._parser.ended or bool(self._parser.fault) or self._error is not None

    def _said(self) -> bool:
        """Whether all of the request was sent and nothing went wrong."""
        if self._error is not None:
            return False
        upload = self._upload
        return upload is None or (
            upload.done() and not upload.cancelled() and upload.exception() is None
        )

    def _publish(self) -> None:
        parser = self._parser
        self.status = parser.status
        self.reason = parser.reason.decode("latin-1")
        self.version = parser.version
        self.fields = parser.fields
        self.noted = parser.noted
        self.framing = parser.framing
        self.length = parser.length

    def _take(self) -> bytes:
        parser = self._parser
        data = parser.pieces[0] if len(parser.pieces) == 1 else b"".join(parser.pieces)
        parser.pieces.clear()
        parser.size = 0
        return data

    async def _wait(self, timer: str, deadlines: Deadlines | None) -> None:
        if self._paused:
            self._paused = False
            self._connection.resume_reading()
        if deadlines is not None:
            self._waits = timer, deadlines
            deadlines.set(self)
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._wait_no_more()

    def _wait_no_more(self) -> None:
        if self._waits is not None:
            self._waits[1].unset(self)
            self._waits = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _uploaded(self, upload: asyncio.Task[None]) -> None:
        if self._closed:
            return  # the connection may be another's already
        if upload.cancelled():
            self._fail(UpstreamCut("The request was given up before all of it was sent."))
        elif (error := upload.exception()) is not None:
            self._fail(error)
        elif not self._parser.headed:
            self._wake()

    def _fail(self, error: BaseException) -> None:
        """Leave the upstream: half a request, or half an answer, must never look whole."""
        if self._error is None:
            self._error = error
        self._connection.abort()
        self._wake()


class Tunnel:
    """What both sides say after a 101, as bytes."""

    def __init__(self, answer: UpstreamAnswer, connection: Connection) -> None:
        self._answer = answer
        self._connection = connection

    async def read(self) -> bytes:
        """As ``UpstreamAnswer.read``, without a limit of time."""
        return await self._answer.read()

    def write(self, data: bytes) -> None:
        """Send ``data``; nothing happens if the upstream is gone."""
        self._connection.write((data,))

    async def drain(self) -> bool:
        """Wait until the upstream has taken most of what was written; ``False``: it is gone."""
        return await self._connection.drain(None)

    def close(self) -> None:
        """Close the answer and with it the connection."""
        self._answer.close()

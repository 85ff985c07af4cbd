"""The upstream's answer as an aiohttp response: its head, its framing, and how to cut it.

The bytes go to the client's transport as they come. aiohttp's own response would spell the head anew,
add fields to it, and take a step of the event loop for every chunk.
"""

import asyncio
import socket
import struct
import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import ClientConnectionResetError, HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_protocol import RequestHandler

from backstory import headers
from backstory.upstream import Framing, UpstreamAnswer

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends a reset
_FIN = struct.pack("ii", 0, 0)
_COPY_BYTES = 16384
"""Up to here one write of a copy is cheaper than a write of several pieces."""
# To ask an enum for a member by its name is a call (Python 3.11).
_CHUNKED, _CLOSE = Framing.CHUNKED, Framing.CLOSE


class Relayed(web.StreamResponse):
    """Status, reason and end-to-end fields as the upstream sent them; ``headers`` are those of ours.

    It is framed as the answer is. A body that ends when the upstream's connection does ends when
    the client's does: in chunks it would look complete even if it was cut. Until its end is sent,
    whatever closes such a connection resets it, the end of this process too.
    """

    def __init__(self, answer: UpstreamAnswer) -> None:
        """``answer``: its head is known."""
        super().__init__(status=answer.status, reason=answer.reason)
        self.media_type = headers.media_type(answer.field(b"content-type") or b"")
        coding = answer.field(b"content-encoding")
        self.coding = None if coding is None else coding.decode("latin-1")
        """As the upstream spelled it; ``None``: there is no such field."""
        self.framing = answer.framing
        """How the client sees where the body ends; settled by ``prepare``."""
        self._answer = answer
        self._head = b""
        self._resets = False
        """What closes the connection before the end is sent resets it."""
        self._request: web.BaseRequest | None = None
        self._transport: asyncio.Transport | None = None
        self._protocol: RequestHandler | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """See ``web.StreamResponse``. The head waits for the first bytes of the body, or ``flush``."""
        if self._request is None and not self._eof_sent:
            await request._prepare_hook(self)  # of the application that we are a part of
            self._request, self._payload_writer = request, request.writer
            self._transport, self._protocol = request.transport, request.protocol
            self._head = self._spelled(request)
            # After a bug of ours aiohttp ends the connection then, and answers no 500 behind our head.
            request.writer.output_size = len(self._head)
            # Of a tunnel both sides tell the end themselves.
            self._resets = self.framing is _CLOSE and self.status != 101
            if self._resets:
                _closing_sends(request, _RESET)
            self._answer = None  # type: ignore[assignment]  # nothing more is asked of it
        return self._payload_writer

    @property
    def congested(self) -> bool:
        """Whether the client takes less than is sent: then ``drain``."""
        return self._protocol is None or self._protocol.writing_paused

    def send(self, data: bytes) -> None:
        """Send a piece of the body now, and the head before it if that still waits.

        Raises:
            ClientConnectionResetError: the client is gone.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the client is gone")
        if len(data) > _COPY_BYTES:
            pieces = [data]
            if self.framing is _CHUNKED:
                pieces = [b"%x\r\n" % len(data), data, b"\r\n"]
            transport.writelines([self._head, *pieces] if self._head else pieces)
        else:
            if self.framing is _CHUNKED and data:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            transport.write(self._head + data if self._head else data)
        self._head = b""

    def flush(self) -> None:
        """Send the head, if it waits."""
        if self._head:
            self.send(b"")

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """See ``web.StreamResponse``."""
        if data:
            self.send(bytes(data))
            await self.drained()

    async def drained(self) -> None:
        """Wait until the client has taken most of what was sent."""
        if self._request is not None and self.congested:
            await self._request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """See ``web.StreamResponse``. The end of the framing."""
        if self._eof_sent:
            return
        if self.framing is _CHUNKED:
            self._head += b"0\r\n\r\n"
            self.framing = Framing.NONE
        self.flush()
        if self.congested:
            await self.drained()
        if self._resets and self._request is not None:
            _closing_sends(self._request, _FIN)  # unless it was cut
        self._eof_sent = True
        self._request = self._payload_writer = self._cookies = None
        self._transport = self._protocol = None
        self.headers.clear()  # aiohttp keeps the last answer for as long as a connection idles

    def _spelled(self, request: web.BaseRequest) -> bytes:
        """The head, and with it how the body is framed for this client."""
        answer, is_1_1 = self._answer, request.version == HttpVersion11
        lines = [_status_line(is_1_1, answer.status, answer.reason)]
        fields = headers.end_to_end(answer.fields)
        if b"set-cookie" in answer.noted:
            fields = [field for field in fields if not headers.sets_our_cookie(*field)]
        lines += map(b": ".join, fields)
        if b"date" not in answer.noted:
            lines.append(_date_line())  # RFC 9110 section 6.6.1
        lines += map(str.encode, map(": ".join, self.headers.items()))
        if self._cookies:
            lines += [f"Set-Cookie: {it.OutputString()}".encode() for it in self._cookies.values()]
        if self.framing is _CHUNKED:
            if is_1_1:
                lines.append(b"Transfer-Encoding: chunked")
            else:
                self.framing = _CLOSE
        elif answer.length is not None and answer.status != 204:  # RFC 9110 section 8.6
            lines.append(b"Content-Length: %d" % answer.length)
        # A connection that sent chunks takes no further request: see ``mend_head``.
        stays = request.keep_alive and self._keep_alive is not False
        stays = stays and self.framing is not _CLOSE
        self._keep_alive = stays
        if stays != is_1_1 and hdrs.CONNECTION not in self.headers:
            lines.append(b"Connection: keep-alive" if stays else b"Connection: close")
        lines.append(b"\r\n")
        return b"\r\n".join(lines)


async def mend_head(request: web.Request, response: web.StreamResponse) -> None:
    """Undo what aiohttp adds to our own answers, and end a connection with its first chunked request.

    For ``on_response_prepare``. aiohttp's parser (seen in 3.14.5) makes the last trailer field of such a body the first field of
    the connection's next request: it could be somebody's token, or the name of a conversation, on
    the request of somebody else whom a proxy in front serves through the same connection.
    """
    if not isinstance(response, Relayed):
        response.headers.pop(hdrs.SERVER, None)
    if hdrs.TRANSFER_ENCODING in request.headers and response.status != 101:
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"


def cut(request: web.Request, response: web.StreamResponse) -> None:
    """End the connection so that nobody takes what was sent for all of it.

    What is written already goes out. Then the end of framing is missing; where only the end of the
    connection could tell, it is a reset, because a proper end would look complete.
    """
    if isinstance(response, Relayed) and response.framing is _CLOSE:
        _closing_sends(request, _RESET)
    if request.transport is not None:
        request.transport.close()


def _closing_sends(request: web.BaseRequest, how: bytes) -> None:
    """What closes the client's connection, if nothing does yet."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)


@lru_cache(maxsize=64)
def _status_line(is_1_1: bool, status: int, reason: str) -> bytes:
    version = b"1.1" if is_1_1 else b"1.0"
    return b"HTTP/%b %d %b" % (version, status, reason.encode("latin-1"))


_dated = (0, b"")


def _date_line() -> bytes:
    """Now, in the form of RFC 9110 section 5.6.7; the same for everybody within a second."""
    global _dated
    now = int(time.time())
    if _dated[0] != now:
        _dated = now, b"Date: " + formatdate(now, usegmt=True).encode()
    return _dated[1]

"""The upstream's answer as an aiohttp response: its head, its framing, and how to cut it."""

import socket
import struct

from aiohttp import hdrs, web

from backstory import headers
from backstory.upstream import Framing, UpstreamAnswer

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends a reset


class Relayed(web.StreamResponse):
    """Status, reason and end-to-end fields as the upstream sent them."""

    def __init__(self, answer: UpstreamAnswer) -> None:
        """``answer``: its head is known."""
        super().__init__(status=answer.status, reason=answer.reason)
        for name, value in headers.end_to_end(answer.fields):
            if not headers.sets_our_cookie(name, value):
                self.headers.add(_text(name), _text(value))
        if answer.length is not None:
            self.headers[hdrs.CONTENT_LENGTH] = str(answer.length)
        self.length_as_sent = answer.length
        self.as_sent = frozenset(name.lower() for name, _ in answer.fields)


class CloseDelimited(Relayed):
    """A body that ends when the connection does: its end proves to the client what it proved to us.

    In chunks it would look complete even if it was cut.
    """

    _length_check = False  # as aiohttp's own WebSocketResponse does: no framing is added

    def __init__(self, answer: UpstreamAnswer) -> None:
        """See ``Relayed``."""
        super().__init__(answer)
        self.force_close()


def relayed(answer: UpstreamAnswer) -> Relayed:
    """A response that is framed as the answer is."""
    return CloseDelimited(answer) if answer.framing is Framing.CLOSE else Relayed(answer)


async def leave_head_alone(request: web.Request, response: web.StreamResponse) -> None:
    """Undo what aiohttp does to every head (for ``on_response_prepare``)."""
    if (
        isinstance(response, Relayed)
        and response.status == 304
        and response.length_as_sent is not None
    ):
        # It says how long the answer would be (RFC 9110 section 8.6); aiohttp takes it out.
        response.headers[hdrs.CONTENT_LENGTH] = str(response.length_as_sent)
    as_sent = response.as_sent if isinstance(response, Relayed) else frozenset((b"content-type",))
    if b"server" not in as_sent:
        response.headers.pop(hdrs.SERVER, None)
    if b"content-type" not in as_sent:
        response.headers.pop(hdrs.CONTENT_TYPE, None)


async def end_after_chunks(request: web.Request, response: web.StreamResponse) -> None:
    """Take no further request from a connection that sent a chunked body (for ``on_response_prepare``).

    aiohttp's parser (seen in 3.14.5) makes the last trailer field of such a body the first field of
    the connection's next request: it could be somebody's token, or the name of a conversation, on
    the request of somebody else whom a proxy in front serves through the same connection.
    """
    if hdrs.TRANSFER_ENCODING in request.headers and response.status != 101:
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"


def cut(request: web.Request, response: web.StreamResponse) -> None:
    """End the connection so that nobody takes what was sent for all of it.

    What is written already goes out. Then the end of framing is missing; where only the end of the
    connection could tell, it is a reset, because a proper end would look complete.
    """
    transport = request.transport
    if transport is None:
        return
    framed = response.content_length is not None or hdrs.TRANSFER_ENCODING in response.headers
    connection = transport.get_extra_info("socket")
    if not framed and connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.close()


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # RFC 9110 section 5.5: historical, and opaque to us

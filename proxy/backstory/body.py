"""The client's body: asked for when it is wanted, read whole only where it must be."""

from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, web

from backstory.errors import BackstoryError
from backstory.tee import Decoder, Undecodable


def arrived(request: web.Request) -> bool:
    """Whether the whole body, of a length that was said, came with the head."""
    return request.content.is_eof() and "Content-Length" in request.headers


async def stream_body(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it arrives, of any size."""
    await _continue(request)
    async for piece in request.content.iter_any():
        yield piece


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        BackstoryError: 413 if it is larger than ``max_bytes``; known from Content-Length, nothing is read.
    """
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    await _continue(request)
    if arrived(request):
        return request.content.read_nowait()  # it came with the head
    pieces, size = [], 0
    async for piece in request.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes)
    return b"".join(pieces)


def decode_body(body: bytes, codings: tuple[str, ...], max_bytes: int) -> bytes | None:
    """``body`` with its content coding undone; ``None`` if we cannot, and it is not ours to refuse.

    Raises:
        BackstoryError: 413 if more than ``max_bytes`` come out.
    """
    decoder = Decoder(codings, max_bytes)
    try:
        plain = decoder.feed(body)
    except Undecodable:
        if decoder.overflowed:
            raise _too_large(max_bytes) from None
        return None
    return plain if decoder.ended else None


async def _continue(request: web.Request) -> None:
    """Tell a client that waits for it to go on (RFC 9110 section 10.1.1)."""
    if "Expect" not in request.headers or request.version != HttpVersion11:
        return
    if request.headers["Expect"].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # An interim response is none: the head of the answer is still to come.
        request.writer.output_size = 0


async def ignore_expect(request: web.Request) -> None:
    """Stands in for aiohttp's handler, which asks for a body before anybody looked at the token."""


def _too_large(max_bytes: int) -> BackstoryError:
    return BackstoryError(
        413, "body_too_large", f"the request body has more than {max_bytes} bytes (max_body_bytes)"
    )

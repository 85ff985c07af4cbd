"""The client's body: asked for when it is wanted, read whole only where it must be, and charged then."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, hdrs, web

from backstory.buffers import Share
from backstory.errors import BackstoryError
from backstory.tee import Decoder, Undecodable

LEAST_RATE = 1024
"""Bytes a second that a body must come with in the long run."""
_MOST_INFLATED = 1033
"""Bytes that one byte of deflate can become (RFC 1951: 258 bytes from two bits)."""


def arrived(request: web.Request) -> bool:
    """Whether the whole body, of a length that was said, came with the head."""
    return request.content.is_eof() and hdrs.CONTENT_LENGTH in request.headers


async def stream_body(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it arrives, of any size."""
    await _continue(request)
    async for piece in request.content.iter_any():
        yield piece


def at_hand(request: web.Request, max_bytes: int, share: Share) -> bytes | None:
    """The whole body, charged to ``share``; ``None``: it has to be waited for (``read_body``)."""
    content, fields = request.content, request.headers
    if not content.is_eof() or hdrs.CONTENT_LENGTH not in fields or hdrs.EXPECT in fields:
        return None
    size = int(fields[hdrs.CONTENT_LENGTH])
    return content.read_nowait() if size <= max_bytes and share.take(size) else None


async def read_body(
    request: web.Request, max_bytes: int, share: Share, *, idle_seconds: float = 30.0
) -> bytes:
    """The whole body, charged to ``share`` before it is asked for, or as it grows.

    Raises:
        BackstoryError: 413 if it is larger than ``max_bytes``; known from Content-Length, nothing is read.
            408 if nothing comes for ``idle_seconds``, or in all less than ``LEAST_RATE`` after them:
            it holds room that others wait for.
        NoRoom: nothing is read either, unless its length was not said. Such bodies may wait for each
            other as they grow: the first whose time is over makes room for the others.
    """
    charged = request.content_length or 0
    if charged > max_bytes:
        raise _too_large(max_bytes)
    if not share.take(charged):
        await share.wait(charged)
    await _continue(request)
    if arrived(request):
        return request.content.read_nowait()  # it came with the head
    pieces, size = [], 0
    clock = asyncio.get_running_loop().time
    slowest = clock() + idle_seconds
    try:
        async with asyncio.timeout(idle_seconds) as patience:
            async for piece in request.content.iter_any():
                pieces.append(piece)
                size += len(piece)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                if size > charged:
                    patience.reschedule(None)  # it waits for others now
                    waits = clock()
                    if not share.take(size - charged):
                        await share.wait(size - charged)
                        slowest += clock() - waits
                    charged = size
                patience.reschedule(min(clock() + idle_seconds, slowest + size / LEAST_RATE))
    except TimeoutError:
        raise _too_slow(size) from None
    return b"".join(pieces)


async def plain_body(
    body: bytes, codings: tuple[str, ...], max_bytes: int, share: Share
) -> bytes | None:
    """``decode_body`` in a thread: however small a body is, it may be a bomb.

    ``share``, which has been charged for ``body``, is charged for what comes out in its place.

    Raises:
        BackstoryError: see there.
        NoRoom: there is none for what may come out.
    """
    size = len(body)
    most = max(size, min(max_bytes, _MOST_INFLATED * size))
    if not share.take(most - size):
        await share.wait(most - size)
    plain = await asyncio.to_thread(decode_body, body, codings, max_bytes)
    share.give_back(most - max(size, len(plain or b"")))
    return plain


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
    if hdrs.EXPECT not in request.headers or request.version != HttpVersion11:
        return
    if request.headers[hdrs.EXPECT].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # An interim response is none: the head of the answer is still to come.
        request.writer.output_size = 0


async def ignore_expect(request: web.Request) -> None:
    """Stands in for aiohttp's handler, which asks for a body before anybody looked at the token."""


def _too_slow(size: int) -> BackstoryError:
    return BackstoryError(
        408,
        "request_timeout",
        f"the request body stopped coming after {size} bytes; nothing was run",
    )


def _too_large(max_bytes: int) -> BackstoryError:
    return BackstoryError(
        413, "body_too_large", f"the request body has more than {max_bytes} bytes (max_body_bytes)"
    )

"""A request as bytes: what was given, in its order, with exactly one framing.

A second fence against request splitting: nothing that could end a line early gets through.
"""

import re
from collections.abc import AsyncIterable, Sequence
from functools import lru_cache

from backstory.errors import UpstreamFailure
from backstory.headers import LONGEST_NAME, MOST_NAMES, name_of
from backstory.upstream.connection import Connection
from backstory.upstream.origin import Origin

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_TARGET = re.compile(rb"[!-~\x80-\xff]+")
_OURS = frozenset((b"host", b"content-length", b"transfer-encoding"))
_good_names: set[bytes] = set()
"""The same few come with every request."""


def request_head(
    origin: Origin,
    method: str,
    target: str,
    fields: Sequence[tuple[bytes, bytes]],
    body: bytes | AsyncIterable[bytes] | None,
    length: int | None,
) -> bytes:
    """Request line and fields, up to and with the empty line.

    Raises:
        ValueError: a name, value, method or target that HTTP/1.1 cannot carry, or a field that is
            written here: Host, Content-Length, Transfer-Encoding.
    """
    lines = [_first_lines(method, origin.prefix, target, origin.authority)]
    lines += map(b": ".join, fields)
    if isinstance(body, bytes):
        lines.append(b"Content-Length: %d" % len(body))
    elif body is not None:
        framing = b"Transfer-Encoding: chunked"
        lines.append(framing if length is None else b"Content-Length: %d" % length)
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    # No line but ours ends anywhere: seen once in all of the head, and not in each value.
    ends = 1 + len(lines)
    if head.count(b"\r") != ends or head.count(b"\n") != ends or b"\0" in head:
        raise ValueError("a field that would break the request head")
    if not _good_names.issuperset(map(name_of, fields)):
        for name, _ in fields:
            _check_name(name)
    return head


@lru_cache(maxsize=256)
def _first_lines(method: str, prefix: str, target: str, authority: str) -> bytes:
    verb = method.encode("ascii")
    # "*" speaks of the whole server, wherever the prefix points (RFC 9112 section 3.2.4).
    path = (target if target == "*" else prefix + target).encode("utf-8", "surrogateescape")
    if not _TOKEN.fullmatch(verb) or not target or not _TARGET.fullmatch(path):
        raise ValueError("a method or target that would break the request line")
    return b"%b %b HTTP/1.1\r\nHost: %b" % (verb, path, authority.encode("ascii"))


def _check_name(name: bytes) -> None:
    if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
        raise ValueError("a field that would break the request head")
    if len(name) <= LONGEST_NAME and len(_good_names) < MOST_NAMES:
        _good_names.add(name)


async def upload(
    connection: Connection, body: AsyncIterable[bytes], length: int | None, silence_seconds: float
) -> None:
    """Send a body piece by piece, no faster than the upstream takes it.

    Ends quietly if the upstream is gone: what it answered, or that it did not, is told elsewhere.

    Raises:
        ValueError: ``body`` has more or less than ``length`` bytes. What is sent looks cut.
        UpstreamFailure: the upstream takes nothing for ``silence_seconds``.
    """
    left = length
    async for piece in body:
        if not piece:
            continue  # an empty chunk would be the end
        if left is not None:
            left -= len(piece)
            if left < 0:
                raise ValueError("the request body is longer than announced")
        connection.write(
            (piece,) if length is not None else (b"%x\r\n" % len(piece), piece, b"\r\n")
        )
        try:
            if not await connection.drain(silence_seconds):
                return
        except TimeoutError as exc:
            raise timed_out("silence", silence_seconds) from exc
    if left:
        raise ValueError("the request body is shorter than announced")
    if length is None:
        connection.write((b"0\r\n\r\n",))


def timed_out(timer: str, seconds: float) -> UpstreamFailure:
    """The error for a timer that has run out: connect, first byte or silence."""
    message = f"The upstream let the {timer} timer run out ({seconds:g} s)."
    return UpstreamFailure(504, "upstream_timeout", message)

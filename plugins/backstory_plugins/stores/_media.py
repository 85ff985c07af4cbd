"""Images and files inside the bytes of messages: taken out, and put back exactly where they were.

A picture comes as base64 within the JSON, and every branch or imported history that holds it would
hold it again. So a run of base64 that is long enough is kept once in a conversation, under a digest
keyed with the conversation's key, and the bytes of the turn have a hole in its place.
"""

import hashlib
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

LEAST_BYTES = 4096
"""What is shorter stays where it is: a row of its own would cost as much."""

DIGEST_BYTES = 32
_HOLE = struct.Struct(f"<Q{DIGEST_BYTES}s")
# Standard and URL-safe alphabets; some servers escape the slash. Beginning at the first byte of a
# run only, or a run that is too short would be looked at from each of its bytes.
_ALPHABET = rb"[A-Za-z0-9+/=_\\-]"
_runs = re.compile(rb"(?<!%b)%b{%d,}" % (_ALPHABET, _ALPHABET, LEAST_BYTES)).finditer


class Split(NamedTuple):
    """Bytes without their media."""

    rest: bytes
    holes: bytes
    """For each medium its place in ``rest`` (8 bytes, little-endian) and its digest."""
    media: dict[bytes, bytes]
    """By digest."""


def split(data: bytes, key: bytes) -> Split:
    """``data`` taken apart; ``key``: the conversation's."""
    if len(data) < LEAST_BYTES:
        return Split(data, b"", {})
    rest: list[bytes] = []
    holes: list[bytes] = []
    media: dict[bytes, bytes] = {}
    at = size = 0
    for run in _runs(data):
        rest.append(data[at : run.start()])
        size += len(rest[-1])
        digest = hashlib.blake2b(run[0], key=key, digest_size=DIGEST_BYTES).digest()
        holes.append(_HOLE.pack(size, digest))
        media[digest] = run[0]
        at = run.end()
    rest.append(data[at:])
    return Split(b"".join(rest), b"".join(holes), media)


def join(rest: bytes, holes: bytes, medium: Callable[[bytes], bytes]) -> bytes:
    """The bytes as they were; ``medium`` finds one by its digest."""
    if not holes:
        return rest
    pieces: list[bytes] = []
    at = 0
    for place, digest in _HOLE.iter_unpack(holes):
        pieces += rest[at:place], medium(digest)
        at = place
    return b"".join([*pieces, rest[at:]])

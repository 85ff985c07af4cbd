"""The copy of an answer that memory reads, and the few bytes that wait for it.

Who has seen the end of an answer will be remembered. So the bytes that tell a client that the
answer is complete are held back until the turn is durable: from the dialect's end marker on, or,
where there is none, the last byte of a Content-Length body (a chunked body's own end waits with
whoever writes it). Bytes that may be the beginning of a marker wait for the next chunk. No other
byte waits, and nothing is parsed: one search a chunk.
"""

import re
import zlib
from collections.abc import Callable

from backstory.buffers import Share
from backstory.model import Marker

_strings = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL).sub
_FIRST_ROOM_BYTES = 4096
_MOST_NESTED = 16
"""Markers that turn out to be keys of inner objects; then the framing alone tells the end."""


class Undecodable(Exception):
    """The content coding is unknown, damaged, or hides more than may be kept; or there is no copy."""

    def __init__(self, message: str, *, reason: str = "no_copy") -> None:
        """``reason``: why the turn is discarded, in one word."""
        super().__init__(message)
        self.reason = reason


class Tee:
    """Takes what arrives, gives back what may go on now, keeps a bounded copy of all of it."""

    def __init__(
        self,
        limit_bytes: int,
        marker_for: Callable[[str], Marker | None],
        share: Share | None = None,
    ) -> None:
        """Nothing is copied yet.

        Args:
            limit_bytes: of the copy.
            marker_for: the end marker of a media type.
            share: is charged for the copy.
        """
        self.status = 0
        self.media_type = ""
        self.marked = False
        """The end marker has been seen."""
        self._limit = limit_bytes
        self._share = share
        self._room = 0 if share else limit_bytes
        self._marker_for = marker_for
        self._copy: list[bytes] | None = []
        self._size = 0
        self._held: list[bytes] = []
        self._left: int | None = None
        self._codings: tuple[str, ...] = ()
        self._search: MarkerSearch | None = None
        self._decoder: Decoder | None = None

    def begin(
        self, status: int, media_type: str, codings: tuple[str, ...], length: int | None
    ) -> None:
        """The head of the answer is known; ``length`` is its Content-Length."""
        self.status, self.media_type = status, media_type
        self._left, self._codings = length, codings
        marker = self._marker_for(media_type)
        if marker is not None:
            self._search = MarkerSearch(marker)
            if codings:
                self._decoder = Decoder(codings, self._limit)

    def feed(self, chunk: bytes) -> bytes:
        """Copy ``chunk``; what of it, and of what waited, may go to the client now."""
        if self._copy is not None:
            self._copy.append(chunk)
            self._size += len(chunk)
            if self._size > self._room:
                self._make_room()
        if self._left is not None:
            self._left -= len(chunk)
        if self.marked:
            self._held.append(chunk)
            return b""
        if self._decoder is not None:
            return self._last_byte_waits(self._feed_coded(chunk))
        if self._search is None:
            return self._last_byte_waits(chunk)
        free, held = self._search.feed(chunk)
        if self._search.found:
            self.marked = True
            self._held.append(held)
            return free
        # What may be the beginning of a marker is the end of the body as well.
        return free if held else self._last_byte_waits(free)

    def release(self) -> bytes:
        """Everything held back: the answer is durable, or will not be remembered."""
        plain_search = self._search if self._decoder is None else None
        rest = plain_search.rest() if plain_search and not self.marked else b""
        held = rest + b"".join(self._held)
        self._held.clear()
        return held

    def body(self) -> bytes:
        """The whole answer so far, content coding undone.

        Raises:
            Undecodable: there is no copy that can be read.
        """
        if self._copy is None:
            if self._size > self._limit:
                raise Undecodable("the answer is larger than max_answer_bytes")
            raise Undecodable("other bodies take all of max_buffered_bytes", reason="no_room")
        whole = b"".join(self._copy)
        if not self._codings:
            return whole
        decoder = Decoder(self._codings, self._limit)
        plain = decoder.feed(whole)
        if not decoder.ended:
            raise Undecodable("the content coding does not end")
        return plain

    def _make_room(self) -> None:
        """Charge for what has come and a quarter more, so that this is seldom done."""
        room = min(self._size + self._size // 4 + _FIRST_ROOM_BYTES, self._limit)
        share = self._share
        if share is not None:
            if self._size <= self._limit and share.grow(room, room - self._room):
                self._room = room
                return
            share.give_back(self._room)
        self._copy = None  # the answer goes on, its copy does not

    def _feed_coded(self, chunk: bytes) -> bytes:
        """The whole chunk in which the marker decodes is held: its bytes have no place of their own."""
        assert self._decoder is not None
        assert self._search is not None
        try:
            self._search.feed(self._decoder.feed(chunk))
        except Undecodable:
            self._decoder = self._search = None  # relayed as it is, and not remembered
            return chunk
        if not self._search.found:
            return chunk
        self.marked = True
        self._held.append(chunk)
        return b""

    def _last_byte_waits(self, free: bytes) -> bytes:
        if self._left is None or self._left > 0 or not free:
            return free
        self._held.append(free[-1:])
        return free[:-1]


class MarkerSearch:
    """Finds an end marker that may be split over chunks."""

    def __init__(self, marker: Marker) -> None:
        """``marker``: its spellings, and whether only the beginning of a line counts."""
        self.found = False
        self._spellings = marker.spellings
        self._line_start = marker.line_start
        self._line: list[bytes] | None = [] if marker.top_level else None
        self._nested = 0
        self._longest = max(map(len, marker.spellings))
        self._inner = frozenset(b"".join(s[:-1] for s in marker.spellings))
        self._carry = b""
        self._fresh_line = True

    def feed(self, chunk: bytes) -> tuple[bytes, bytes]:
        """``chunk`` and what was carried, cut in two: what may go on, and what begins a marker."""
        data = self._carry + chunk if self._carry else chunk
        at = self._find(data)
        self.found = at >= 0
        if not self.found:
            at = len(data) - self._beginning(data)
        self._carry = data[at:]
        if at:
            self._fresh_line = data[at - 1] in b"\r\n"
            if self._line is not None:
                self._keep_line(data[:at])
        return data[:at], self._carry

    def rest(self) -> bytes:
        """What looked like the beginning of a marker and was none."""
        carry, self._carry = self._carry, b""
        return carry

    def _find(self, data: bytes) -> int:
        first = -1
        for spelling in self._spellings:
            at = data.find(spelling)
            while at >= 0 and not self._counts(data, at):
                at = data.find(spelling, at + 1)
            if at >= 0 and (first < 0 or at < first):
                first = at
        return first

    def _beginning(self, data: bytes) -> int:
        """How many bytes at the end of ``data`` may be the beginning of a marker."""
        if not data or data[-1] not in self._inner:
            return 0
        for length in range(min(self._longest - 1, len(data)), 0, -1):
            at = len(data) - length
            end = data[at:]
            if any(s.startswith(end) for s in self._spellings) and self._counts(data, at):
                return length
        return 0

    def _counts(self, data: bytes, at: int) -> bool:
        if self._line is not None and not self._at_top(data[:at]):
            return False
        if not self._line_start:
            return True
        return data[at - 1] in b"\r\n" if at else self._fresh_line

    def _keep_line(self, data: bytes) -> None:
        """Remember what the line holds so far: its earlier pieces may be in earlier chunks."""
        assert self._line is not None
        end = data.rfind(b"\n")
        if end >= 0:
            self._line.clear()
        self._line.append(data[end + 1 :])

    def _at_top(self, before: bytes) -> bool:
        """Whether the line's object is open, and nothing in it, after ``before``."""
        assert self._line is not None
        end = before.rfind(b"\n")
        line = before[end + 1 :] if end >= 0 else b"".join(self._line) + before
        bare = _strings(b"", line)
        depth = bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")
        if depth != 1:
            self._nested += 1  # each costs the length of its line
            if self._nested > _MOST_NESTED:
                self._spellings = ()
        return depth == 1


class Decoder:
    """Undoes gzip and deflate (RFC 9110 section 8.4.1), bounded."""

    def __init__(self, codings: tuple[str, ...], limit_bytes: int) -> None:
        """``codings``: in the order of application; ``limit_bytes``: of the plain text."""
        self._left = limit_bytes
        self._unknown = len(codings) != 1 or codings[0] not in ("gzip", "x-gzip", "deflate")
        gzip = not self._unknown and codings[0] != "deflate"
        self._inflate = zlib.decompressobj(wbits=31 if gzip else 15)
        self._may_be_raw = not gzip
        self._tried = b""

    @property
    def overflowed(self) -> bool:
        """More came out than is allowed."""
        return self._left < 0

    @property
    def ended(self) -> bool:
        """The coding's own end has been seen, and nothing follows it."""
        return self._inflate.eof and not self._inflate.unused_data

    def feed(self, chunk: bytes) -> bytes:
        """The plain text of ``chunk``.

        Raises:
            Undecodable: see there.
        """
        if self._unknown:
            raise Undecodable("unknown content coding")
        if self._may_be_raw:
            self._tried += chunk
        try:
            plain = self._inflate.decompress(chunk, self._left + 1)
        except zlib.error as exc:
            if not self._may_be_raw:
                raise Undecodable("damaged content coding") from exc
            # Some servers send deflate without the zlib header that RFC 9110 asks for.
            self._inflate = zlib.decompressobj(wbits=-15)
            self._may_be_raw = False
            return self.feed(self._tried)
        self._may_be_raw = self._may_be_raw and len(self._tried) < 2
        self._left -= len(plain)
        if self._left < 0:
            raise Undecodable("larger than allowed")
        return plain

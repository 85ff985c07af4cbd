"""Where an answer's head and body end, and whether the framing proved it (RFC 9112 section 6).

The bytes are read by llhttp through httptools. What llhttp leaves open is decided here: it does not
know that HEAD was asked, tolerates transfer codings that we could not pass on, and takes what
follows the end for the next answer.
"""

import re
from collections.abc import Iterable
from enum import Enum

import httptools

Fields = list[tuple[bytes, bytes]]
_NOTED = frozenset(
    (
        *(b"connection", b"content-length", b"keep-alive", b"transfer-encoding"),
        *(b"content-encoding", b"content-type", b"date", b"set-cookie"),
    )
)
_TIMEOUT = re.compile(rb"timeout\s*=\s*\"?(\d{1,6})", re.IGNORECASE)


class Framing(Enum):
    """What marks the end of an answer's body."""

    NONE = "none"
    """There is no body: HEAD was asked, or the status is 204 or 304."""
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """The end of the connection, which proves nothing; also the bytes after a 101."""


# To ask an enum for a member by its name is a call (Python 3.11).
_NONE, _LENGTH, _CHUNKED, _CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE


class AnswerParser:
    """One answer, read from bytes as they arrive; a new parser for each answer.

    Methods named ``on_...`` are for httptools.
    """

    def __init__(self, *, head_only: bool, upgrade: bool, max_head_bytes: int) -> None:
        """``head_only``: HEAD was asked. ``upgrade``: another protocol was asked for."""
        self.status = 0
        self.reason = b""
        self.version = ""
        self.framing = _NONE
        self.length: int | None = None
        self.begun = False
        """A byte has come."""
        self.headed = False
        """The head is complete, and one that can be passed on. Interim answers are skipped."""
        self.ended = False
        """Everything has arrived."""
        self.stray = False
        """Bytes came after the end: the connection cannot be trusted with another request."""
        self.fault = ""
        """Why no more can come; a sentence without anything of the answer in it."""
        self.size = 0
        """Bytes in ``pieces``."""
        self.fields: Fields = []
        self.pieces: list[bytes] = []
        """The body as it arrived and nobody took it yet."""
        self._head_only = head_only
        self._upgrade = upgrade
        self._max_head_bytes = max_head_bytes
        self._upgraded = False
        self._fed = 0
        self._bodiless_bytes = 0
        self.noted: dict[bytes, list[bytes]] = {}
        """The values of the fields that are of interest here, by name in lower case."""
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Read on. Never raises: see ``fault`` and ``stray``."""
        if self._upgraded:
            self.on_body(data)
            return
        if self.ended:
            self.stray = True
            return
        self.begun = True
        if not self.headed:
            self._fed += len(data)
        size = self.size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._switch(data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            # llhttp's words for what it expected; they never quote what came.
            self._object(f"The upstream's answer is not HTTP/1.1: {exc}.")
        if self.size == size and not self.ended:
            self._count(len(data))
        else:
            self._bodiless_bytes = 0

    def let_go(self) -> None:
        """Nothing more will be fed: httptools' parser refers back to this one."""
        del self._parser

    def finish(self, *, clean: bool) -> None:
        """The connection is gone; ``clean``: by FIN. That ends a close-delimited body, no other."""
        if clean and self.headed and self.framing is _CLOSE and not self.fault:
            self.ended = True
        elif not self.ended:
            self._object("The upstream closed the connection before the end of its answer.")

    def keepalive_seconds(self) -> float | None:
        """How long the upstream keeps the connection for another request.

        0: not at all; ``None``: it does not say.
        """
        whole = self.ended and not self.stray and not self._upgraded
        if not whole or self.version != "1.1" or self.framing is _CLOSE:
            return 0.0
        noted = self.noted
        if b"connection" in noted and "close" in _tokens(noted[b"connection"]):
            return 0.0
        if self._head_only and b"transfer-encoding" in noted:
            return 0.0  # chunks that should not be there cannot be told from the next answer
        if b"keep-alive" not in noted:
            return None
        hint = _TIMEOUT.search(b",".join(noted[b"keep-alive"]))
        # A second less than promised: our request must not cross the upstream's FIN.
        return max(0.0, int(hint[1]) - 1.0) if hint else None

    def on_message_begin(self) -> None:
        """An answer begins: the first, one after an interim one, or one that nobody asked for."""
        if self.headed:
            self.stray = True
        else:
            self.fields = []
            self.noted = {}
            self.reason = b""

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        if not self.headed:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailer section, which is dropped."""
        if not self.headed:
            # Blanks after a value are not part of it (RFC 9110 section 5.5); llhttp leaves them.
            value = value.rstrip(b" \t")
            self.fields.append((name, value))
            if (lower := name.lower()) in _NOTED:
                self.noted.setdefault(lower, []).append(value)

    def on_headers_complete(self) -> None:
        """Settle how the body ends (RFC 9112 section 6.3)."""
        if self.headed:
            self.stray = True
            return
        if self.fault:
            return
        self.status = self._parser.get_status_code()
        if 100 <= self.status < 200 and self.status != 101:
            return
        self.version = self._parser.get_http_version()
        self.fault = self._objection()
        if not self.fault:
            self.headed = True
            self._settle()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self.headed and not self.ended:
            self.pieces.append(data)
            self.size += len(data)
        else:
            self._object("The upstream sent an interim answer with a body.")

    def on_message_complete(self) -> None:
        """The framing says that this was all."""
        if self.headed and self.status != 101:
            self.ended = True

    def _settle(self) -> None:
        lengths = self.noted.get(b"content-length")
        self.length = int(b",".join(lengths)) if lengths else None
        if self.status == 101:
            self.framing = _CLOSE
        elif self._head_only or self.status in (204, 304):
            self.ended = True
        elif b"transfer-encoding" in self.noted:
            self.framing = _CHUNKED
        elif self.length is not None:
            self.framing = _LENGTH
        else:
            self.framing = _CLOSE

    def _objection(self) -> str:
        """Why this head cannot be passed on; empty if it can."""
        if self.version not in ("1.0", "1.1") or self.status < 100:
            return "The upstream's answer is not HTTP/1.1: unknown version or status."
        if self.status == 101 and not self._upgrade:
            return "The upstream switched protocols, which nobody had asked for."
        noted = self.noted
        if self.status == 101 and "upgrade" not in _tokens(noted.get(b"connection", ())):
            return "The upstream switched protocols without saying so (RFC 9110 section 7.8)."
        if b"transfer-encoding" in noted and _tokens(noted[b"transfer-encoding"]) != ["chunked"]:
            # Only chunked is ours to undo, and the client will not see the field.
            return "The upstream's answer has a transfer coding other than chunked."
        if self._fed > self._max_head_bytes and self._head_bytes() > self._max_head_bytes:
            return self._too_large()
        return ""

    def _head_bytes(self) -> int:
        return sum([len(name) + len(value) + 4 for name, value in self.fields])

    def _switch(self, rest: bytes) -> None:
        self._upgraded = True
        if rest:
            self.on_body(rest)

    def _count(self, size: int) -> None:
        """Bound what llhttp keeps: heads, but also trailers and extensions of chunks."""
        self._bodiless_bytes += size
        if self._bodiless_bytes > self._max_head_bytes:
            self._object(self._too_large())

    def _object(self, fault: str) -> None:
        if self.ended:
            self.stray = True
        elif not self.fault:
            self.fault = fault

    def _too_large(self) -> str:
        return f"The upstream's answer has a head of more than {self._max_head_bytes} bytes."


def _tokens(values: Iterable[bytes]) -> list[str]:
    parts = b",".join(values).decode("latin-1").split(",")
    return [token for part in parts if (token := part.strip().lower())]

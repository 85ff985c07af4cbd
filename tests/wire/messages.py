"""HTTP/1.1 messages read strictly: what a lenient peer would let pass is an error here."""

from dataclasses import dataclass, field

from tests.wire.connection import Connection, Ended

Field = tuple[bytes, bytes]


class Malformed(Exception):
    """Bytes that are not HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and its fields, in order, names as they were spelled."""

    raw: bytes
    """With the empty line."""
    start: tuple[bytes, bytes, bytes]
    """The three parts of the start line."""
    headers: list[Field]

    def values(self, name: bytes) -> list[bytes]:
        """The value of every field with this name, in whichever case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start[1])


@dataclass(slots=True)
class Body:
    """A body, as far as it arrived."""

    raw: bytes = b""
    """As framed."""
    chunks: list[bytes] = field(default_factory=list)
    """The content of each chunk; without chunked framing, all of it as one."""
    trailers: list[Field] = field(default_factory=list)
    complete: bool = False
    """The framing proved the end. A body that ends with the connection is never complete."""

    @property
    def content(self) -> bytes:
        """The body, framing undone."""
        return b"".join(self.chunks)


async def read_head(connection: Connection) -> Head:
    """The next head.

    Raises:
        Ended: the connection ended before or within it.
        Malformed: bare LF, folded lines, blanks before a colon, or no start line of three parts.
    """
    raw = await connection.read_until(b"\r\n\r\n")
    start, *lines = raw[:-4].split(b"\r\n")
    parts = start.split(b" ", 2)
    if len(parts) != 3 or b"\n" in raw.replace(b"\r\n", b""):
        raise Malformed(f"{raw[:200]!r}")
    return Head(raw, (parts[0], parts[1], parts[2]), [_field(line) for line in lines])


async def read_body(connection: Connection, head: Head, *, to_end: bool) -> Body:
    """The body that follows ``head``, as its framing says (RFC 9112 section 6.3); what there is of it if cut.

    Args:
        connection: where the head came from.
        head: of an answer with a body, or of a request.
        to_end: without framing the body ends with the connection; else there is none.

    Raises:
        Malformed: two framings at once, or chunks that are none.
    """
    lengths, codings = head.values(b"content-length"), head.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Malformed(f"ambiguous framing: {head.raw!r}")
    if codings:
        if codings[0].lower() != b"chunked":
            raise Malformed(f"{codings[0]!r}")
        return await _read_chunked(connection)
    if lengths:
        return await _read_sized(connection, _number(lengths[0], 10))
    if not to_end:
        return Body(complete=True)
    content = await connection.read_to_end()
    return Body(content, [content])


async def _read_sized(connection: Connection, size: int) -> Body:
    try:
        content = await connection.read_exactly(size)
    except Ended as ended:
        return Body(ended.rest, [connection.take(len(ended.rest))])
    return Body(content, [content], complete=True)


async def _read_chunked(connection: Connection) -> Body:
    """RFC 9112 section 7.1, no more: an extension is malformed, because nobody here sends any."""
    body = Body()
    try:
        while (size := await _read_size(connection, body)) > 0:
            body.raw += await _read_chunk(connection, body, size)
        while (line := await connection.read_until(b"\r\n")) != b"\r\n":
            body.raw += line
            body.trailers.append(_field(line[:-2]))
        body.raw += line
        body.complete = True
    except Ended as ended:
        body.raw += connection.take(len(ended.rest))
    return body


async def _read_chunk(connection: Connection, body: Body, size: int) -> bytes:
    try:
        data = await connection.read_exactly(size + 2)
    except Ended as ended:
        body.chunks.append(ended.rest[:size])
        raise
    if data[size:] != b"\r\n":
        raise Malformed(f"a chunk does not end: {data[-20:]!r}")
    body.chunks.append(data[:size])
    return data


async def _read_size(connection: Connection, body: Body) -> int:
    line = await connection.read_until(b"\r\n")
    body.raw += line
    return _number(line[:-2], 16)


def _number(text: bytes, base: int) -> int:
    digits = b"0123456789abcdefABCDEF" if base == 16 else b"0123456789"
    if not text or text.strip(digits):
        raise Malformed(f"no number: {text!r}")
    return int(text, base)


def _field(line: bytes) -> Field:
    name, colon, value = line.partition(b":")
    if not colon or name.split() != [name] or b"\r" in line:
        raise Malformed(f"no field: {line!r}")
    return name, value.strip(b" \t")

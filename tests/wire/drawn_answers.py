"""Answers of every kind, drawn at random: the same name and method draw the same answer again."""

import gzip
from random import Random
from typing import Literal

from tests.wire.drawn_requests import cut_up
from tests.wire.talking import chunk
from tests.wire.upstreams import Answer

Framing = Literal["length", "chunked", "close"]

STATUSES = (
    "200 OK", "200 OK", "200 OK", "201 Created", "202 ", "204 No Content", "206 Partial Content",
    "299 Very Odd, indeed", "301 Moved", "302 Found", "304 Not Modified", "307 Temporary Redirect",
    "400 Bad", "401 Who?", "404 Not Found", "409 Conflict", "418 I'm a teapot", "422 ", "429 Slow down",
    "500 Oh", "502 Bad Gateway", "503 Busy", "504 Late", "599 Odd",
)  # fmt: skip
FIELDS = (
    ("Server", b"upstream/1"),
    ("Date", b"Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Set-Cookie", b"a=1; Domain=x; Path=/"),
    ("set-cookie", b"b=2; Secure"),
    ("x-ONE", b"1"),
    ("X-One", b""),
    ("x-one", b"a, b"),
    ("X-Utf8", "Grüße".encode()),
    ("X-Long", b"z" * 6000),
    ("X_Under", b"a\tb  c"),
    ("Location", b"/elsewhere?a=%41#f"),
    ("WWW-Authenticate", b"Basic"),
    ("Retry-After", b"7"),
    ("Vary", b"*"),
    ("ETag", b'W/"1"'),
    ("Content-Range", b"bytes 0-1/2"),
    ("Via", b"1.0 cache"),
    ("Server-Timing", b"db;dur=53"),
    ("Access-Control-Allow-Origin", b"*"),
    ("Accept-Ranges", b"none"),
    ("Cache-Control", b"no-store"),
    ("X-Accel-Buffering", b"yes"),
    ("Backstory-Error", b"not_found"),
    ("Set-Cookie", b"backstory=evil"),
    ("Keep-Alive", b"timeout=5"),
    ("Proxy-Authenticate", b"Basic"),
)


def answer_to(name: str, method: str) -> Answer:
    """What the upstream does with the request of this name."""
    random = Random(f"answer {name}")
    status = random.choice(STATUSES)
    fields = random.choices(FIELDS, k=random.choice((0, 1, 4, 12)))
    content, kind = _content(random)
    framing: Framing = random.choice(("length", "length", "chunked", "chunked", "close"))
    version = "1.0" if framing != "chunked" and random.random() < 0.15 else "1.1"
    fields += kind
    if framing == "chunked":
        fields.append(("Transfer-Encoding", b"chunked"))
    elif framing == "length":
        fields.append(("Content-Length", b"%d" % len(content)))
    elif version == "1.1":
        fields.append(("Connection", b"close"))
    if framing != "close" and random.random() < 0.1:
        fields += [("Connection", b"X-Hop"), ("X-Hop", b"1")]
    random.shuffle(fields)
    head = f"HTTP/{version} {status}\r\n".encode()
    head += b"".join(key.encode() + b": " + value + b"\r\n" for key, value in fields) + b"\r\n"
    bodiless = method == "HEAD" or status.startswith(("204", "304"))
    ends = framing == "close" or version == "1.0"
    if bodiless:
        return Answer([head], "fin" if ends else "next")
    body = _framed(random, content, framing)
    # In a cut stream of events we may say so; elsewhere a cut is a cut.
    if framing != "close" and body and b"event-stream" not in head and random.random() < 0.05:
        body, ends = body[:-1], True
    return Answer([head, *body], "fin" if ends else "next")


def _content(random: Random) -> tuple[bytes, list[tuple[str, bytes]]]:
    kind = random.choice(
        ("empty", "binary", "binary", "large", "events", "lines", "gzip", "untyped")
    )
    noise = random.randbytes(random.randint(1, 200_000 if kind == "large" else 3000))
    if kind == "empty":
        return b"", []
    if kind == "events":
        events = [b"data: {%d}\n\n" % number for number in range(random.randint(1, 40))]
        return b"".join(events), [("Content-Type", b"text/event-stream; charset=utf-8")]
    if kind == "lines":
        lines = [b'{"n": %d}\n' % number for number in range(random.randint(1, 40))]
        return b"".join(lines), [("content-type", b"application/x-ndjson")]
    if kind == "gzip":
        return gzip.compress(noise, 1, mtime=0), [("Content-Encoding", b"gzip")]
    if kind == "untyped":
        return noise, []
    return noise, [
        ("Content-Type", b"application/octet-stream"),
        ("Content-Disposition", b"inline"),
    ]


def _framed(random: Random, content: bytes, framing: Framing) -> list[bytes]:
    pieces = cut_up(random, content)
    if framing != "chunked":
        return pieces
    trailer = b"X-Sum: 1\r\n" if random.random() < 0.1 else b""
    end = b"0\r\n" + trailer + b"\r\n"
    return [*cut_up(random, b"".join(map(chunk, pieces))), end]

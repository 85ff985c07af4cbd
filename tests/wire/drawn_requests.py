"""Requests of every kind, drawn at random: the same name draws the same request again.

A draw knows nothing of the server that it is for, but for the token that opens the proxy.
"""

import gzip
import json
import zlib
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tests.wire.talking import AUTHORIZATION, chunk

NAME = b"X-Drawn"
"""The field by which both ends know a draw again."""

OUR_COOKIE = b"; backstory=AAAA"
METHODS = (
    "GET", "GET", "GET", "POST", "POST", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE",
    "PROPFIND", "REPORT", "PURGE", "M-SEARCH", "QUERY", "MKCOL", "LOCK",
)  # fmt: skip
MEMORY_ROUTES = (
    ("/conversation/falcon-40b", b'{"text": "Hi", "top_p": 0.90}'),
    ("/inference/falcon-40b", b'{"text": "Hi"  }'),
    ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": "Hi"}], "n": 1.0}'),
    ("/openai/v1/chat/completions?api-version=%31", b'{"messages": [], "stream": true}'),
)
SEGMENTS = (
    "v1", "models", "a%2Fb", "%2e%2e", "..", ".", ".well-known", "x.y.", "", "", "a;p=1;q", "a+b",
    "%20", "%zz", "%", "%00%0d%0a", "m:embed", "~!$&'()*,=@", "[]|^`{}\"<>\\", "%C3%A9", "-", "x" * 300,
)  # fmt: skip
PAIRS = (
    "a=1", "a=2", "a=%41", "b=", "=", "", "c", "d=a%2Bb+c", "e=%zz", "f==", "g?h", "q=a%20b", "key2=3",
    "i=/../x", "j[]=1", "k=%26%3D", "Key=1", "monkey=2", "%6Bey=4",
)  # fmt: skip
FIELDS = (
    ("Accept", b"*/*"),
    ("accept", b"text/plain;q=0.5,  text/html"),
    ("ACCEPT-encoding", b"gzip, br"),
    ("Accept-Encoding", b""),
    ("X-one", b"1"),
    ("x-ONE", b"2"),
    ("X-One", b""),
    ("X_Under", b"_"),
    ("x!#$%&'*+.^`|~1", b"\tinner \t blanks "),
    ("X-Utf8", "Grüße".encode()),
    ("X-Latin1", b"Gr\xfc\xdfe"),
    ("X-Long", b"y" * 7000),
    ("Via", b"1.0 before, 1.1 other (comment)"),
    ("Forwarded", b"for=x;proto=https"),
    ("X-Forwarded-For", b"10.0.0.1, 10.0.0.2"),
    ("If-Match", b'"1"'),
    ("Idempotency-Key", b"k"),
    ("Range", b"bytes=0-1"),
    ("Origin", b"https://example.com"),
    ("Sec-Fetch-Site", b"cross-site"),
    ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("Cookie", b'a=1; b="2;3" ;c'),
    ("cookie", b"backstory2=z; xbackstory=1"),
    ("Cookie", b"d=4" + OUR_COOKIE),
    ("Cookie", b"e=5" + OUR_COOKIE + b"; f=6"),
    ("x-api-key", b"sk-1"),
    ("X-Goog-Api-Key", b"AIza"),
    ("Backstory-Client", b"delta"),
    ("Backstory_Memory", b"on"),
    ("Keep-Alive", b"timeout=5"),
    ("TE", b"trailers"),
    ("Proxy-Authorization", b"Basic YTpi"),
    ("Proxy-Connection", b"keep-alive"),
)
ONCE = (
    ("User-Agent", b"curl/8.5 (x; y)"),
    ("Referer", b"https://example.com/?a=%41"),
    ("Max-Forwards", b"1"),
    ("From", b"ada@example.com"),
)
"""What must not come twice: aiohttp's parser refuses that."""
HOSTS = ("localhost", "proxy.example:7001", "[::1]:80", "EXAMPLE.com", "a_b")


@dataclass(frozen=True, slots=True)
class DrawnRequest:
    """One request as it is sent."""

    name: str
    """The seed and a number: ``drawn`` makes this request of it again."""
    method: str
    head: bytes
    body: tuple[bytes, ...]
    """As framed; each piece is sent by a write of its own."""
    has_memory: bool
    """It is for a memory route, and says ``Backstory-Memory: off``."""
    expects: bool
    """The client waits to be asked for the body."""
    leaves: bool
    """Its connection takes no more requests: the client says so, or its body is chunked."""

    @property
    def may_be_pipelined(self) -> bool:
        """It is sent at once, and is no more than kernels keep."""
        return not self.expects and sum(map(len, self.body)) < 4096


def drawn(name: str) -> DrawnRequest:
    """The request with this name."""
    random = Random(f"request {name}")
    has_memory = random.random() < 0.15
    method = "POST" if has_memory else random.choice(METHODS)
    route, question = random.choice(MEMORY_ROUTES)
    target = route if has_memory else _target(random, method)
    fields = _fields(random)
    fields += [(AUTHORIZATION[0], AUTHORIZATION[1].encode()), (NAME.decode(), name.encode())]
    if has_memory:
        fields.append(("Backstory-Memory", b"off"))
    leaves = random.random() < 0.05
    fields += _connection(random, leaves=leaves)
    content, more = _content(random, question if has_memory else None)
    framing, body = _framed(random, content)
    fields += more + framing
    expects = bool(body) and random.random() < 0.15
    if expects:
        fields.append(("Expect", random.choice((b"100-continue", b"100-Continue"))))
    random.shuffle(fields)
    fields.insert(random.randint(0, 1), ("Host", random.choice(HOSTS).encode()))
    head = f"{method} {target} HTTP/1.1\r\n".encode()
    for key, value in fields:
        head += key.encode() + b":" + random.choice((b"", b" ", b" \t")) + value + b"\r\n"
    return DrawnRequest(
        name,
        method,
        head + b"\r\n",
        tuple(body),
        has_memory,
        expects,
        leaves=leaves or ("Transfer-Encoding", b"chunked") in framing,
    )


def _fields(random: Random) -> list[tuple[str, bytes]]:
    found = random.choices(FIELDS, k=random.choice((0, 1, 3, 6, 20)))
    found += random.sample(ONCE, k=random.choice((0, 1, len(ONCE))))
    return [(name.swapcase() if random.random() < 0.1 else name, value) for name, value in found]


def _target(random: Random, method: str) -> str:
    if method == "OPTIONS" and random.random() < 0.2:
        return "*"
    path = "/" + "/".join(random.choices(SEGMENTS, k=random.randint(1, 5)))
    if path.startswith("/-/"):  # that is ours
        path = "/x" + path
    pairs = random.choices(PAIRS, k=random.choice((0, 0, 1, 3, 8)))
    if random.random() < 0.1:
        pairs.insert(random.randint(0, len(pairs)), "key=AIza%20")
    return path + ("?" + "&".join(pairs) if pairs else "")


def _connection(random: Random, *, leaves: bool) -> list[tuple[str, bytes]]:
    if leaves:
        return [("Connection", b"close")]
    if random.random() < 0.1:
        named = ("X-Hop", b"1"), ("x-other-HOP", b"2")
        return [("Connection", b"keep-alive, x-hop"), ("connection", b" X-Other-Hop ,"), *named]
    return []


def _content(
    random: Random, question: bytes | None
) -> tuple[bytes | None, list[tuple[str, bytes]]]:
    """A body, if there is one, and what says what it is."""
    if question is not None:
        if random.random() < 0.2:
            return gzip.compress(question, mtime=0), [("Content-Encoding", b"gzip")]
        return question, [("Content-Type", b"application/json")]
    kind = random.choice(("none", "none", "none", "empty", "binary", "json", "gzip", "large"))
    if kind == "none":
        return None, []
    if kind == "empty":
        return b"", []
    if kind == "json":
        body = json.dumps({"a": random.random(), "b": "é" * random.randint(0, 9)}).encode()
        return body, [("content-TYPE", b"application/json; charset=utf-8")]
    noise = random.randbytes(random.randint(1, 200_000 if kind == "large" else 3000))
    if kind == "gzip":
        packed = zlib.compress(noise, 1, 31) if random.random() < 0.8 else noise  # or a lie
        return packed, [("Content-Encoding", b"gzip")]
    return noise, [("Content-Type", b"application/octet-stream"), ("Content-MD5", b"x")]


def _framed(random: Random, content: bytes | None) -> tuple[list[tuple[str, bytes]], list[bytes]]:
    if content is None:
        return [], []
    pieces = cut_up(random, content)
    if random.random() < 0.5:
        return [("Content-Length", b"%d" % len(content))], pieces
    trailer = b"X-Sum: 1\r\n" if random.random() < 0.1 else b""
    end = b"0\r\n" + trailer + b"\r\n"
    return [("Transfer-Encoding", b"chunked")], cut_up(random, b"".join(map(chunk, pieces)) + end)


def cut_up(random: Random, content: bytes) -> list[bytes]:
    """Some pieces that make up ``content``, none of them empty."""
    cuts = sorted(random.sample(range(len(content)), k=min(len(content), random.randint(0, 5))))
    places = [0, *(cut for cut in cuts if cut), len(content)]
    return [content[begin:end] for begin, end in pairwise(places) if begin < end]

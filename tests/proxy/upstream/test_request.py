"""Requests on the wire: the bytes given, in their order, with one framing, or none at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from backstory.errors import UpstreamFailure
from backstory.upstream import Upstream

if TYPE_CHECKING:
    from tests.proxy.upstream.conftest import Dial, Line

NOTHING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def listener(seen: list[bytes], size: int | None = None) -> "Callable[[Line], Awaitable[None]]":
    """A script that keeps a request's bytes, ``size`` of body if no Content-Length says it."""

    async def script(line: "Line") -> None:
        request = await line.request()
        if size is not None:
            request += await line.reader.readexactly(size)
        seen.append(request)
        await line.say(NOTHING)
        await line.until_gone()

    return script


async def ask(upstream: Upstream, *args: object, length: int | None = None) -> None:
    answer = await upstream.send(*args, length=length)  # type: ignore[arg-type]  # rows of a table
    answer.close()


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a%2Fb?x=%41&y=+?",
        "/a?",
        "//x",
        "/a/../b/./c",
        "/%7e~;,:@!$'()*[]{}|^`\"<>\\",
        "/models/m:streamGenerateContent?alt=sse&k=a%2Bb+c%20d",
        "/a#b",
        "*",
        "http://elsewhere/x",
        "/\udcff\udce9?é",
    ],
)
async def test_a_target_is_sent_byte_for_byte(dial: "Dial", target: str) -> None:
    seen: list[bytes] = []
    upstream = await dial(listener(seen))
    await ask(upstream, "GET", target, [], None)
    line = b"GET " + target.encode("utf-8", "surrogateescape") + b" HTTP/1.1"
    assert seen == [line + b"\r\nHost: " + upstream.authority.encode() + b"\r\n\r\n"]


async def test_the_prefix_comes_in_front_of_all_targets_but_the_asterisk(dial: "Dial") -> None:
    seen: list[bytes] = []
    upstream = await dial(listener(seen), path="/v1//%2F/")
    assert upstream.prefix == "/v1//%2F"
    await ask(upstream, "GET", "/a", [], None)
    await ask(upstream, "OPTIONS", "*", [], None)
    lines = [request.split(b"\r\n")[0] for request in seen]
    assert lines == [b"GET /v1//%2F/a HTTP/1.1", b"OPTIONS * HTTP/1.1"]


async def test_fields_are_sent_as_given_with_host_first_and_nothing_added(dial: "Dial") -> None:
    seen: list[bytes] = []
    upstream = await dial(listener(seen))
    fields = [(b"x-B", b"1"), (b"Accept", b""), (b"X-A", b"\xff\xc3\xa9"), (b"x-B", b" 2 ")]
    await ask(upstream, "POST", "/", fields, b"body")
    assert seen == [
        b"POST / HTTP/1.1\r\nHost: " + upstream.authority.encode() + b"\r\n"
        b"x-B: 1\r\nAccept: \r\nX-A: \xff\xc3\xa9\r\nx-B:  2 \r\nContent-Length: 4\r\n\r\nbody"
    ]


@pytest.mark.parametrize(
    ("body", "length", "tail"),
    [
        (None, None, b"\r\n\r\n"),
        (b"", None, b"\r\nContent-Length: 0\r\n\r\n"),
        (b"ab\r\n", None, b"\r\nContent-Length: 4\r\n\r\nab\r\n"),
        (("ab", "", "cde"), 5, b"\r\nContent-Length: 5\r\n\r\nabcde"),
        ((), 0, b"\r\nContent-Length: 0\r\n\r\n"),
        (
            ("ab", "", "c" * 26),
            None,
            b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1a\r\n"
            + b"c" * 26
            + b"\r\n0\r\n\r\n",
        ),
        ((), None, b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
)
async def test_each_kind_of_body_has_its_framing(
    dial: "Dial", body: bytes | tuple[str, ...] | None, length: int | None, tail: bytes
) -> None:
    seen: list[bytes] = []
    chunks = tail.partition(b"chunked\r\n\r\n")[2]
    upstream = await dial(listener(seen, len(chunks) if chunks else None))
    given = stream(*(piece.encode() for piece in body)) if isinstance(body, tuple) else body
    await ask(upstream, "POST", "/", [], given, length=length)
    assert seen == [b"POST / HTTP/1.1\r\nHost: " + upstream.authority.encode() + tail]


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("GET\r\n", "/", []),
        ("G T", "/", []),
        ("", "/", []),
        ("GÉT", "/", []),
        ("GET", "", []),
        ("GET", "/ HTTP/1.1\r\nA: b", []),
        ("GET", "/a b", []),
        ("GET", "/\t", []),
        ("GET", "/\0", []),
        ("GET", "/\n", []),
        ("GET", "/", [(b"A\r\nB", b"")]),
        ("GET", "/", [(b"A:", b"")]),
        ("GET", "/", [(b"A ", b"")]),
        ("GET", "/", [(b"", b"")]),
        ("GET", "/", [(b"A", b"b\r\nC: d")]),
        ("GET", "/", [(b"A", b"b\n")]),
        ("GET", "/", [(b"A", b"b\r")]),
        ("GET", "/", [(b"A", b"b\0")]),
        ("GET", "/", [(b"host", b"b")]),
        ("GET", "/", [(b"Content-length", b"1")]),
        ("GET", "/", [(b"transfer-Encoding", b"chunked")]),
    ],
)
async def test_what_could_split_a_request_is_refused_before_a_connection_is_made(
    dial: "Dial", method: str, target: str, fields: list[tuple[bytes, bytes]]
) -> None:
    upstream = await dial(listener([]), path="/prefix")
    with pytest.raises(ValueError, match=r"."):
        await upstream.send(method, target, fields, None)
    assert not dial.lines


async def test_head_and_body_leave_in_one_write(dial: "Dial") -> None:
    first: list[bytes] = []

    async def script(line: "Line") -> None:
        first.append(await line.reader.read(65536))
        await line.say(NOTHING)

    await ask(await dial(script), "POST", "/", [], b"body")
    assert first[0].endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(("length", "pieces"), [(5, [b"abcd"]), (3, [b"ab", b"cd"]), (0, [b"a"])])
async def test_a_body_of_another_length_than_announced_is_cut(
    dial: "Dial", length: int, pieces: list[bytes]
) -> None:
    got = bytearray()

    async def script(line: "Line") -> None:
        await line.head()
        while data := await line.reader.read(100):
            got.extend(data)

    upstream = await dial(script)
    with pytest.raises(ValueError, match="than announced"):
        await upstream.send("POST", "/", [], stream(*pieces), length=length)
    assert len(got) <= length


@pytest.mark.parametrize("length", [None, 10])
async def test_a_client_that_breaks_off_its_body_does_not_look_whole(
    dial: "Dial", length: int | None
) -> None:
    got = bytearray()

    async def script(line: "Line") -> None:
        await line.head()
        while data := await line.reader.read(100):
            got.extend(data)
        line.gone.set()

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError("the client left")

    upstream = await dial(script)
    with pytest.raises(ConnectionResetError, match="the client left"):
        await upstream.send("POST", "/", [], broken(), length=length)
    await asyncio.wait_for(dial.lines[0].gone.wait(), 2)
    assert not got.endswith(b"0\r\n\r\n")
    assert len(got) < 10


async def test_a_streamed_body_goes_no_faster_than_the_upstream_takes_it(dial: "Dial") -> None:
    given = 0
    read_on = asyncio.Event()

    async def script(line: "Line") -> None:
        await line.head()
        await read_on.wait()
        await line.reader.readexactly(size)
        await line.say(NOTHING)

    async def body() -> AsyncIterator[bytes]:
        nonlocal given
        while given < size:
            given += 65536
            yield bytes(65536)

    size = 64 * 1024 * 1024
    upstream = await dial(script)
    sending = asyncio.gather(ask(upstream, "POST", "/", [], body(), length=size))
    await asyncio.wait([sending], timeout=0.2)
    assert 0 < given < size // 2
    read_on.set()
    await sending
    assert given == size


async def test_an_upstream_that_takes_no_more_of_a_body_is_silent(dial: "Dial") -> None:
    async def script(line: "Line") -> None:
        await line.head()
        line.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await line.gone.wait()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    upstream = await dial(script, silence_seconds=0.05)
    with pytest.raises(UpstreamFailure, match="silence") as caught:
        await upstream.send("POST", "/", [], endless())
    assert caught.value.status == 504
    dial.lines[0].gone.set()

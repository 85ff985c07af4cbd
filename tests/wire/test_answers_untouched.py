"""The upstream's answer reaches the client as it was; what we add is written down, and no more."""

import gzip

import pytest
from tests.wire.answers import Framing, chat_json, chat_stream, falcon_answer, respond
from tests.wire.clients import RawClient, Received, request
from tests.wire.conftest import Proxy, StartProxy
from tests.wire.messages import Field
from tests.wire.talking import (
    APIS,
    AUTHORIZATION,
    CHAT,
    FALCON,
    NAMED,
    Api,
    end_to_end,
    head,
    one,
    say,
    stored,
)
from tests.wire.upstreams import RecordingUpstream

HOST = ("Host", "x")
GET = head("GET /x HTTP/1.1", HOST, AUTHORIZATION)
ADDED = (
    b"backstory-conversation",
    b"backstory-turn",
    b"backstory-memory",
    b"server-timing",
    b"x-accel-buffering",
)
FIELDS = [
    ("x-ONE", "1"),
    ("X-One", ""),
    ("Set-Cookie", "a=1; Domain=x; Path=/"),
    ("x-one", "a, b"),
    ("set-cookie", "b=2"),
    ("Server", "upstream/1"),
    ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("X-Request-Id", "é"),
    ("Retry-After", "7"),
    ("WWW-Authenticate", "Basic"),
    ("Via", "1.0 cache"),
    ("Vary", "*"),
]


@pytest.fixture
async def proxy(recording_upstream: RecordingUpstream, start_proxy: StartProxy) -> Proxy:
    """In front of the recording upstream."""
    return await start_proxy(recording_upstream.url)


async def both(
    proxy: Proxy, upstream: RecordingUpstream, question: bytes = GET
) -> tuple[Received, Received]:
    """The same answer, without us and with us in between."""
    return await say(upstream.url, question), await say(proxy.url, question)


def fields_of(answer: Received, *but: bytes) -> list[Field]:
    """All that must be equal; the date of an answer without one may be ours (RFC 9110 6.6.1)."""
    return end_to_end(answer.head.headers, *but)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("status", ["200 OK", "299 Very Odd, indeed", "404 ", "500 Oh", "418 I'm"])
async def test_head_and_body_of_an_answer_are_relayed(
    status: str, framing: Framing, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    pieces = [b"\0\xff", b"x" * 100_000, b"end"]
    answer = respond(pieces, "text/x; a=b", framing, status=status, headers=FIELDS)
    recording_upstream.script = answer
    direct, relayed = await both(proxy, recording_upstream)
    assert relayed.head.start == direct.head.start
    assert fields_of(relayed) == fields_of(direct)
    assert relayed.content == direct.content == b"".join(pieces)
    assert relayed.complete == direct.complete
    for name in (b"content-length", b"transfer-encoding"):
        assert relayed.head.values(name) == direct.head.values(name)


async def test_nothing_is_added_where_nothing_was(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
    relayed = await say(proxy.url, GET)
    assert fields_of(relayed, b"date") == []
    assert relayed.content == b"ab"


async def test_what_belongs_to_one_hop_ends_here(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    hop = [
        ("Connection", "keep-alive, X-Hop"),
        ("Keep-Alive", "timeout=5"),
        ("X-Hop", "1"),
        ("Proxy-Authenticate", "Basic"),
        ("Trailer", "X-Sum"),
        ("Upgrade", "h2c"),
        ("Set-Cookie", "backstory=evil"),
        ("Set-Cookie", "__Host-backstory=evil"),
        ("Backstory-Memory", "hit"),
        ("Backstory-Error", "not_found"),
        ("Date", "now"),
        ("X-End", "1"),
    ]
    recording_upstream.script = respond([b"x"], "text/plain", "length", headers=hop)
    relayed = await say(proxy.url, GET)
    found = fields_of(relayed, b"content-type")
    assert found == [(b"Date", b"now"), (b"X-End", b"1")]


BODILESS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("GET", "204 No Content", []),
    ("GET", "304 Not Modified", [("ETag", '"1"')]),
    ("GET", "304 Not Modified", [("Content-Length", "1234")]),
    ("HEAD", "200 OK", [("Content-Length", "1234"), ("Content-Type", "a/b")]),
    ("HEAD", "200 OK", [("Transfer-Encoding", "chunked")]),
    ("HEAD", "200 OK", []),
    ("DELETE", "204 No Content", []),
]


@pytest.mark.parametrize(("method", "status", "fields"), BODILESS, ids=str)
async def test_an_answer_without_a_body_has_none_and_the_connection_is_good_for_more(
    method: str,
    status: str,
    fields: list[tuple[str, str]],
    proxy: Proxy,
    recording_upstream: RecordingUpstream,
) -> None:
    recording_upstream.script = head(f"HTTP/1.1 {status}", *fields)
    async with RawClient(proxy.url) as client:
        for _ in range(2):
            await client.send(head(f"{method} /x HTTP/1.1", HOST, AUTHORIZATION))
            found = await client.read_head()
            assert b" ".join(found.start[1:]) == status.encode()
            for name in ("Content-Length", "Content-Type", "ETag"):
                assert one(found, name.encode()) == dict(fields).get(name)
        await client.send(head("GET /-/health/live HTTP/1.1", HOST))
        assert (await client.read_answer()).content == b"ok\n"


async def test_a_redirect_is_the_clients_to_follow(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    to = [("Location", "/elsewhere?a=%41")]
    recording_upstream.script = respond([b"x"], "a/b", "length", status="307 Go", headers=to)
    direct, relayed = await both(proxy, recording_upstream)
    assert (relayed.head.start, one(relayed, b"Location")) == (direct.head.start, to[0][1])
    assert len(recording_upstream.requests) == 2


def packed(answer: bytes) -> bytes:
    """The same answer with its body compressed, as one piece."""
    start, _, body = answer.partition(b"\r\n\r\n")
    kind = start.split(b"Content-Type: ")[1].partition(b"\r\n")[0].decode()
    pieces = [gzip.compress(body)]
    return respond(pieces, kind, "length", headers=[("Content-Encoding", "gzip")])


@pytest.mark.parametrize("coding", ["gzip", "br", "no such thing"])
async def test_a_compressed_answer_is_relayed_as_it_is(
    coding: str, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    fields = [("Content-Encoding", coding)]
    recording_upstream.script = respond([b"\x1f\x8b no gzip"], "a/b", "chunked", headers=fields)
    direct, relayed = await both(proxy, recording_upstream)
    assert relayed.content == direct.content
    assert one(relayed, b"Content-Encoding") == coding


REPLIES: list[tuple[Api, bytes]] = [
    *((FALCON, falcon_answer("two words", framing)) for framing in ("chunked", "length", "close")),
    *((CHAT, chat_json("two words", framing)) for framing in ("chunked", "length", "close")),
    *((CHAT, chat_stream("two words", framing)) for framing in ("chunked", "length", "close")),
    (FALCON, packed(falcon_answer("two words", "length"))),
    (CHAT, packed(chat_json("two words", "length"))),
    (CHAT, packed(chat_stream("two words", "length"))),
]


@pytest.mark.parametrize(("api", "answer"), REPLIES, ids=[f"{n}" for n in range(len(REPLIES))])
async def test_on_a_memory_route_only_what_is_documented_is_added(
    api: Api, answer: bytes, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    more = b"".join(f"{name}: {value}\r\n".encode() for name, value in FIELDS)
    start, _, rest = answer.partition(b"\r\n")
    recording_upstream.script = start + b"\r\n" + more + rest
    question = request("POST", api.target, api.good, AUTHORIZATION, NAMED)
    direct, relayed = await both(proxy, recording_upstream, question)
    assert relayed.head.start == direct.head.start
    assert fields_of(relayed, *ADDED) == fields_of(direct)
    assert relayed.content == direct.content
    assert relayed.complete == direct.complete
    assert one(relayed, b"X-Accel-Buffering") == ("no" if b"event-stream" in answer else None)
    if b"Content-Encoding" in answer or b"Connection: close" not in answer:
        assert await stored(proxy) == ["two words"]


@pytest.mark.parametrize("status", ["400 Bad", "429 Slow down", "500 Oh", "302 Found"])
@pytest.mark.parametrize("api", APIS, ids=str)
async def test_an_error_of_the_upstream_is_relayed_and_not_remembered(
    api: Api, status: str, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond([b'{"error": 1}'], "a/b", "length", status=status)
    question = request("POST", api.target, api.good, AUTHORIZATION, NAMED)
    direct, relayed = await both(proxy, recording_upstream, question)
    assert relayed.head.start == direct.head.start
    assert relayed.content == direct.content
    assert one(relayed, b"Backstory-Error") is None
    assert await stored(proxy) == []


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_an_http_1_0_client_gets_no_chunks(
    framing: Framing, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond([b"one", b"two"], "a/b", framing)
    answer = await say(proxy.url, GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answer.head.values(b"transfer-encoding") == []
    assert answer.content == b"onetwo"


async def test_the_connection_is_good_for_more_after_each_kind_of_answer(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    answers = [
        respond([b"a"], "a/b", "length"),
        respond([b"a", b"b"], "a/b", "chunked"),
        respond([b"a"], "a/b", "length", status="500 Oh"),
        head("HTTP/1.1 200 OK", ("Content-Length", "0")),
        chat_json("two"),
        chat_stream("three"),
        falcon_answer("four"),
    ]
    recording_upstream.script = answers
    async with RawClient(proxy.url) as client:
        for number, _ in enumerate(answers):
            api = FALCON if number == len(answers) - 1 else CHAT
            target = api.target if number > 3 else "/x"
            await client.send(request("POST", target, api.good, AUTHORIZATION, NAMED))
            assert (await client.read_answer()).complete
            await client.send(request("POST", target, api.good))
            assert (await client.read_answer()).status == 401
    assert await stored(proxy) == ["two", "three", "four"]

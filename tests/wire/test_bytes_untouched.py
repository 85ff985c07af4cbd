"""What is no memory route passes through: the upstream reads what the client wrote, byte for byte."""

import hashlib

import pytest
from tests.wire.answers import respond
from tests.wire.clients import RawClient, post_chunked
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.messages import Field
from tests.wire.talking import AUTHORIZATION, head, one, say
from tests.wire.upstreams import RecordingUpstream, Request

HOST = ("Host", "proxy.example")
VIA = (b"Via", b"1.1 backstory")
METHODS = (
    "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PROPFIND", "PROPPATCH", "MKCOL",
    "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT", "PURGE", "M-SEARCH", "NOTIFY",
    "SUBSCRIBE", "UNSUBSCRIBE", "MERGE", "LINK", "UNLINK", "ACL", "BIND",
)  # fmt: skip
TARGETS = [
    "/",
    "/v1/models",
    "/a%2Fb//c/%2e%2e/d?x=%41&y=+&z",
    "/a/../b/./c",
    "//x",
    "///",
    "//evil.example/x",
    "/x?",
    "/x??a?b",
    "/x?&&=&a==b",
    "/?q=a%20b+c%zz%",
    "/%",
    "/%00%0d%0a",
    "/models/m:embed?alt=sse&k=a%2Bb",
    "/;p=1/a;b?c;d",
    "/~!$&'()*,=@[]|^`{}\"<>\\",
    "/" + "x" * 8000,
]


def ours(*fields: Field, host: str) -> list[Field]:
    """What the upstream should see of a request with these fields."""
    return [(b"Host", host.encode()), *fields, VIA]


async def passed(
    proxy: Proxy,
    upstream: RecordingUpstream,
    start: str,
    *fields: tuple[str, str],
    body: bytes = b"",
) -> Request:
    """The request as the upstream saw it."""
    answer = await say(proxy.url, head(start, HOST, AUTHORIZATION, *fields) + body)
    assert answer.status == 200
    for name in (b"backstory-memory", b"backstory-conversation", b"backstory-turn", b"set-cookie"):
        assert one(answer, name) is None
    return upstream.requests[-1]


@pytest.fixture
async def proxy(recording_upstream: RecordingUpstream, start_proxy: StartProxy) -> Proxy:
    """In front of the recording upstream."""
    return await start_proxy(recording_upstream.url)


@pytest.mark.parametrize("method", METHODS)
async def test_any_method_passes(
    method: str, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    seen = await passed(proxy, recording_upstream, f"{method} /x HTTP/1.1")
    assert (seen.method, seen.body) == (method.encode(), b"")
    # No body stays no body: nothing says that there is one.
    assert seen.headers == ours(host=f"127.0.0.1:{recording_upstream.port}")
    fields = ("Content-Length", "3")
    seen = await passed(proxy, recording_upstream, f"{method} /x HTTP/1.1", fields, body=b"a\0b")
    assert (seen.method, seen.body) == (method.encode(), b"a\0b")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target[:30])
async def test_any_target_passes_as_it_was_spelled(
    target: str, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    seen = await passed(proxy, recording_upstream, f"GET {target} HTTP/1.1")
    assert seen.target == target.encode()


async def test_the_conversation_prefix_is_taken_off_any_path(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    for rest in ("/v1/models?a=%41", "/", "//x"):
        seen = await passed(proxy, recording_upstream, f"GET /-/c/na%2Fme{rest} HTTP/1.1")
        assert seen.target == rest.encode()


async def test_fields_keep_their_order_case_and_number(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    fields = [
        ("x-ONE", "1"),
        ("Accept", "*/*"),
        ("X-One", ""),
        ("x-one", "a, b ,c"),
        ("User-Agent", "curl/8"),
        ("X_Under", "_"),
        ("ACCEPT", "text/plain"),
        ("Accept-Encoding", "gzip, br"),
        ("If-Match", '"1"'),
        ("Idempotency-Key", "k"),
        ("X-Utf8", "é"),
        ("Via", "1.0 before"),
        ("Forwarded", "for=x"),
    ]
    seen = await passed(proxy, recording_upstream, "GET /x HTTP/1.1", *fields)
    expected = [(name.encode(), value.encode()) for name, value in fields]
    assert seen.headers == ours(*expected, host=f"127.0.0.1:{recording_upstream.port}")


async def test_what_belongs_to_one_hop_ends_here(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    fields = [
        ("Connection", "keep-alive, X-Hop"),
        ("connection", " x-other-hop ,"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Trailer", "X-Sum"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
        ("Proxy-Authorization", "Basic YTpi"),
        ("X-Hop", "1"),
        ("x-other-HOP", "2"),
        ("X-End", "3"),
        ("Backstory-Memory", "on"),
        ("backstory-anything", "1"),
        ("Backstory_Memory", "off"),
    ]
    seen = await passed(proxy, recording_upstream, "GET /x HTTP/1.1", *fields)
    host = f"127.0.0.1:{recording_upstream.port}"
    assert seen.headers == ours((b"X-End", b"3"), host=host)


async def test_our_cookie_stays_here_and_every_other_is_untouched(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    fields = [
        ("Cookie", 'a=1; backstory=x; b="2;3" ;c'),
        ("cookie", "__Host-backstory=y"),
        ("Cookie", "backstory2=z; xbackstory=1"),
    ]
    seen = await passed(proxy, recording_upstream, "GET /x HTTP/1.1", *fields)
    kept = [b'a=1; b="2;3" ;c', b"backstory2=z; xbackstory=1"]
    assert seen.values(b"cookie") == kept


async def test_an_empty_body_stays_one(proxy: Proxy, recording_upstream: RecordingUpstream) -> None:
    seen = await passed(proxy, recording_upstream, "POST /x HTTP/1.1", ("Content-Length", "0"))
    assert seen.values(b"content-length") == [b"0"]
    assert seen.values(b"transfer-encoding") == []


async def test_a_chunked_body_stays_chunked(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    start, *chunks = post_chunked("/x", b"one", b"\0\xff", b"x" * 70_000)
    start = start[:-2] + head("", AUTHORIZATION)[2:]
    assert (await say(proxy.url, start, *chunks)).status == 200
    seen = recording_upstream.requests[0]
    assert seen.body == b"one\0\xff" + b"x" * 70_000
    assert seen.values(b"transfer-encoding") == [b"chunked"]
    assert seen.values(b"content-length") == []


async def test_a_compressed_body_stays_compressed(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    fields = (("Content-Encoding", "gzip"), ("Content-Length", "7"))
    seen = await passed(proxy, recording_upstream, "POST /x HTTP/1.1", *fields, body=b"no gzip")
    assert seen.body == b"no gzip"
    assert seen.values(b"content-encoding") == [b"gzip"]


async def test_an_http_1_0_client_is_served(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    seen = await passed(proxy, recording_upstream, "GET /x HTTP/1.0")
    assert seen.head.start == (b"GET", b"/x", b"HTTP/1.1")


async def test_no_cookie_of_the_upstream_is_kept_for_the_next_user(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    cookies = [("Set-Cookie", "sid=ada; Path=/"), ("set-cookie", "t=1")]
    recording_upstream.script = respond([b"x"], "text/plain", "length", headers=cookies)
    answer = await say(proxy.url, head("GET /x HTTP/1.1", HOST, AUTHORIZATION))
    assert answer.head.values(b"set-cookie") == [b"sid=ada; Path=/", b"t=1"]
    bob = ("Authorization", f"Bearer {token('bob')}")
    await say(proxy.url, head("GET /x HTTP/1.1", HOST, bob))
    assert recording_upstream.requests[1].values(b"cookie") == []


async def test_the_upstreams_path_is_put_in_front_of_every_target(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(recording_upstream.url + "/base%2F/")
    seen = await passed(proxy, recording_upstream, "GET //a?b HTTP/1.1")
    assert seen.target == b"/base%2F//a?b"


async def test_pipelined_requests_are_answered_in_order(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = lambda seen: respond([seen.target], "text/plain", "chunked")
    many = [head(f"GET /{number} HTTP/1.1", HOST, AUTHORIZATION) for number in range(20)]
    async with RawClient(proxy.url) as client:
        await client.send(b"".join(many))
        answers = [(await client.read_answer()).content for _ in many]
    assert answers == [b"/%d" % number for number in range(20)]


async def test_a_body_of_every_byte_arrives_as_it_was(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    body = bytes(range(256)) * 5000
    length = ("Content-Length", str(len(body)))
    seen = await passed(proxy, recording_upstream, "PUT /x HTTP/1.1", length, body=body)
    assert hashlib.sha256(seen.body).digest() == hashlib.sha256(body).digest()

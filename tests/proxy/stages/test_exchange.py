"""What is refused before anybody reads it, one log line for each exchange, and errors before the head."""

import json
import logging
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from backstory.errors import BackstoryError
from backstory.exchange import of
from backstory.log import JsonLines
from backstory.registry import load_dialects
from backstory.routes import BUILT_IN, RouteTable
from backstory.stages import exchange

if TYPE_CHECKING:
    from tests.proxy.conftest import Server, Start, StartProxy, Upstream

OURS = "Backstory-Error"
SECOND = b"GET /second HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n"

REFUSED = {
    "HTTP/2.0": b"GET /p HTTP/2.0\r\nHost: proxy\r\n\r\n",
    "HTTP/0.9": b"GET /p HTTP/0.9\r\nHost: proxy\r\n\r\n",
    "absolute form": b"GET http://evil.example/p HTTP/1.1\r\nHost: proxy\r\n\r\n",
    "absolute form of our own": b"GET http://proxy/p HTTP/1.1\r\nHost: proxy\r\n\r\n",
    "absolute form, no path": b"GET http://evil.example HTTP/1.1\r\nHost: proxy\r\n\r\n",
    "fragment": b"GET /p#f HTTP/1.1\r\nHost: proxy\r\n\r\n",
    "fragment in the query": b"GET /p?a#f HTTP/1.1\r\nHost: proxy\r\n\r\n",
    "Host with a path": b"GET /p HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with a user": b"GET /p HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "Host with a query": b"GET /p HTTP/1.1\r\nHost: a?b\r\n\r\n",
    "Host with a blank": b"GET /p HTTP/1.1\r\nHost: a b\r\n\r\n",
    "Host with two ports": b"GET /p HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
    "Host with a name as port": b"GET /p HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "Host that is not ASCII": b"GET /p HTTP/1.1\r\nHost: caf\xc3\xa9\r\n\r\n",
    "TE gzip, chunked": (
        b"POST /p HTTP/1.1\r\nHost: proxy\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    ),
    "TE gzip, chunked in HTTP/1.0": (
        b"POST /p HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
        b"0\r\n\r\n"
    ),
    "TE chunked in HTTP/1.0": (
        b"POST /p HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("request_bytes", REFUSED.values(), ids=REFUSED)
async def test_what_others_could_read_differently_is_refused_and_ends_the_connection(
    start_proxy: "StartProxy", upstream: "Upstream", request_bytes: bytes
) -> None:
    proxy = await start_proxy(auth="off")
    answer = await proxy.ask(request_bytes)
    assert (answer.status, answer.headers[OURS]) == (400, "bad_request")
    assert json.loads(answer.body)["status"] == 400
    everything = await proxy.raw(request_bytes + SECOND)
    assert everything.count(b"\r\nDate: ") == 1
    assert upstream.heads == [], "neither the request nor what was smuggled behind it"


@pytest.mark.parametrize(
    "head",
    [
        b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
        b"GET /p HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /p HTTP/1.1\r\n\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET @evil/p HTTP/1.1\r\nHost: a\r\n\r\n",
        b"FOO /p HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /p HTTP/1.1\nHost: a\n\n",
    ],
)
async def test_what_the_parser_refuses_never_reaches_the_upstream(
    start_proxy: "StartProxy", upstream: "Upstream", head: bytes
) -> None:
    proxy = await start_proxy(auth="off")
    everything = await proxy.raw(head + b"0\r\n\r\n" + SECOND)
    assert b" 400 " in everything.split(b"\r\n")[0]
    assert upstream.heads == []


ACCEPTED = {
    "HTTP/1.0 without a Host": (b"GET /p HTTP/1.0\r\n\r\n", b"/p"),
    "empty Host": (b"GET /p HTTP/1.1\r\nHost:\r\n\r\n", b"/p"),
    "Host with a port": (b"GET /p HTTP/1.1\r\nHost: a-b.c_d:80\r\n\r\n", b"/p"),
    "Host with an address": (b"GET /p HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"/p"),
    "two slashes": (b"GET //evil.example/x HTTP/1.1\r\nHost: a\r\n\r\n", b"//evil.example/x"),
    "dots": (b"GET /a/../%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n", b"/a/../%2e%2E/b"),
    "bad escapes": (b"GET /%zz%2?%&=% HTTP/1.1\r\nHost: a\r\n\r\n", b"/%zz%2?%&=%"),
    "an escaped line end": (b"GET /a%0Ab%0d HTTP/1.1\r\nHost: a\r\n\r\n", b"/a%0Ab%0d"),
    "an escaped fragment": (b"GET /a%23b HTTP/1.1\r\nHost: a\r\n\r\n", b"/a%23b"),
    "an empty query": (b"GET /p? HTTP/1.1\r\nHost: a\r\n\r\n", b"/p?"),
    "odd characters": (
        b'GET /a;b|c"<>\\^`{}?[] HTTP/1.1\r\nHost: a\r\n\r\n',
        b'/a;b|c"<>\\^`{}?[]',
    ),
    "a URL in the path": (b"GET /http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", b"/http://b/"),
    "OPTIONS of everything": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"*"),
    "OPTIONS": (b"OPTIONS /p HTTP/1.1\r\nHost: a\r\n\r\n", b"/p"),
    "Via of others": (
        b"GET /p HTTP/1.1\r\nHost: a\r\nVia: ,1.1, backstory, 1.1 backstory2,1.1 Backstory\r\n\r\n",
        b"/p",
    ),
    "chunked": (
        b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        b"/p",
    ),
}


@pytest.mark.parametrize(("request_bytes", "target"), ACCEPTED.values(), ids=ACCEPTED)
async def test_what_is_odd_but_clear_goes_on_byte_for_byte(
    start_proxy: "StartProxy", upstream: "Upstream", request_bytes: bytes, target: bytes
) -> None:
    proxy = await start_proxy(auth="off")
    answer = await proxy.ask(request_bytes)
    assert answer.status == 200
    assert upstream.heads[0].split(b" ")[1] == target


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
        b"TRACE /p HTTP/1.1\r\nHost: a\r\n\r\n",
        b"TRACE /-/health/live HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_a_method_that_no_proxy_of_ours_relays(
    start_proxy: "StartProxy", upstream: "Upstream", request_bytes: bytes
) -> None:
    answer = await (await start_proxy(auth="off")).ask(request_bytes)
    assert (answer.status, answer.headers[OURS]) == (405, "method_not_allowed")
    assert upstream.heads == []


@pytest.mark.parametrize(
    "via",
    [
        ("1.1 backstory",),
        ("1.0 backstory",),
        ("HTTP/1.1 backstory (a comment)",),
        ("1.1 a, 1.1 backstory",),
        ("1.1 a", "1.1 b,1.1   backstory"),
    ],
)
async def test_a_request_that_passed_here_already_is_a_loop(
    start_proxy: "StartProxy", upstream: "Upstream", via: tuple[str, ...]
) -> None:
    proxy = await start_proxy(auth="off")
    answer = await proxy.get("/p", *(("Via", value) for value in via))
    assert (answer.status, answer.headers[OURS]) == (508, "loop_detected")
    assert upstream.heads == []


async def test_a_proxy_that_is_its_own_upstream_ends_with_508(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    inner = await start_proxy(auth="off")
    other = await start_proxy(auth="off", upstream=f"http://127.0.0.1:{inner.port}")
    assert (await other.get("/p")).status == 508
    named = await start_proxy(auth="off", upstream=f"http://127.0.0.1:{inner.port}", via="edge")
    assert (await named.get("/p")).status == 200
    assert b"Via: 1.1 edge\r\nVia: 1.1 backstory\r\n" in upstream.heads[0]


@pytest.mark.parametrize(
    ("target", "conversation", "rest"),
    [
        ("/-/c/abc/v1/x?y", "abc", "/v1/x?y"),
        ("/-/c/abc/", "abc", "/"),
        ("/-/c/abc//x", "abc", "//x"),
        ("/-/c/a%2Fb/x", "a/b", "/x"),
        ("/-/c/a%252Fb/x", "a%2Fb", "/x"),
        ("/-/c/a%3Fb/x", "a?b", "/x"),
        ("/-/c/a+b/x", "a+b", "/x"),
        ("/-/c/" + "a" * 256 + "/x", "a" * 256, "/x"),
        ("/-/c/abc/-/c/def/x", "abc", "/-/c/def/x"),
        ("/-/C/abc/x", None, "/-/C/abc/x"),
        ("//-/c/abc/x", None, "//-/c/abc/x"),
        ("/%2D/c/abc/x", None, "/%2D/c/abc/x"),
        ("/x/-/c/abc/x", None, "/x/-/c/abc/x"),
    ],
)
async def test_the_prefix_names_the_conversation_and_is_stripped(
    start: "Start", target: str, conversation: str | None, rest: str
) -> None:
    got = await (await serve(start)).get(target)
    assert json.loads(got.body) == {"prefix": conversation, "target": rest, "route": None}


@pytest.mark.parametrize(
    "target",
    [
        "/-/c/",
        "/-/c/abc",
        "/-/c/abc?x=/y",
        "/-/c/a?b/c",
        "/-/c//x",
        "/-/c/a%20b/x",
        "/-/c/a%00/x",
        "/-/c/%C3%A9/x",
        "/-/c/%/../x%20/y%7F",
        "/-/c/" + "a" * 257 + "/x",
    ],
)
async def test_a_prefix_that_names_nothing_is_refused(start: "Start", target: str) -> None:
    got = await (await serve(start)).get(target)
    if target == "/-/c/%/../x%20/y%7F":  # % is visible ASCII, and only the segment is looked at
        assert json.loads(got.body)["prefix"] == "%"
    else:
        assert (got.status, got.headers[OURS]) == (400, "invalid_conversation")


async def test_the_route_is_that_of_the_stripped_path(start: "Start") -> None:
    got = await (await serve(start)).post("/-/c/abc/conversation/m?x")
    assert json.loads(got.body) == {
        "prefix": "abc",
        "target": "/conversation/m?x",
        "route": "falcon",
    }


async def test_an_error_before_the_head_speaks_the_dialect(start: "Start") -> None:
    proxy = await serve(start)
    plain = await proxy.get("/p?raise")
    assert (plain.status, plain.headers["Content-Type"]) == (418, "application/problem+json")
    assert json.loads(plain.body) == {"title": "tea", "status": 418, "detail": "I am a pot"}
    falcon = await proxy.post("/conversation/m?raise")
    assert (falcon.status, falcon.headers[OURS]) == (418, "tea")
    assert falcon.headers["Content-Type"].startswith("text/plain")
    chat = await proxy.post("/v1/chat/completions?raise")
    assert json.loads(chat.body)["error"]["code"] == "tea"
    assert chat.headers["Retry-After"] == "7"


async def test_a_bug_of_ours_is_a_500_that_tells_nothing(
    start: "Start", caplog: pytest.LogCaptureFixture
) -> None:
    got = await (await serve(start)).get("/p?bug")
    assert (got.status, got.headers[OURS]) == (500, "internal_error")
    assert b"canary" not in got.body
    lines = [JsonLines().format(record) for record in caplog.records]
    assert any('"exception": "LookupError"' in line for line in lines)
    assert not any("canary" in line for line in lines)


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The lines that the exchanges wrote."""
    ours = [record for record in caplog.records if record.name == "backstory.exchange"]
    return [json.loads(JsonLines().format(record)) for record in ours]


async def test_one_line_says_what_became_of_an_exchange(
    start_proxy: "StartProxy", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    proxy = await start_proxy(auth="off")
    await proxy.post("/conversation/m")
    await proxy.get("/elsewhere")
    await proxy.ask(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")
    remembered, passed, refused = lines_of(caplog)
    assert (
        remembered.items()
        >= {
            "level": "info",
            "method": "POST",
            "dialect": "falcon",
            "status": 200,
            "memory": "new",
            "turns": 0,
            "outcome": "committed",
        }.items()
    )
    assert {"exchange", "first_byte_ms", "total_ms"} < remembered.keys()
    assert passed.items() >= {"method": "GET", "status": 200, "outcome": "passed"}.items()
    assert {"dialect", "memory", "error"}.isdisjoint(passed)
    assert refused.items() >= {"status": 405, "error": "method_not_allowed"}.items()
    assert "first_byte_ms" not in refused
    assert len({line["exchange"] for line in (remembered, passed, refused)}) == 3


async def test_nothing_that_anybody_said_is_in_the_log(
    start_proxy: "StartProxy", upstream: "Upstream", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.body = b"canary\nHuman:"
    open_proxy, closed = await start_proxy(auth="off"), await start_proxy()
    head = (
        b"%s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\r\nCookie: backstory=canary\r\n"
        b"User-Agent: canary\r\nX-Api-Key: canary\r\nBackstory-Conversation: canary\r\n"
    )
    body = b'Content-Length: 18\r\n\r\n{"text": "canary"}'
    for proxy in (open_proxy, closed):
        await proxy.ask(head % b"POST /conversation/canary?key=canary" + body)
        await proxy.ask(head % b"POST /canary?canary" + body)
        await proxy.ask(head % b"GET /-/v1/conversations/canary?limit=canary" + b"\r\n")
        await proxy.ask(head % b"GET /p#canary" + b"\r\n")
        await proxy.ask(head % b"GET /-/c/canary" + b"\r\n")
        await proxy.raw(head % b"GET /canary" + b"Content-Length: canary\r\n\r\n")
        await proxy.raw(head % b"GET /canary" + b"canary\r\n\r\n")
    assert len(lines_of(caplog)) >= 10
    for record in caplog.records:
        assert "canary" not in JsonLines().format(record), record.name
        assert "canary" not in record.getMessage(), record.name


async def serve(start: "Start") -> "Server":
    """The stage alone, in front of a handler that tells what it saw."""
    table = RouteTable(BUILT_IN, load_dialects(row.dialect for row in BUILT_IN))

    async def tell(request: web.Request) -> web.Response:
        seen = of(request)
        if seen.target.endswith("?raise"):
            raise BackstoryError(418, "tea", "I am a pot", headers=(("Retry-After", "7"),))
        if seen.target.endswith("?bug"):
            raise LookupError("canary")
        return web.json_response(
            {
                "prefix": seen.prefix_conversation,
                "target": seen.target,
                "route": seen.route.dialect.name if seen.route else None,
            }
        )

    app = web.Application(middlewares=[exchange(table, via="backstory")])
    app.router.add_route("*", "/{path:.*}", tell)
    return await start(app)

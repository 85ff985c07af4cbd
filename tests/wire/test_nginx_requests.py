"""nginx in front: requests arrive as they were sent, and nothing but nginx is believed about them.

What ``docs/deploy/nginx.md`` promises and warns of: with its configuration, and with nginx's defaults.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.wire.answers import falcon_answer, respond
from tests.wire.clients import RawClient, post_chunked, request
from tests.wire.conftest import StartProxy
from tests.wire.nginx import NginxConfig, Start, both, starting
from tests.wire.talking import AUTHORIZATION, FALCON, head, one, say
from tests.wire.upstreams import Answer, RecordingUpstream

PROXIED = {"trusted_proxies": ("127.0.0.1",)}
TARGETS = [
    "/a%2Fb//c/%2e%2e/d?x=%41&y=+&z",
    "/a/../b/./c",
    "//evil.example/x",
    "/x??a?b",
    "/?q=a%20b+c%zz%",
    "/models/m:embed?alt=sse&k=a%2Bb",
    "/~!$&'()*,=@[]|^`{}\"<>\\",
    "/" + "x" * 7000,
]


@pytest.fixture
async def start(
    tmp_path: Path, recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> AsyncIterator[Start]:
    """Starts a place; its nginx is stopped when the test ends."""
    async with starting(tmp_path, recording_upstream, start_proxy) as start:
        yield start


@both
async def test_the_cookie_of_https_needs_to_be_told_of_https(
    config: NginxConfig, start: Start
) -> None:
    place = await start(config, **PROXIED)
    async with aiohttp.ClientSession(headers=[AUTHORIZATION]) as session:
        url = place.nginx.tls_url + FALCON.target
        async with session.post(url, data=FALCON.good, ssl=place.nginx.tls()) as answer:
            assert (await answer.read()).startswith(b"ok")
            secure = answer.headers["Set-Cookie"].startswith("__Host-backstory=")
    assert secure == (config == "documented")


@both
async def test_only_nginx_says_what_is_https(config: NginxConfig, start: Start) -> None:
    place = await start(config, **PROXIED)
    forged = ("X-Forwarded-Proto", "https")
    answer = await say(
        place.nginx.url, request("POST", FALCON.target, FALCON.good, AUTHORIZATION, forged)
    )
    believed = (one(answer, b"Set-Cookie") or "").startswith("__Host-backstory=")
    assert believed == (config == "defaults")


@both
async def test_any_target_passes_as_it_was_spelled(config: NginxConfig, start: Start) -> None:
    place = await start(config)
    for target in TARGETS:
        answer = await say(
            place.nginx.url, head(f"GET {target} HTTP/1.1", ("Host", "x"), AUTHORIZATION)
        )
        assert answer.status == 200
        assert place.upstream.requests[-1].target == target.encode()
    for target in ("/%", "/%00"):
        answer = await say(
            place.nginx.url, head(f"GET {target} HTTP/1.1", ("Host", "x"), AUTHORIZATION)
        )
        assert (answer.status, one(answer, b"Backstory-Error")) == (400, None)  # nginx's own


@both
async def test_a_field_with_an_underscore_passes(config: NginxConfig, start: Start) -> None:
    place = await start(config)
    fields = [("Host", "x"), AUTHORIZATION, ("X_Tenant", "acme")]
    await say(place.nginx.url, head("GET /x HTTP/1.1", *fields))
    expected = [b"acme"] if config == "documented" else []
    assert place.upstream.requests[0].values(b"x_tenant") == expected


@both
async def test_long_fields_pass(config: NginxConfig, start: Start) -> None:
    place = await start(config)
    long = ("X-Long", "x" * 12000)
    expected = (200, 200) if config == "documented" else (400, 502)
    there = await say(place.nginx.url, head("GET /x HTTP/1.1", ("Host", "x"), AUTHORIZATION, long))
    place.upstream.script = respond([b"ok"], "text/plain", "length", headers=[long])
    back = await say(place.nginx.url, head("GET /x HTTP/1.1", ("Host", "x"), AUTHORIZATION))
    assert (there.status, back.status) == expected


@both
async def test_the_upstream_does_not_steer_nginx(config: NginxConfig, start: Start) -> None:
    place = await start(config)
    steering = ("X-Accel-Redirect", "/elsewhere")
    place.upstream.script = [
        respond([b"mine"], "text/plain", "length", headers=[steering]),
        falcon_answer("elsewhere"),
    ]
    answer = await say(place.nginx.url, head("GET /x HTTP/1.1", ("Host", "x"), AUTHORIZATION))
    assert answer.content.startswith(b"mine" if config == "documented" else b"elsewhere")
    assert len(place.upstream.requests) == (1 if config == "documented" else 2)


@both
async def test_an_answer_is_not_rewritten(config: NginxConfig, start: Start) -> None:
    place = await start(config)
    fields = [
        ("Server", "uvicorn"),
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Location", ("http://backstory" if config == "documented" else place.proxy.url) + "/x"),
    ]
    place.upstream.script = respond([b"x" * 99], "text/plain", "length", headers=fields)
    gzip = ("Accept-Encoding", "gzip")
    answer = await say(place.nginx.url, head("GET /x HTTP/1.1", ("Host", "x"), AUTHORIZATION, gzip))
    same = [one(answer, name.encode()) == value for name, value in fields]
    same.append(answer.content == b"x" * 99)
    assert same == [config == "documented"] * 4


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upload_passes_while_it_arrives(framing: str, start: Start) -> None:
    size = (10 if framing == "length" else 2) << 20
    pieces = [os.urandom(size) for _ in range(4)]
    if framing == "chunked":
        sent = post_chunked("/x", *pieces)
    else:
        sent = [head("POST /x HTTP/1.1", ("Host", "x"), ("Content-Length", str(4 * size))), *pieces]
    name, value = AUTHORIZATION
    sent[0] = sent[0].removesuffix(b"\r\n") + f"{name}: {value}\r\n\r\n".encode()
    place = await start()
    async with RawClient(place.nginx.url) as client:
        await client.send(*sent[:2])
        await place.upstream.wait_for_connection()  # the rest is not even there
        await client.send(*sent[2:])
        assert (await client.read_answer()).status == 200
    assert place.upstream.requests[0].body == b"".join(pieces)


async def test_by_default_an_upload_is_collected_first(start: Start) -> None:
    place = await start("defaults")
    async with RawClient(place.nginx.url) as client:
        length = ("Content-Length", "2000")
        await client.send(
            head("POST /x HTTP/1.1", ("Host", "x"), AUTHORIZATION, length), b"x" * 1000
        )
        with pytest.raises(TimeoutError):  # that nothing comes has no event
            async with asyncio.timeout(0.3):
                await place.upstream.wait_for_connection()
        await client.send(b"x" * 1000)
        assert (await client.read_answer()).status == 200


@both
async def test_a_long_question_passes(config: NginxConfig, start: Start) -> None:
    place = await start(config)
    question = request("POST", FALCON.target, {"text": "x" * (2 << 20)}, AUTHORIZATION)
    async with RawClient(place.nginx.url) as client:
        await client.send(question)
        status = (await client.read_head()).status
    assert status == (200 if config == "documented" else 413)


@both
async def test_a_websocket_passes(config: NginxConfig, start: Start) -> None:
    switch = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
    answer = head("HTTP/1.1 101 Switching Protocols", *switch)
    place = await start(config)
    place.upstream.script = lambda request: (
        Answer([answer + b"first"], "hold") if request.values(b"upgrade") else falcon_answer("ok")
    )
    async with RawClient(place.nginx.url) as client:
        await client.send(head("GET /realtime HTTP/1.1", ("Host", "x"), AUTHORIZATION, *switch))
        found = await client.read_head()
        assert found.status == (101 if config == "documented" else 200)
        if found.status == 101:
            assert await client.connection.read_exactly(5) == b"first"
            await client.send(b"\x81\x02hi")
            upstream = await place.upstream.wait_for_connection()
            assert await upstream.read_exactly(4) == b"\x81\x02hi"


async def test_nothing_but_a_websocket_is_upgraded(start: Start) -> None:
    place = await start()
    h2c = [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "")]
    answer = await say(place.nginx.url, head("GET /x HTTP/1.1", ("Host", "x"), AUTHORIZATION, *h2c))
    assert answer.status == 200
    assert place.upstream.requests[0].values(b"upgrade") == []

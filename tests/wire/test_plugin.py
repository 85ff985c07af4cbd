"""The proxy as a part of another aiohttp application, with middlewares and routes of its own."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from tests.wire.answers import chat_json
from tests.wire.clients import RawClient, Received, request
from tests.wire.conftest import SECRET, token
from tests.wire.upstreams import RecordingUpstream

import backstory
from backstory.settings import Secret

AUTHORIZATION = ("Authorization", f"Bearer {token()}")
NAMED = ("Backstory-Conversation", "c")
SEEN = web.RequestKey("seen", bool)
CHAT = "/llm/v1/chat/completions"


@web.middleware
async def host_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[SEEN] = True
    return await handler(request)


async def own(request: web.Request) -> web.Response:
    return web.Response(text="the host's own")


@pytest.fixture(params=["the host's defaults", "RUN_APP"])
async def host(
    request: pytest.FixtureRequest, recording_upstream: RecordingUpstream
) -> AsyncIterator[str]:
    """The address of a host application with the proxy below ``/llm``."""
    recording_upstream.script = chat_json("one")
    config = backstory.Config(
        upstream=recording_upstream.url, store="memory://", jwt_secret=Secret(SECRET)
    )
    app = web.Application(middlewares=[host_middleware])
    app.router.add_get("/own", own)
    await asyncio.to_thread(backstory.setup, app, config, prefix="/llm")
    options: dict[str, Any] = backstory.RUN_APP if request.param == "RUN_APP" else {}
    runner = web.AppRunner(app, **options | {"shutdown_timeout": 1.0})
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def say(url: str, *sent: bytes) -> Received:
    async with RawClient(url) as client:
        await client.send(*sent)
        return await client.read_answer()


def ask(text: str, *fields: tuple[str, str], target: str = CHAT) -> bytes:
    question = {"messages": [{"role": "user", "content": text}]}
    return request("POST", target, question, AUTHORIZATION, *fields)


def told(upstream: RecordingUpstream) -> list[str]:
    """The texts of the last request's messages."""
    return [message["content"] for message in json.loads(upstream.requests[-1].body)["messages"]]


async def test_it_remembers_below_its_prefix(
    host: str, recording_upstream: RecordingUpstream
) -> None:
    await say(host, ask("a", NAMED))
    answer = await say(host, ask("b", target="/llm/-/c/c/v1/chat/completions"))
    assert told(recording_upstream) == ["a", "one", "b"]
    assert {seen.target for seen in recording_upstream.requests} == {b"/v1/chat/completions"}
    assert answer.head.values(b"backstory-memory")[0].startswith(b"hit;turns=1;")
    turns = "/llm/-/v1/conversations/c/turns"
    listed = await say(host, request("GET", turns, b"", AUTHORIZATION))
    assert len(json.loads(listed.content)["turns"]) == 2


async def test_the_host_keeps_its_own_routes_and_its_own_heads(host: str) -> None:
    answer = await say(host, request("GET", "/own", b""))
    assert answer.content == b"the host's own"
    assert answer.head.values(b"server"), "what aiohttp adds is the host's business"
    assert (await say(host, request("GET", "/other", b""))).status == 404
    assert (await say(host, request("GET", "/llmore", b""))).status == 404
    assert (await say(host, request("GET", "/llm/-/health/ready", b""))).status == 200


@pytest.mark.parametrize(
    ("asked", "forwarded"),
    [
        ("/llm/a%2Fb//c?x=%41&y=+", b"/a%2Fb//c?x=%41&y=+"),
        ("/llm/llm/x", b"/llm/x"),
        ("/llm", b"/"),
        ("/llm/", b"/"),
        ("/llm?q", b"/?q"),
    ],
)
async def test_only_the_prefix_is_stripped(
    host: str, recording_upstream: RecordingUpstream, asked: str, forwarded: bytes
) -> None:
    assert (await say(host, request("GET", asked, b"", AUTHORIZATION))).status == 200
    assert recording_upstream.requests[0].target == forwarded


@pytest.mark.parametrize("target", [CHAT, "/llm/v1/embeddings"])
async def test_a_body_that_the_host_has_decompressed_is_not_labelled_compressed(
    host: str, recording_upstream: RecordingUpstream, target: str
) -> None:
    plain = b'{"messages": [{"role": "user", "content": "a"}]}'
    fields = (AUTHORIZATION, NAMED, ("Content-Encoding", "gzip"))
    answer = await say(host, request("POST", target, gzip.compress(plain), *fields))
    assert answer.status == 200
    seen = recording_upstream.requests[0]
    body = gzip.decompress(seen.body) if seen.values(b"content-encoding") else seen.body
    assert body == plain
    if target == CHAT:
        await say(host, ask("b", NAMED))
        assert told(recording_upstream) == ["a", "one", "b"]


@pytest.mark.parametrize("prefix", ["", "/", "llm", "/llm/", "/a b", "/{x}", "/a%2F"])
def test_a_prefix_that_cannot_work_is_refused(prefix: str) -> None:
    config = backstory.Config(upstream="http://127.0.0.1:9", auth="off", store="memory://")
    with pytest.raises(ValueError, match="must be like /llm"):
        backstory.setup(web.Application(), config, prefix=prefix)

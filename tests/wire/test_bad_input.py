"""Whatever comes in: the promised answer, nothing stored, nothing lost, no traceback."""

import asyncio
import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.wire.clients import RawClient, post_chunked, request
from tests.wire.conftest import StartProxy
from tests.wire.talking import (
    APIS,
    AUTHORIZATION,
    CHAT,
    FALCON,
    NAMED,
    Api,
    Scene,
    ask,
    head,
    nothing_broke,
    one,
    refused,
    stored,
)
from tests.wire.upstreams import RecordingUpstream

DEEP = 100_000
MAX_BODY_BYTES = 32 * 1024 * 1024
TOO_MUCH = 33_000_000 + MAX_BODY_BYTES // 10


@pytest.fixture(autouse=True)
def _no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    nothing_broke(caplog)


@pytest.fixture(params=APIS, ids=str)
def api(request: pytest.FixtureRequest) -> Api:
    """Each memory route."""
    found = request.param
    assert isinstance(found, Api)
    return found


@pytest.fixture
async def scene(api: Api, recording_upstream: RecordingUpstream, start_proxy: StartProxy) -> Scene:
    """A conversation has begun."""
    found = Scene(api, recording_upstream, await start_proxy(recording_upstream.url))
    await found.begin()
    return found


ANYWHERE = {
    "nothing": b"",
    "no JSON": b"Hello",
    "an array": b"[]",
    "null": b"null",
    "a number": b"0",
    "a string": b'"x"',
    "an empty object": b"{}",
    "half an object": b'{"text": "Hi"',
    "NUL": b"\0",
    "not UTF-8": b'{"text": "\xff", "messages": "\xff"}',
    "UTF-16": '{"text": "Hi"}'.encode("utf-16"),
    "deep arrays": b"[" * DEEP + b"]" * DEEP,
    "deep arrays without an end": b"[" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"0" + b"}" * DEEP,
    "deep in another field": b'{"text": "Hi", "messages": [], "x": ' + b"[" * DEEP + b"]" * DEEP,
}
OF_FALCON = {
    "text a number": b'{"text": 1}',
    "text null": b'{"text": null}',
    "text an array": b'{"text": ["Hi"]}',
    "text deep": b'{"text": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "text twice": b'{"text": "Hi", "text": "Ho"}',
    "text twice, once escaped": b'{"text": "Hi", "\\u0074ext": "Ho"}',
}
OF_CHAT = {
    "messages a string": b'{"messages": "Hi"}',
    "messages null": b'{"messages": null}',
    "messages an object": b'{"messages": {}}',
    "messages of numbers": b'{"messages": [1]}',
    "a message without a role": b'{"messages": [{"content": "Hi"}]}',
    "an unknown role": b'{"messages": [{"role": "king", "content": "Hi"}]}',
    "a role that is a list": b'{"messages": [{"role": ["user"], "content": "Hi"}]}',
    "messages deep": b'{"messages": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "messages twice": b'{"messages": [{"role": "user", "content": "Hi"}], "messages": []}',
    "content deep": b'{"messages": [{"role": "user", "content": '
    + b'{"a":' * DEEP
    + b"0"
    + b"}" * DEEP
    + b"}]}",
    "a comma too many": b'{"messages": [{"role": "user", "content": "Hi"},]}',
}


def bad_bodies() -> Iterator[Any]:
    """Each with the route where it is bad."""
    for api, own in ((FALCON, OF_FALCON), (CHAT, OF_CHAT)):
        around = {
            "a byte order mark": b"\xef\xbb\xbf" + api.good,
            "trailing data": api.good + b"x",
            "twice": api.good + api.good,
        }
        for name, body in (ANYWHERE | around | own).items():
            yield pytest.param(api, body, id=f"{api}-{name}")


@pytest.mark.parametrize(("api", "body"), list(bad_bodies()))
async def test_what_is_not_understood_goes_through_as_it_is(scene: Scene, body: bytes) -> None:
    scene.upstream.script = scene.api.answer("never kept")  # even a success is not remembered
    answer = await scene.ask(body)
    assert (answer.status, answer.complete) == (200, True)
    assert one(answer, b"Backstory-Memory") == "skipped;reason=not_understood"
    assert one(answer, b"Set-Cookie") is None
    assert scene.upstream.requests[1].body == body
    await scene.is_intact(asked=2)


@pytest.mark.parametrize("rest", [b"", b'{"role": "system", "content": "Be brief."}'])
@pytest.mark.parametrize("api", [CHAT], ids=str)
async def test_a_list_that_asks_nothing_goes_through_as_it_is(scene: Scene, rest: bytes) -> None:
    body = b'{"messages": [' + rest + b"]}"
    scene.upstream.script = scene.api.answer("never kept")
    answer = await scene.ask(body)
    assert one(answer, b"Backstory-Memory") == "skipped;reason=nothing_new"
    assert scene.upstream.requests[1].body == body
    await scene.is_intact(asked=2)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "x-unheard-of", "damaged", "cut"])
async def test_a_content_coding_that_we_cannot_undo_goes_through_as_it_is(
    scene: Scene, coding: str
) -> None:
    body = gzip.compress(scene.api.good)
    if coding == "damaged":
        body = body[:-8] + bytes(8)
    elif coding == "cut":
        body = body[:-1]
    said = coding if coding not in ("damaged", "cut") else "gzip"
    scene.upstream.script = scene.api.answer("never kept")
    answer = await scene.ask(body, ("Content-Encoding", said))
    assert one(answer, b"Backstory-Memory") == "skipped;reason=content_encoding"
    assert scene.upstream.requests[1].body == body
    assert scene.upstream.requests[1].values(b"content-encoding") == [said.encode()]
    await scene.is_intact(asked=2)


async def test_a_compressed_body_that_is_not_understood_stays_compressed(scene: Scene) -> None:
    body = gzip.compress(b"Hello")
    scene.upstream.script = scene.api.answer("never kept")
    answer = await scene.ask(body, ("Content-Encoding", "gzip"))
    assert one(answer, b"Backstory-Memory") == "skipped;reason=not_understood"
    assert scene.upstream.requests[1].body == body
    assert scene.upstream.requests[1].values(b"content-encoding") == [b"gzip"]
    await scene.is_intact(asked=2)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_question_is_understood(scene: Scene, coding: str) -> None:
    squeeze = gzip.compress if coding == "gzip" else zlib.compress
    scene.upstream.script = scene.api.answer("two")
    answer = await scene.ask(squeeze(scene.api.good), ("Content-Encoding", coding))
    assert answer.status == 200
    assert b"one" in scene.upstream.requests[1].body
    assert scene.upstream.requests[1].values(b"content-encoding") == []
    assert await stored(scene.proxy) == ["one", "two"]


async def test_a_body_too_large_by_its_length_is_refused_unread(scene: Scene) -> None:
    async with RawClient(scene.proxy.url) as client:
        whole = request("POST", scene.api.target, b"", AUTHORIZATION, NAMED)
        await client.send(whole.replace(b"Content-Length: 0", b"Content-Length: %d" % TOO_MUCH))
        refused(scene.api, await client.read_answer(), 413, "body_too_large")
    await scene.is_intact(asked=1)


async def test_a_body_too_large_in_chunks_is_refused(scene: Scene) -> None:
    piece = b" " * 1_000_000
    start, *chunks = post_chunked(scene.api.target, *[piece] * (TOO_MUCH // len(piece)))
    said = head("", AUTHORIZATION, NAMED).removeprefix(b"\r\n").removesuffix(b"\r\n")
    async with RawClient(scene.proxy.url) as client:
        await client.send(start[:-2] + said + b"\r\n", *chunks[:-1])  # its end never comes
        refused(scene.api, await client.read_answer(), 413, "body_too_large")
    await scene.is_intact(asked=1)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_refused(scene: Scene, coding: str) -> None:
    pack = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    bomb = b"".join(pack.compress(bytes(1 << 20)) for _ in range(80)) + pack.flush()
    answer = await scene.ask(bomb, ("Content-Encoding", coding))
    refused(scene.api, answer, 413, "body_too_large")
    await scene.is_intact(asked=1)


async def test_the_largest_body_that_is_allowed_is_relayed(scene: Scene) -> None:
    body = b'{"x": "' + b"x" * (MAX_BODY_BYTES - 9) + b'"}'
    assert len(body) == MAX_BODY_BYTES
    answer = await scene.ask(body)
    assert one(answer, b"Backstory-Memory") == "skipped;reason=not_understood"
    assert scene.upstream.requests[1].body == body


async def test_an_unknown_route_is_none_of_our_business(scene: Scene) -> None:
    answer = await ask(scene.proxy, "/v1/embeddings", b"\xff{", NAMED)
    assert answer.status == 200
    ours = (b"backstory-memory", b"backstory-turn", b"backstory-conversation", b"set-cookie")
    assert not [name for name, _ in answer.head.headers if name.lower() in ours]
    assert scene.upstream.requests[1].body == b"\xff{"
    await scene.is_intact(asked=2)


OF_OURS = [
    (("Backstory-Memory", "maybe"), 400, "bad_request"),
    (("Backstory-Memory", ""), 400, "bad_request"),
    (("Backstory-Client", "guess"), 400, "bad_request"),
    (("Backstory-On-Error", "ignore"), 400, "bad_request"),
    (("If-Match", '"99"'), 412, "version_mismatch"),
    (("If-Match", "1"), 412, "version_mismatch"),
]


@pytest.mark.parametrize(("field", "status", "code"), OF_OURS, ids=str)
async def test_an_invalid_header_of_ours_is_refused(
    scene: Scene, field: tuple[str, str], status: int, code: str
) -> None:
    refused(scene.api, await scene.ask(scene.api.good, field), status, code)
    await scene.is_intact(asked=1)


@pytest.mark.parametrize("name", ["", "a b", "x" * 257, "é", "a\tb"])
async def test_an_invalid_name_of_a_conversation_is_refused(scene: Scene, name: str) -> None:
    answer = await ask(
        scene.proxy, scene.api.target, scene.api.good, ("Backstory-Conversation", name)
    )
    refused(scene.api, answer, 400, "invalid_conversation")
    await scene.is_intact(asked=1)


@pytest.mark.parametrize("prefix", ["/-/c/", "/-/c/a%20b", "/-/c/%ff", "/-/c/" + "x" * 257])
async def test_an_invalid_prefix_is_refused(scene: Scene, prefix: str) -> None:
    answer = await ask(scene.proxy, prefix + scene.api.target, scene.api.good)
    refused(None, answer, 400, "invalid_conversation")
    await scene.is_intact(asked=1)


async def test_nobody_waits_while_a_bomb_goes_off(scene: Scene) -> None:
    pack = zlib.compressobj(wbits=31)
    bomb = b"".join(pack.compress(bytes(1 << 20)) for _ in range(80)) + pack.flush()
    order: list[str] = []
    async with RawClient(scene.proxy.url) as bomber, RawClient(scene.proxy.url) as other:
        coded = ("Content-Encoding", "gzip")
        await bomber.post(scene.api.target, bomb, AUTHORIZATION, NAMED, coded)

        async def note(client: RawClient, name: str) -> None:
            await client.read_answer()
            order.append(name)

        await other.send(head("GET /-/health/live HTTP/1.1", ("Host", "x")))
        await asyncio.gather(note(bomber, "bomb"), note(other, "health"))
    assert order == ["health", "bomb"]

"""Clients of HTTP/1.0: no chunks, one request a connection unless both say otherwise, and a cut is seen."""

import asyncio
from typing import Literal

import pytest
from tests.wire.answers import Framing, chat_json, chat_stream
from tests.wire.clients import RawClient, Received
from tests.wire.conftest import Proxy, StartProxy
from tests.wire.connection import Ended
from tests.wire.talking import AUTHORIZATION, CHAT, NAMED, head, nothing_broke, one, stored
from tests.wire.upstreams import Answer, RecordingUpstream

from backstory.app import BUFFERS

KEEP = ("Connection", "keep-alive")
OFF = ("Backstory-Memory", "off")
FRAMINGS: tuple[Framing, ...] = ("chunked", "length", "close")
STREAMED = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
MEMORY = pytest.mark.parametrize("memory", [True, False], ids=["memory", "off"])
KEPT = pytest.mark.parametrize("keep", [True, False], ids=["keep-alive", "once"])


def question(*fields: tuple[str, str], version: str = "1.0") -> bytes:
    """A request without ``Host``, which HTTP/1.0 does not ask for."""
    size = ("Content-Length", str(len(CHAT.good)))
    return head(f"POST {CHAT.target} HTTP/{version}", AUTHORIZATION, size, *fields) + CHAT.good


def answer_of(framing: Framing, *, streamed: bool, reply: str = "Hello") -> bytes:
    """What the upstream says."""
    return chat_stream(reply, framing) if streamed else chat_json(reply, framing)


def content(framing: Framing, *, streamed: bool, reply: str = "Hello") -> bytes:
    """The body of it, framing undone."""
    whole = answer_of("length" if framing == "chunked" else framing, streamed=streamed, reply=reply)
    return whole.partition(b"\r\n\r\n")[2]


def framed_for_1_0(answer: Received, framing: Framing, *, keep: bool) -> None:
    """Nothing in the head that HTTP/1.0 does not know; kept only if the length is said."""
    assert answer.head.start[0] == b"HTTP/1.0"
    assert one(answer, b"Transfer-Encoding") is None
    assert (one(answer, b"Content-Length") is not None) == (framing == "length")
    stays = keep and framing == "length"
    assert (one(answer, b"Connection") == "keep-alive") == stays


def receipt_is_there(answer: Received, *, memory: bool) -> None:
    """What memory says in the head."""
    said = one(answer, b"Backstory-Memory") or ""
    assert said.startswith("new" if memory else "off")
    assert (one(answer, b"Backstory-Turn") is not None) == memory


async def settled(proxy: Proxy) -> None:
    """The account of bodies is at zero, once another request has been answered."""
    await stored(proxy)
    assert (proxy.app[BUFFERS].taken, proxy.app[BUFFERS].waiting) == (0, 0)


@KEPT
@MEMORY
@STREAMED
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_an_answer_is_framed_so_that_http_1_0_knows_its_end(
    framing: Framing,
    streamed: bool,
    memory: bool,
    keep: bool,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    recording_upstream.script = answer_of(framing, streamed=streamed)
    fields = [NAMED, *([] if memory else [OFF]), *([KEEP] if keep else [])]
    async with RawClient(proxy.url) as client:
        await client.send(question(*fields))
        answer = await client.read_answer()
        framed_for_1_0(answer, framing, keep=keep)
        receipt_is_there(answer, memory=memory)
        assert answer.content == content(framing, streamed=streamed)
        if keep and framing == "length":
            await client.send(question(*fields))
            again = await client.read_answer()
            assert again.content == answer.content
            assert client.connection.ending is None
        else:
            assert await client.ended() == "fin"
    turns = 2 if keep and framing == "length" else 1
    assert await stored(proxy) == ["Hello"] * turns * memory
    assert len(recording_upstream.requests) == turns
    assert recording_upstream.requests[0].head.start[2] == b"HTTP/1.1"
    await settled(proxy)
    nothing_broke(caplog)


@pytest.mark.parametrize("how", ["fin", "rst"])
@KEPT
@MEMORY
@STREAMED
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_cut_answer_does_not_end_as_a_whole_one(
    framing: Framing,
    streamed: bool,
    memory: bool,
    keep: bool,
    how: Literal["fin", "rst"],
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = answer_of(framing, streamed=streamed)
    proxy = await start_proxy(recording_upstream.url)
    seen = asyncio.Event()
    at = whole.index(b"Hello")
    recording_upstream.script = Answer([whole[:at], seen, whole[at : at + 3]], how)
    fields = [NAMED, *([] if memory else [OFF]), *([KEEP] if keep else [])]
    async with RawClient(proxy.url) as client:
        await client.send(question(*fields))
        first = await client.read_head()
        seen.set()
        answer = Received(first, await client.read_body(first))
        receipt_is_there(answer, memory=memory)
        framed_for_1_0(answer, framing, keep=keep)
        assert not answer.complete
        # Without memory nobody looks into a body: where the upstream closes in order, that is its end.
        unseen = framing == "close" and how == "fin" and not memory
        unframed = framing != "length"
        assert await client.ended() == ("rst" if unframed and not unseen else "fin")
    assert await stored(proxy) == []
    await settled(proxy)
    nothing_broke(caplog)


@MEMORY
@STREAMED
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_pipelined_requests_are_answered_in_order_up_to_the_end_of_the_connection(
    framing: Framing,
    streamed: bool,
    memory: bool,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a body that the connection's end delimits nothing can follow: it is not even asked."""
    replies = ["one", "two", "three"]
    proxy = await start_proxy(recording_upstream.url)
    recording_upstream.script = [
        answer_of(framing, streamed=streamed, reply=reply) for reply in replies
    ]
    fields = [NAMED, *([] if memory else [OFF])]
    async with RawClient(proxy.url) as client:
        asked = [question(*fields, KEEP), question(*fields, KEEP), question(*fields)]
        await client.send(b"".join(asked))
        for reply in replies if framing == "length" else replies[:1]:
            answer = await client.read_answer()
            assert answer.content == content(framing, streamed=streamed, reply=reply)
        with pytest.raises(Ended):
            await client.read_head()
        assert await client.ended() == "fin"
    count = 3 if framing == "length" else 1
    assert len(recording_upstream.requests) == count
    assert await stored(proxy) == (replies[:count] if memory else [])
    await settled(proxy)
    nothing_broke(caplog)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_the_end_of_a_connection_waits_for_the_turn(
    framing: Framing, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """Where it delimits the body, it is what tells a client that the answer is complete."""
    whole, end = chat_stream("Hello", framing), asyncio.Event()
    at = whole.index(b"data: [DONE]")
    proxy = await start_proxy(recording_upstream.url)
    recording_upstream.script = Answer(
        [whole[:at], end, whole[at:]], "fin" if framing == "close" else "next"
    )
    async with RawClient(proxy.url) as client:
        await client.send(question(NAMED))
        await client.connection.read_until(b'"finish_reason":"stop"')
        assert client.connection.ending is None
        assert await stored(proxy) == []
        end.set()
        assert b"data: [DONE]\n\n" in await client.connection.read_to_end()
        assert await client.ended() == "fin"
        assert await stored(proxy) == ["Hello"]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_that_has_no_body_keeps_the_connection(
    status: str, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    recording_upstream.script = head(f"HTTP/1.1 {status}", ("ETag", '"x"'))
    async with RawClient(proxy.url) as client:
        for _ in range(2):
            await client.send(head("GET /x HTTP/1.0", AUTHORIZATION, KEEP))
            found = await client.read_head()
            assert found.start[1] == status[:3].encode()
            assert one(found, b"Connection") == "keep-alive"
        assert not client.connection.buffer


async def test_a_question_about_the_head_alone_keeps_the_connection(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    recording_upstream.script = head("HTTP/1.1 200 OK", ("Content-Length", "7"))
    async with RawClient(proxy.url) as client:
        for _ in range(2):
            await client.send(head("HEAD /x HTTP/1.0", AUTHORIZATION, KEEP))
            found = await client.read_head()
            assert one(found, b"Content-Length") == "7"
        assert not client.connection.buffer


@pytest.mark.parametrize("target", [CHAT.target, "/v1/embeddings"])
async def test_nothing_interim_is_said_to_http_1_0(
    target: str, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """It knows no 1xx (RFC 9110 section 15.2), and its ``Expect`` counts for nothing (10.1.1)."""
    proxy = await start_proxy(recording_upstream.url)
    recording_upstream.on_head = [head("HTTP/1.1 103 Early Hints", ("Link", "</x>"))]
    recording_upstream.script = chat_json("Hello")
    whole = question(("Expect", "100-continue"), NAMED).replace(
        CHAT.target.encode(), target.encode()
    )
    async with RawClient(proxy.url) as client:
        await client.send(whole)
        answer = await client.read_answer()
    assert (answer.status, answer.complete) == (200, True)
    assert answer.head.start[0] == b"HTTP/1.0"


@KEPT
async def test_a_refusal_of_ours_is_framed_too(
    keep: bool, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    async with RawClient(proxy.url) as client:
        size = ("Content-Length", "2")
        fields = [size, *([KEEP] if keep else [])]
        await client.send(head(f"POST {CHAT.target} HTTP/1.0", *fields) + b"{}")
        answer = await client.read_answer()
        assert (answer.status, answer.complete) == (401, True)
        assert answer.head.start[0] == b"HTTP/1.0"
        if keep:
            assert one(answer, b"Connection") == "keep-alive"
            recording_upstream.script = chat_json("Hello")
            await client.send(question(NAMED))
            assert (await client.read_answer()).status == 200
        assert await client.ended() == "fin"
    await settled(proxy)

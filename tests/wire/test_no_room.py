"""Large bodies take all the room there is: the next ones wait unread, and nobody else is hurt."""

import asyncio
import gzip
import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.answers import chat_json, respond
from tests.wire.clients import RawClient, post_chunked, request
from tests.wire.conftest import Proxy, StartProxy, running_proxy
from tests.wire.connection import Ended
from tests.wire.talking import AUTHORIZATION, CHAT, NAMED, ask, head, one, refused, stored
from tests.wire.upstreams import Answer, RecordingUpstream, Request, Script
from tests.wire.users import forwarded

from backstory.app import BUFFERS
from backstory.buffers import COST, Buffers, Share

MOST = 400_000
ROOM = {
    "max_body_bytes": MOST,
    "max_decoded_bytes": MOST,
    "max_buffered_bytes": 2 * COST * MOST,
}
"""Room for two of the largest bodies, as little as may be configured."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def question(size: int, text: str = "") -> bytes:
    """A request of so many bytes."""
    body = json.dumps({"messages": [{"role": "user", "content": text + "%"}]}).encode()
    return body.replace(b"%", b"x" * (size - len(body) + 1))


LARGE = question(MOST - 1000)


@pytest.fixture
async def somebody_waits(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set as soon as a body waits for room: nothing tells the client."""
    began, wait = asyncio.Event(), Buffers.wait

    async def noted(buffers: Buffers, share: Share, cost: int) -> None:
        began.set()
        await wait(buffers, share, cost)

    monkeypatch.setattr(Buffers, "wait", noted)
    return began


@asynccontextmanager
async def full(proxy: Proxy, upstream: RecordingUpstream) -> AsyncIterator[asyncio.Event]:
    """Two large requests are under way, until the event is set; then they are answered."""
    go_on, script, number = asyncio.Event(), upstream.script, len(upstream.requests)
    upstream.script = Answer([go_on, chat_json("at last")])
    async with asyncio.TaskGroup() as group:
        large = [group.create_task(ask(proxy, CHAT.target, LARGE)) for _ in range(2)]
        await upstream.wait_for_request(number + 2)
        upstream.script = script
        try:
            yield go_on
        finally:
            go_on.set()
    assert [task.result().status for task in large] == [200, 200]


async def test_a_large_body_waits_unread_until_there_is_room(
    somebody_waits: asyncio.Event, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, **ROOM, buffer_seconds=30)
    recording_upstream.script = chat_json("ok")
    expects = ("Expect", "100-continue")
    whole = request("POST", CHAT.target, LARGE, AUTHORIZATION, NAMED, expects)
    async with RawClient(proxy.url) as client:
        async with full(proxy, recording_upstream):
            await client.send(whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
            await somebody_waits.wait()
            assert proxy.app[BUFFERS].waiting == 1
            assert not client.connection.buffer, "it was asked for its body"
        assert await client.connection.read_exactly(len(CONTINUE)) == CONTINUE
        await client.send(LARGE)
        answer = await client.read_answer()
    assert (answer.status, answer.complete) == (200, True)
    assert recording_upstream.requests[-1].body == LARGE
    assert await stored(proxy) == ["ok"]


async def test_a_large_body_that_waits_too_long_is_refused_and_nothing_was_run(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, **ROOM, buffer_seconds=0.05)
    async with full(proxy, recording_upstream):
        answer = await ask(proxy, CHAT.target, LARGE, NAMED)
        refused(CHAT, answer, 503, "memory_unavailable")
        assert one(answer, b"Retry-After") == "2"
        assert len(recording_upstream.requests) == 2
    assert await stored(proxy) == []
    recording_upstream.script = chat_json("ok")
    assert (await ask(proxy, CHAT.target, LARGE, NAMED)).status == 200
    assert await stored(proxy) == ["ok"]


async def test_who_announces_a_body_and_does_not_send_it_gives_its_room_back(
    somebody_waits: asyncio.Event, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(
        recording_upstream.url, **ROOM, buffer_seconds=30, upload_idle_seconds=0.2
    )
    recording_upstream.script = chat_json("ok")
    whole = request("POST", CHAT.target, LARGE, AUTHORIZATION, NAMED)
    async with RawClient(proxy.url) as one_of_them, RawClient(proxy.url) as other:
        for silent in (one_of_them, other):
            await silent.send(whole[:1000])
        answer = await ask(proxy, CHAT.target, LARGE, ("Backstory-Conversation", "d"))
        assert answer.status == 200
        assert somebody_waits.is_set(), "there was room all the time: nothing is shown"
        for silent in (one_of_them, other):
            late = await silent.read_answer()
            refused(CHAT, late, 408, "request_timeout")
            assert one(late, b"Connection") == "close"
    assert len(recording_upstream.requests) == 1
    assert await stored(proxy) == []


async def test_who_can_do_without_memory_streams_through(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, **ROOM, buffer_seconds=0.05)
    recording_upstream.script = chat_json("ok")
    async with full(proxy, recording_upstream):
        bypass = ("Backstory-On-Error", "bypass")
        answer = await ask(proxy, CHAT.target, LARGE, NAMED, bypass)
    assert (answer.status, answer.complete) == (200, True)
    assert one(answer, b"Backstory-Memory") == "bypassed;reason=no_room"
    assert recording_upstream.requests[-1].body == LARGE
    assert await stored(proxy) == []


async def test_what_passes_through_needs_no_room(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, **ROOM, buffer_seconds=0.05)
    recording_upstream.script = chat_json("ok")
    async with full(proxy, recording_upstream):
        taken = proxy.app[BUFFERS].taken
        assert (await ask(proxy, "/v1/embeddings", LARGE)).status == 200
        off = ("Backstory-Memory", "off")
        assert (await ask(proxy, CHAT.target, LARGE, off)).status == 200
        assert proxy.app[BUFFERS].taken == taken


async def test_people_talk_on_while_there_is_no_room(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, **ROOM, buffer_seconds=0.05)
    recording_upstream.script = chat_json("ok")
    async with full(proxy, recording_upstream):
        for number in range(3):
            answer = await ask(proxy, CHAT.target, question(20_000, f"q{number} "), NAMED)
            assert (answer.status, answer.complete) == (200, True)
        assert await stored(proxy) == ["ok", "ok", "ok"]


async def test_a_large_answer_goes_on_without_its_copy(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "backstory.exchange")
    proxy = await start_proxy(recording_upstream.url, **ROOM, buffer_seconds=0.05)
    recording_upstream.script = chat_json("y" * 100_000)
    async with full(proxy, recording_upstream):
        answer = await ask(proxy, CHAT.target, CHAT.good, NAMED)
        assert (answer.status, answer.complete) == (200, True)
        assert answer.content == chat_json("y" * 100_000).partition(b"\r\n\r\n")[2]
        assert await stored(proxy) == []
    assert "'outcome': 'discarded(no_room)'" in caplog.text
    assert (await ask(proxy, CHAT.target, CHAT.good, NAMED)).complete
    assert await stored(proxy) == ["y" * 100_000]


async def test_a_long_history_needs_room_too(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, **ROOM, buffer_seconds=0.05)
    recording_upstream.script = chat_json("ok")
    assert (await ask(proxy, CHAT.target, LARGE, NAMED)).status == 200
    async with full(proxy, recording_upstream):
        answer = await ask(proxy, CHAT.target, CHAT.good, NAMED)
        refused(CHAT, answer, 503, "memory_unavailable")
        assert len(recording_upstream.requests) == 3
    assert await stored(proxy) == ["ok"]
    assert (await ask(proxy, CHAT.target, CHAT.good, NAMED)).status == 200
    assert len(forwarded(recording_upstream.requests[-1].body)) == 3
    assert await stored(proxy) == ["ok", "ok"]


def played(seen: Request) -> bytes | Answer:
    """What the upstream does, as the field ``X-Do`` says."""
    how = (seen.values(b"x-do") or [b""])[0].decode()
    if how == "fails":
        return Answer([], "rst")
    if how == "refuses" and len(forwarded(seen.body)) > 1:
        words = "this model's maximum context length is 10 tokens"
        body = json.dumps({"error": {"message": words}}).encode()
        return respond([body], "application/json", "length", status="400 Bad Request")
    whole = chat_json("y" * (200_000 if "large" in how else 10))
    if how == "large, cut":
        return Answer([whole[:-1000]], "rst")
    if how == "large, held":
        return Answer([whole[:-1000]], "hold")
    return whole


ENDS = (
    "answered",
    "answered, large",
    "in chunks",
    "compressed",
    "bomb",
    "not understood",
    "too large",
    "fails",
    "refuses",
    "large, cut",
    "large, held",
    "leaves at once",
    "leaves within the body",
    "leaves after the body",
    "leaves within the answer",
)
"""What can become of a request."""


async def end(proxy: Proxy, how: str, number: int, size: int) -> None:
    """One request that ends so."""
    body = question(size)
    fields = [AUTHORIZATION, ("Backstory-Conversation", f"c{number}"), ("X-Do", how)]
    if how == "refuses":
        await ask(proxy, CHAT.target, CHAT.good, fields[1])
    elif how == "compressed":
        body = gzip.compress(body)
        fields.append(("Content-Encoding", "gzip"))
    elif how == "bomb":
        body = gzip.compress(bytes(3 * MOST))
        fields.append(("Content-Encoding", "gzip"))
    elif how == "not understood":
        body = body[:-1]
    elif how == "too large":
        body = question(MOST + 1)
    whole = [request("POST", CHAT.target, body, *fields)]
    if how == "in chunks":
        start, *chunks = post_chunked(CHAT.target, *(body[at::7] for at in range(7)))
        whole = [start[:-2] + head("", *fields).removeprefix(b"\r\n"), *chunks]
    elif how == "leaves at once":
        whole = [whole[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"]
    elif how == "leaves within the body":
        whole = [whole[0][: len(whole[0]) // 2]]
    async with RawClient(proxy.url) as client:
        try:
            await client.send(*whole)
            if how in ("large, held", "leaves within the answer"):
                await client.read_head()
            elif not how.startswith("leaves"):
                answer = await client.read_answer()
                assert answer.status in (200, 400, 413, 502, 503)
        except (Ended, ConnectionError):
            assert how != "answered"


@given(st.integers(0, 2**32), st.sampled_from([0.001, 0.05, 2.0]))
@settings(max_examples=20)
def test_whatever_becomes_of_them_all_the_room_is_given_back(seed: int, seconds: float) -> None:
    drawn = random.Random(seed)

    async def everything() -> None:
        script: Script = played
        async with RecordingUpstream(script) as upstream:
            async with running_proxy(upstream.url, **ROOM, buffer_seconds=seconds) as proxy:
                async with asyncio.TaskGroup() as group:
                    for number in range(15):
                        how, size = drawn.choice(ENDS), drawn.choice([100, 90_000, MOST - 1000])
                        _ = group.create_task(end(proxy, how, number, size))
                buffers = proxy.app[BUFFERS]
                assert (await ask(proxy, CHAT.target, CHAT.good)).status == 200
            assert (buffers.taken, buffers.waiting) == (0, 0)

    asyncio.run(everything())

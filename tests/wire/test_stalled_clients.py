"""A client that does not read makes the upstream wait: nobody in between keeps what it leaves lying."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from tests.wire.clients import RawClient, request
from tests.wire.conftest import Proxy, StartProxy
from tests.wire.connection import Connection
from tests.wire.flood import DONE, LETTERS, PIECE, Flood, Framed, Reader, hash_of
from tests.wire.server import Server, reserved_port
from tests.wire.talking import AUTHORIZATION, CHAT, NAMED, ask, head, nothing_broke, say, stored
from tests.wire.test_large_bodies import memory_of
from tests.wire.upstreams import Answer, RecordingUpstream, Request

from backstory.app import BUFFERS
from backstory.relayed import Relayed
from backstory_plugins.stores.memory import MemoryStore

PIECES = 1600
"""A hundred megabytes."""
UNDER_WAY = 24 * 1024 * 1024
"""What two connections hold at most, most of it in the kernel."""
OFF = ("Backstory-Memory", "off")
FRAMINGS: tuple[Framed, ...] = ("length", "chunked", "close")
EXPECTED = hash_of(PIECES)


@pytest.fixture
def congested(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set as soon as the proxy waits for a client that does not read."""
    waits, drained = asyncio.Event(), Relayed.drained

    async def noted(response: Relayed) -> None:
        if response.congested:
            waits.set()
        await drained(response)

    monkeypatch.setattr(Relayed, "drained", noted)
    return waits


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> "Commits":
    """Holds back every commit until it is told to go on."""
    held = Commits()
    keep = MemoryStore.commit

    async def slowly(store: MemoryStore, *args: object) -> None:
        held.began.set()
        await held.go_on.wait()
        await keep(store, *args)  # type: ignore[arg-type]  # whatever it is given

    monkeypatch.setattr(MemoryStore, "commit", slowly)
    return held


class Commits:
    """Events of a store."""

    def __init__(self) -> None:
        self.began, self.go_on = asyncio.Event(), asyncio.Event()


@asynccontextmanager
async def asked(proxy: Proxy, *headers: tuple[str, str]) -> AsyncIterator[tuple[RawClient, Reader]]:
    """A client that has asked, and has read no more than the head of the answer."""
    fields = (AUTHORIZATION, NAMED, *headers)
    async with RawClient(proxy.url) as client:
        await client.send(request("POST", CHAT.target, CHAT.good, *fields))
        reader = Reader(client.connection)
        assert (await reader.begin()).status == 200
        yield client, reader


async def over(proxy: Proxy, upstream: RecordingUpstream) -> None:
    """Nothing is left of what went before: another is answered, and the account is at zero."""
    upstream.script = CHAT.answer("ok")
    answer = await ask(proxy, CHAT.target, CHAT.good, OFF)
    assert (answer.status, answer.complete) == (200, True)
    buffers = proxy.app[BUFFERS]
    assert (buffers.taken, buffers.waiting) == (0, 0)


@pytest.mark.parametrize("framed", FRAMINGS)
@pytest.mark.parametrize("memory", ["on", "off"])
async def test_the_upstream_waits_for_who_does_not_read_and_nothing_is_lost(
    memory: str,
    framed: Framed,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "backstory.exchange")
    proxy = await start_proxy(recording_upstream.url)
    flood = Flood(PIECES, framed)
    recording_upstream.script = flood.answer
    async with asked(proxy, *([OFF] if memory == "off" else [])) as (client, reader):
        assert await flood.stalls(proxy.url) < UNDER_WAY
        while reader.size < 2 * UNDER_WAY:  # as slowly as one can read: the upstream follows
            await reader.read(1 << 20)
            assert await flood.stalls(proxy.url) - reader.size < UNDER_WAY
        assert flood.done == 0
        assert await reader.read_all() == EXPECTED
        if framed == "close":
            assert await client.ended() == "fin"
        else:
            assert reader.complete
    assert flood.done == 1
    await over(proxy, recording_upstream)
    assert await stored(proxy) == []  # it is far too large
    assert ("'outcome': 'discarded(no_copy)'" in caplog.text) == (memory == "on")
    nothing_broke(caplog)


@pytest.mark.parametrize("framed", ["chunked", "close"])
async def test_an_end_that_comes_while_nobody_reads_waits_for_the_commit(
    framed: Framed,
    congested: asyncio.Event,
    commits: Commits,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    proxy = await start_proxy(recording_upstream.url, max_answer_bytes=1 << 27, store_seconds=60.0)
    flood = Flood(PIECES, framed, until=congested)
    recording_upstream.script = flood.answer
    async with asked(proxy) as (client, reader):
        await congested.wait()
        await flood.stalls(proxy.url)
        while not flood.done:  # it takes no more than what the rest of it needs to be on its way
            await reader.read(len(PIECE))
            await flood.stalls(proxy.url)
        text = flood.sent - len(DONE)
        await reader.read(text - reader.size)
        await commits.began.wait()
        await flood.stalls(proxy.url)  # whatever else might come has come
        assert b"[DONE]" not in client.connection.buffer
        assert reader.complete is False
        assert client.connection.ending is None
        commits.go_on.set()
        await reader.read_all()
        assert reader.size == flood.sent
        assert reader.complete == (framed == "chunked")
    await over(proxy, recording_upstream)
    [reply] = await stored(proxy)
    assert len(reply) == text // len(PIECE) * LETTERS


async def test_the_turn_of_who_stalls_before_the_end_is_kept_when_the_end_is_here(
    congested: asyncio.Event,
    commits: Commits,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    """The end was read by us, and the client does not take it: it has a complete answer."""
    proxy = await start_proxy(recording_upstream.url, max_answer_bytes=1 << 27, store_seconds=60.0)
    flood = Flood(PIECES, "chunked", until=congested)
    recording_upstream.script = flood.answer
    async with asked(proxy) as (client, reader):
        while not commits.began.is_set():  # it reads just as much as is needed
            await reader.read(1)
            await flood.stalls(proxy.url)
        assert reader.size < flood.sent - len(DONE)
        client.reset()
    commits.go_on.set()
    recording_upstream.script = CHAT.answer("ok")
    answer = await ask(proxy, CHAT.target, CHAT.good, NAMED)  # after the turn that is being kept
    assert answer.complete
    first, second = await stored(proxy)
    assert (len(first) > UNDER_WAY // 64, second) == (True, "ok")
    await over(proxy, recording_upstream)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framed", FRAMINGS)
async def test_who_leaves_while_it_does_not_read_closes_the_upstream(
    framed: Framed,
    how: Literal["close", "reset"],
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    flood = Flood(PIECES, framed)
    recording_upstream.script = flood.answer
    async with asked(proxy) as (client, _):
        await flood.stalls(proxy.url)
        if how == "close":
            client.close()
        else:
            client.reset()
        await recording_upstream.closed()
        assert flood.done == 0
    await over(proxy, recording_upstream)
    assert await stored(proxy) == []


@pytest.mark.parametrize("framed", FRAMINGS)
async def test_who_says_no_more_is_gone_and_sees_that_it_has_not_got_all(
    framed: Framed, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """A FIN of a client is its leave, even if it reads on."""
    proxy = await start_proxy(recording_upstream.url)
    flood = Flood(PIECES, framed)
    recording_upstream.script = flood.answer
    async with asked(proxy) as (client, reader):
        await flood.stalls(proxy.url)
        client.finish()
        await flood.stalls(proxy.url)
        await reader.read_all()
        assert not reader.complete
        assert reader.size < flood.size
        assert client.connection.ending == ("rst" if framed == "close" else "fin")
        await recording_upstream.closed()
    await over(proxy, recording_upstream)
    assert await stored(proxy) == []


@pytest.mark.parametrize("framed", FRAMINGS)
async def test_a_cut_that_comes_while_nobody_reads_is_seen_by_who_reads_on(
    framed: Framed, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    flood = Flood(PIECES, framed)
    recording_upstream.script = flood.answer
    async with asked(proxy) as (client, reader):
        sent = await flood.stalls(proxy.url)
        recording_upstream.connections[0].reset()
        await flood.stalls(proxy.url)
        await reader.read_all()
        assert not reader.complete
        assert reader.size <= sent + len(PIECE)
        assert client.connection.ending == ("rst" if framed == "close" else "fin")
    await over(proxy, recording_upstream)
    assert await stored(proxy) == []


STALLED = 200
PATIENT = 20
"""Of them read on at last; the others leave."""
EACH = 512 * 1024
"""What a server keeps for a client that does not read, at most."""


async def charged(admin: str) -> int:
    """What bodies take, as the server itself says."""
    page = await say(admin, head("GET /metrics HTTP/1.1", ("Host", "x")))
    [line] = [
        line for line in page.content.splitlines() if line.startswith(b"backstory_buffered_bytes ")
    ]
    return int(line.split()[1])


async def test_two_hundred_who_do_not_read_take_little_and_hold_up_nobody(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    enough = asyncio.Event()
    flood = Flood(PIECES, "chunked", until=enough)
    async with AsyncExitStack() as stack:
        port, admin_port = (stack.enter_context(reserved_port()) for _ in range(2))
        env = {"BACKSTORY_ADMIN_LISTEN": f"127.0.0.1:{admin_port}"}
        server = Server(tmp_path, port, recording_upstream.url, env)
        await stack.enter_async_context(server)
        admin = f"http://127.0.0.1:{admin_port}"
        recording_upstream.script = CHAT.answer("ok")
        fields = (AUTHORIZATION, OFF)
        question = request("POST", CHAT.target, CHAT.good, *fields)
        assert (await say(server.url, question)).complete
        before = memory_of(server.pid, "VmRSS")

        asks: dict[bytes, int] = {}

        def narrow(seen: Request) -> Answer:
            asks[seen.values(b"X-Number")[0]] = seen.connection
            holds_little(recording_upstream.connections[seen.connection])
            return flood.answer

        recording_upstream.script = narrow
        stalled: list[tuple[RawClient, Reader]] = []
        for number in range(STALLED):
            client = await stack.enter_async_context(RawClient(server.url))
            holds_little(client.connection)
            numbered = (*fields, ("X-Number", f"{number}"))
            await client.send(request("POST", CHAT.target, CHAT.good, *numbered))
            stalled.append((client, Reader(client.connection)))
        for _, reader in stalled:
            await reader.begin()
        await flood.stalls(server.url)
        assert flood.done == 0
        assert memory_of(server.pid, "VmHWM") - before < STALLED * EACH
        recording_upstream.script = CHAT.answer("ok")
        answer = await say(server.url, request("POST", CHAT.target, CHAT.good, AUTHORIZATION))
        assert (answer.status, answer.complete) == (200, True)
        for client, _ in stalled[PATIENT:]:
            client.reset()
        for number in range(PATIENT, STALLED):
            await recording_upstream.closed(asks[b"%d" % number])
        assert flood.done == 0
        patient = [reader for _, reader in stalled[:PATIENT]]
        enough.set()
        async with asyncio.TaskGroup() as group:
            rest = [group.create_task(reader.read_all()) for reader in patient]
        for reader, read in zip(patient, rest, strict=True):
            assert reader.complete
            assert read.result() == hash_of(reader.size // len(PIECE))
        assert await charged(admin) == 0
        assert await server.stop() == 0
        assert server.complaints() == []


def holds_little(connection: Connection) -> None:
    """So few bytes fit into the kernel at this end that the other soon has to wait."""
    end = connection.transport.get_extra_info("socket")
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        end.setsockopt(socket.SOL_SOCKET, option, 16384)

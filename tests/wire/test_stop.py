"""SIGTERM ends the server in order: what runs may come to its end, and what is idle ends at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.wire.answers import FALCON_END, falcon_answer
from tests.wire.clients import RawClient
from tests.wire.killing import stored_turns
from tests.wire.server import Server, reserved_port
from tests.wire.talking import AUTHORIZATION, FALCON, NAMED
from tests.wire.upstreams import Answer, RecordingUpstream


@pytest.fixture
async def server(tmp_path: Path, recording_upstream: RecordingUpstream) -> AsyncIterator[Server]:
    """A server in front of the recording upstream, that gives streams little time."""
    env = {"BACKSTORY_DRAIN_TIMEOUT_SECONDS": "1"}
    with reserved_port() as port:
        async with Server(tmp_path, port, recording_upstream.url, env) as server:
            yield server


async def ask(client: RawClient) -> None:
    """Send a question."""
    await client.post(FALCON.target, FALCON.good, AUTHORIZATION, NAMED)


async def test_an_idle_server_ends_at_once_with_status_0(server: Server) -> None:
    async with RawClient(server.url) as client:
        await ask(client)
        assert (await client.read_answer()).complete
        assert await server.stop() == 0
        assert await client.ended() == "fin"
    assert server.complaints() == []
    await server.start()
    assert await stored_turns(server.url, "c") == [("Hi", "ok")]


async def test_a_stream_comes_to_its_end_and_is_remembered(
    server: Server, recording_upstream: RecordingUpstream
) -> None:
    answer, rest = falcon_answer("a long answer"), asyncio.Event()
    at = answer.index(b" long")
    recording_upstream.script = [
        falcon_answer("first"),
        Answer([answer[:at], rest, answer[at:]]),
    ]
    async with RawClient(server.url) as idle, RawClient(server.url) as client:
        await ask(idle)
        assert (await idle.read_answer()).complete
        await ask(client)
        head = await client.read_head()
        async with asyncio.TaskGroup() as group:
            stopped = group.create_task(server.stop())
            await idle.ended()  # now it is about to stop
            rest.set()
            body = await client.read_body(head)
    assert (body.complete, body.content) == (True, b"a long answer" + FALCON_END)
    assert stopped.result() == 0
    assert server.complaints() == []
    await server.start()
    assert await stored_turns(server.url, "c") == [("Hi", "first"), ("Hi", "a long answer")]


async def test_a_stream_that_takes_too_long_is_cut_and_leaves_no_trace(
    server: Server, recording_upstream: RecordingUpstream
) -> None:
    answer = falcon_answer("a long answer")
    begin = answer[: answer.index(b" long")]
    recording_upstream.script = Answer([begin, asyncio.Event()])
    async with RawClient(server.url) as client:
        await ask(client)
        head = await client.read_head()
        assert await server.stop() == 0
        body = await client.read_body(head)
    assert (body.complete, body.content) == (False, b"a")
    assert server.complaints() == []
    await server.start()
    assert await stored_turns(server.url, "c") == []


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_server_that_ends_within_a_body_without_framing_does_not_make_it_look_whole(
    how: str, server: Server, recording_upstream: RecordingUpstream
) -> None:
    """The kernel closes the connections of a process that is gone: that must be a reset as well."""
    answer = falcon_answer("a long answer", "close")
    begin = answer[: answer.index(b" long")]
    recording_upstream.script = Answer([begin, asyncio.Event()])
    async with RawClient(server.url) as client:
        await ask(client)
        await client.read_head()
        assert await client.connection.read_exactly(1) == b"a"
        if how == "stop":
            assert await server.stop() == 0
        else:
            await server.kill()
        assert await client.ended() == "rst"
    assert server.complaints() == []

"""A process that stood still, or its machine: what came meanwhile came in time."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.wire.clients import RawClient, request
from tests.wire.server import Server, reserved_port
from tests.wire.talking import AUTHORIZATION, CHAT, one
from tests.wire.upstreams import Answer, RecordingUpstream, Request

CLIENTS = 16
PATIENCE_SECONDS = 1.0
"""Of the server, for its store and its upstream."""
PAUSE_SECONDS = 2.5


@pytest.fixture
async def server(tmp_path: Path, recording_upstream: RecordingUpstream) -> AsyncIterator[Server]:
    """One that has little patience."""
    seconds = str(PATIENCE_SECONDS)
    names = ("STORE", "FIRST_BYTE", "SILENCE")
    env = {f"BACKSTORY_{name}_SECONDS": seconds for name in names}
    with reserved_port() as port:
        async with Server(tmp_path, port, recording_upstream.url, env) as server:
            yield server


async def pause(server: Server) -> None:
    """Let it stand still for longer than it has patience."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(PAUSE_SECONDS)  # nothing but time tells a pause from none
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_turns_that_were_being_committed_are_kept(
    server: Server, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = CHAT.answer("ok")
    going, paused = [asyncio.Event() for _ in range(CLIENTS)], asyncio.Event()

    async def talk(number: int) -> int:
        name, turns, more = ("Backstory-Conversation", f"c{number}"), 0, 3
        async with RawClient(server.url) as client:
            while more:
                await client.send(request("POST", CHAT.target, CHAT.good, AUTHORIZATION, name))
                answer = await client.read_answer()
                assert (answer.status, answer.complete) == (200, True)
                turns += 1
                assert f";version={turns - 1};" in (one(answer, b"Backstory-Memory") or "")
                if turns == 3:
                    going[number].set()
                more -= paused.is_set()
        return turns

    async with asyncio.TaskGroup() as group:
        talks = [group.create_task(talk(number)) for number in range(CLIENTS)]
        for event in going:
            await event.wait()
        await pause(server)
        paused.set()
    assert sum(task.result() for task in talks) >= 6 * CLIENTS
    assert server.complaints() == []


async def test_an_answer_that_came_meanwhile_is_sent_on(
    server: Server, recording_upstream: RecordingUpstream
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    def script(_: Request) -> Answer:
        asked.set()
        return Answer((go_on, CHAT.answer("ok")))

    recording_upstream.script = script
    async with RawClient(server.url) as client:
        await client.send(request("POST", CHAT.target, CHAT.good, AUTHORIZATION))
        await asked.wait()
        asyncio.get_running_loop().call_later(PAUSE_SECONDS / 3, go_on.set)
        await pause(server)
        answer = await client.read_answer()
        assert (answer.status, answer.complete) == (200, True)
    assert server.complaints() == []

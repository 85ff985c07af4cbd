"""Several workers behind one socket: a dead one is replaced, and nothing is left behind."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.wire.answers import chat_json
from tests.wire.clients import RawClient, Received, request
from tests.wire.conftest import SECRET, token
from tests.wire.server import environment
from tests.wire.upstreams import RecordingUpstream

AUTHORIZATION = ("Authorization", f"Bearer {token()}")
NAMED = ("Backstory-Conversation", "c")


class Supervised:
    """``backstory serve --workers`` as a process of its own."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = ""

    @property
    def workers(self) -> set[int]:
        """Their process ids."""
        pid = self.process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    async def said(self, words: str) -> str:
        """The next line on standard error that holds ``words``."""
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            while line := (await self.process.stderr.readline()).decode():
                if words in line:
                    return line.strip()
        raise AssertionError(f"it ended without saying {words!r}")

    async def ask(self, text: str) -> Received:
        question = {"messages": [{"role": "user", "content": text}]}
        async with RawClient(self.url) as client:
            await client.send(
                request("POST", "/v1/chat/completions", question, AUTHORIZATION, NAMED)
            )
            return await client.read_answer()


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@asynccontextmanager
async def supervised(
    directory: Path, upstream: str, *options: str, workers: int = 2
) -> AsyncIterator[Supervised]:
    command = ["-P", "-m", "backstory", "serve", "--upstream", upstream, "--workers", str(workers)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        "--listen",
        "127.0.0.1:0",
        *options,
        cwd=directory,
        env=environment(BACKSTORY_JWT_SECRET=SECRET),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        yield Supervised(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def test_a_dead_worker_is_replaced_and_the_conversation_goes_on(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = chat_json("one")
    async with supervised(tmp_path, recording_upstream.url, workers=3) as server:
        server.url = (await server.said("listening on ")).partition("listening on ")[2]
        before = server.workers
        assert len(before) == 3
        assert (await server.ask("a")).status == 200
        for killed in sorted(before):
            os.kill(killed, signal.SIGKILL)
            assert "status -9 and is started again" in await server.said("worker ")
        answer = await server.ask("b")
        assert answer.head.values(b"backstory-memory")[0].startswith(b"hit;turns=1;")
        assert not before & server.workers
        server.process.terminate()
        await server.process.communicate()
        assert server.process.returncode == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_stops_its_workers(
    how: signal.Signals, tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    async with supervised(tmp_path, recording_upstream.url) as server:
        await server.said("listening on ")
        workers = server.workers
        server.process.send_signal(how)
        await server.process.communicate()
        assert server.process.returncode == 0
        assert not list(filter(is_running, workers))


async def test_workers_stop_when_their_supervisor_is_killed(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    async with supervised(tmp_path, recording_upstream.url) as server:
        await server.said("listening on ")
        server.process.kill()
        # They hold the other end of standard error: it ends when the last of them has.
        async with asyncio.timeout(30):
            await server.process.communicate()


async def test_a_worker_that_cannot_start_ends_everything(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    store = ("--store", "sqlite:////nowhere/at/all.db")
    async with supervised(tmp_path, recording_upstream.url, *store) as server:
        assert "cannot use /nowhere/at/all.key" in await server.said("session_key_file")
        await server.process.communicate()
        assert server.process.returncode == 2


async def test_a_store_that_processes_cannot_share_is_refused(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    async with supervised(tmp_path, recording_upstream.url, "--store", "memory://") as server:
        assert "workers: only one can use memory://" in await server.said("backstory: ")
        await server.process.communicate()
        assert server.process.returncode == 2

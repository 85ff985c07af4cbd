"""Under gunicorn, started as docs/deploy/gunicorn.md says, the proxy keeps all that it promises."""

import asyncio
import gzip
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.wire.answers import FALCON_END, falcon_answer
from tests.wire.clients import RawClient, Received, request
from tests.wire.hosts import Gunicorn
from tests.wire.killing import stored_turns
from tests.wire.server import reserved_port
from tests.wire.talking import AUTHORIZATION, FALCON, NAMED, say
from tests.wire.upstreams import Answer, RecordingUpstream

PAGE = "deploy/gunicorn.md"


@pytest.fixture
async def gunicorn(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> AsyncIterator[Gunicorn]:
    """Two workers in front of the recording upstream."""
    with reserved_port() as port:
        async with Gunicorn(tmp_path, port, recording_upstream.url, PAGE) as found:
            yield found
            if found.is_running:
                assert await found.stop() == 0
            assert found.complaints() == []


async def ask(url: str, text: str) -> Received:
    """One question in the conversation."""
    return await say(url, request("POST", FALCON.target, {"text": text}, AUTHORIZATION, NAMED))


async def test_what_one_worker_was_told_the_other_remembers(
    gunicorn: Gunicorn, recording_upstream: RecordingUpstream
) -> None:
    assert (await ask(gunicorn.url, "Hi")).complete
    await gunicorn.says("Booting worker with pid", 2)
    first, second = gunicorn.workers
    for asleep, text in ((first, "two"), (second, "three"), (first, "four")):
        os.kill(asleep, signal.SIGSTOP)
        assert (await ask(gunicorn.url, text)).complete
        os.kill(asleep, signal.SIGCONT)
    told = json.loads(recording_upstream.requests[-1].body)["text"]
    assert [line for line in told.split("\n") if line.startswith("Human:")] == [
        "Human: Hi",
        "Human: two",
        "Human: three",
        "Human: four",
    ]


async def test_a_client_that_leaves_frees_the_upstream(
    gunicorn: Gunicorn, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = Answer([falcon_answer("a long answer")[:-40]], "hold")
    async with RawClient(gunicorn.url) as client:
        await client.post(FALCON.target, FALCON.good, AUTHORIZATION, NAMED)
        await client.read_head()
        client.close()
        assert await recording_upstream.closed() in ("fin", "rst")


@pytest.mark.parametrize("target", ["/v1/embeddings", FALCON.target])
async def test_a_compressed_body_keeps_its_bytes(
    target: str, gunicorn: Gunicorn, recording_upstream: RecordingUpstream
) -> None:
    packed = gzip.compress(b'{"input": 1}')
    fields = (AUTHORIZATION, ("Content-Encoding", "gzip"), ("Backstory-Memory", "off"))
    long = ("X-Long", "x" * 12_000)
    assert (await say(gunicorn.url, request("POST", target, packed, *fields, long))).status == 200
    [seen] = recording_upstream.requests
    assert seen.body == packed
    assert seen.values(b"content-encoding") == [b"gzip"]
    assert seen.values(b"x-long") == [b"x" * 12_000]


async def test_sigterm_lets_an_answer_come_to_its_end(
    gunicorn: Gunicorn, recording_upstream: RecordingUpstream
) -> None:
    answer, rest = falcon_answer("a long answer"), asyncio.Event()
    at = answer.index(b" long")
    recording_upstream.script = Answer([answer[:at], rest, answer[at:]])
    async with RawClient(gunicorn.url) as client:
        await client.post(FALCON.target, FALCON.good, AUTHORIZATION, NAMED)
        head = await client.read_head()
        async with RawClient(gunicorn.url) as idle, asyncio.TaskGroup() as group:
            await idle.send(request("GET", "/-/health/live", b""))
            assert (await idle.read_answer()).complete
            stopped = group.create_task(gunicorn.stop())
            await idle.ended()  # now a worker is about to stop
            rest.set()
            body = await client.read_body(head)
    assert (body.complete, body.content) == (True, b"a long answer" + FALCON_END)
    assert stopped.result() == 0
    await gunicorn.start()
    assert await stored_turns(gunicorn.url, "c") == [("Hi", "a long answer")]


async def test_every_problem_of_the_configuration_is_told(tmp_path: Path) -> None:
    env = {"BACKSTORY_UPSTREAM": "nowhere", "BACKSTORY_SESSION": "perhaps"}
    with reserved_port() as port:
        async with Gunicorn(tmp_path, port, "", PAGE, env) as gunicorn:
            assert await gunicorn.ended() in (3, 1)  # 1 if both workers end at the same time
    said = "\n".join(gunicorn.said)
    assert "upstream: not of the form" in said
    assert "BACKSTORY_SESSION: not one of" in said
    assert "Worker failed to boot" in said


async def test_what_there_is_not_under_gunicorn_is_warned_of(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    env = {"BACKSTORY_STORE": "memory://", "BACKSTORY_ADMIN_LISTEN": "127.0.0.1:0"}
    with reserved_port() as port:
        async with Gunicorn(tmp_path, port, recording_upstream.url, PAGE, env) as gunicorn:
            assert (await ask(gunicorn.url, "Hi")).complete
            assert await gunicorn.stop() == 0
    assert any("admin_listen is opened by" in line for line in gunicorn.said)
    assert any("each worker's own" in line for line in gunicorn.said)

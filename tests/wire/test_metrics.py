"""What ``GET /metrics`` says is what the upstream saw, byte for byte, whichever worker is asked."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.wire.answers import chat_json
from tests.wire.clients import request
from tests.wire.connection import DEADLINE_SECONDS
from tests.wire.messages import Head
from tests.wire.server import Server, reserved_port
from tests.wire.talking import AUTHORIZATION, CHAT, FALCON, NAMED, head, one, say
from tests.wire.upstreams import RecordingUpstream, Request
from tests.wire.users import User

TURNS = 12
TOLD = 4
"""Most turns that are told."""
Sample = tuple[str, str]


class Watched(Server):
    """A server with an admin listener."""

    def __init__(
        self, directory: Path, ports: tuple[int, int], upstream: str, workers: int, policy: str
    ) -> None:
        env = {"BACKSTORY_MAX_HISTORY_TURNS": f"{TOLD}", "BACKSTORY_POLICY": policy}
        super().__init__(directory, ports[0], upstream, env)
        self.admin = f"http://127.0.0.1:{ports[1]}"
        admin = ("--admin-listen", f"127.0.0.1:{ports[1]}")
        self._watched = (*admin, "--workers", str(workers))

    def program(self) -> tuple[str, ...]:
        """See ``Server``."""
        return (*super().program(), *self._watched)

    async def page(self) -> str:
        """What is said now."""
        answer = await say(self.admin, head("GET /metrics HTTP/1.1", ("Host", "x")))
        assert answer.status == 200
        assert one(answer, b"Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        return answer.content.decode()

    async def samples(self) -> dict[Sample, float]:
        """The same, read as Prometheus does: by name and the values of the labels."""
        return {
            (sample.name.removeprefix("backstory_"), "/".join(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(await self.page())
            for sample in family.samples
        }

    async def after(self, requests: int) -> dict[Sample, float]:
        """The same once so many requests are over, which they are a moment after their answer."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                found = await self.samples()
                counted = sum(n for (name, _), n in found.items() if name == "requests_total")
                if counted >= requests and not found["buffered_bytes", ""]:
                    return found

    @property
    def workers(self) -> set[int]:
        """The supervisor's children."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return set(map(int, children.split()))


@asynccontextmanager
async def watched(
    directory: Path, upstream: str, *, workers: int, policy: str = "tokens"
) -> AsyncIterator[Watched]:
    with reserved_port() as port, reserved_port() as admin_port:
        async with Watched(directory, (port, admin_port), upstream, workers, policy) as server:
            yield server


def history(seen: Request) -> list[bytes]:
    """The bytes of each message that was put in front of the question."""
    text, found = seen.body.decode(), list[bytes]()
    at = text.index("[", text.index('"messages"')) + 1
    while text[at] != "]":
        at += len(text[at:]) - len(text[at:].lstrip(" ,"))
        _, end = json.JSONDecoder().raw_decode(text, at)
        found.append(text[at:end].encode())
        at = end
    return found[:-1]


def expected(seen: Sequence[Request]) -> dict[Sample, float]:
    """What the requests that arrived upstream amount to, by comparing each with the one before."""
    told = reused = epochs = 0
    for before, now in zip(map(history, seen), map(history, seen[1:]), strict=False):
        size = sum(map(len, before))
        begins = b"".join(now).startswith(b"".join(before))
        told += size
        reused += size if begins else 0
        epochs += not begins
    return {
        ("prefix_told_bytes_total", ""): told,
        ("prefix_reused_bytes_total", ""): reused,
        ("prefix_reuse_ratio", ""): reused / told,
        ("trim_epochs_total", ""): epochs,
        ("injected_messages_total", ""): sum(len(history(each)) for each in seen),
    }


def listens(pid: int) -> set[int]:
    """The ports of IPv4 on which a process listens."""
    holds = {entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {
        int(row[1].partition(":")[2], 16)
        for row in rows
        if f"socket:[{row[9]}]" in holds and row[3] == "0A"
    }


@pytest.mark.parametrize("policy", ["tokens", "turns"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_the_figures_are_those_of_the_upstream(
    workers: int, policy: str, tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    replies = iter(range(100))
    recording_upstream.script = lambda _: chat_json(f"the reply {next(replies)}")
    upstream = recording_upstream.url
    async with watched(tmp_path, upstream, workers=workers, policy=policy) as server:
        ada = User(server.url)
        tokens = 0
        for number in range(TURNS):
            answer = await ada.ask(f"the question {number}", NAMED, api=CHAT)
            receipt = one(answer, b"Backstory-Memory") or ""
            tokens += int(receipt.partition("tokens=")[2].partition(";")[0])
        found = await server.after(TURNS)
        figures = expected(recording_upstream.requests)
        assert 0 < figures["prefix_reuse_ratio", ""] < 1
        assert {name: found[name] for name in figures} == pytest.approx(figures)
        assert found["injected_tokens_total", ""] == tokens > 0
        assert found["requests_total", "openai.chat/new"] == 1
        assert found["requests_total", "openai.chat/hit"] == TURNS - 1
        assert found["turns_committed_total", ""] == TURNS
        assert found["buffered_bytes", ""] == 0
        assert await server.stop() == 0
        assert server.complaints() == []


async def test_any_worker_tells_of_all_of_them_and_a_dead_one_is_not_forgotten(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    async with watched(tmp_path, recording_upstream.url, workers=2) as server:
        ada, asked = User(server.url), 0
        for asleep in server.workers:  # each has to do its part
            os.kill(asleep, signal.SIGSTOP)
            assert (await ada.ask("Hi")).status == 200
            os.kill(asleep, signal.SIGCONT)
            asked += 1
            assert (await server.after(asked))["requests_total", "falcon/new"] == asked
        for number, killed in enumerate(sorted(server.workers), 1):
            os.kill(killed, signal.SIGKILL)
            await server.says("is started again", number)
            assert (await server.samples())["requests_total", "falcon/new"] == asked
        assert (await ada.ask("Hi")).status == 200
        assert (await server.after(asked + 1))["requests_total", "falcon/new"] == asked + 1


async def test_a_body_under_way_is_told_of_and_one_of_a_dead_worker_is_not(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    gate = asyncio.Event()
    recording_upstream.on_head = [gate]
    async with watched(tmp_path, recording_upstream.url, workers=2) as server:
        body = {"text": "x" * 100_000}
        asking = asyncio.Task(say(server.url, request("POST", FALCON.target, body, AUTHORIZATION)))
        await recording_upstream.wait_for_connection()
        while not (taken := (await server.samples())["buffered_bytes", ""]):
            pass  # the page itself is waited for
        assert taken > 100_000
        for number, killed in enumerate(sorted(server.workers), 1):
            os.kill(killed, signal.SIGKILL)
            await server.says("is started again", number)
        await asyncio.wait([asking])
        assert asking.exception() is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await server.samples())["buffered_bytes", ""]:
                pass  # until both have started again
        gate.set()


async def test_what_was_not_remembered_says_why_and_what_passed_through_is_counted(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    async with watched(tmp_path, recording_upstream.url, workers=1) as server:
        await User(server.url).ask("Hi")
        await say(server.url, head("GET /v1/models HTTP/1.1", ("Host", "x"), AUTHORIZATION))
        found = {key: value for key, value in (await server.after(2)).items() if value > 0}
    assert found == {
        ("requests_total", "falcon/new"): 1,
        ("requests_total", "none/none"): 1,
        ("turns_discarded_total", "status"): 1,
    }


async def test_the_proxys_own_address_knows_of_no_metrics(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ntheirs"
    async with watched(tmp_path, recording_upstream.url, workers=1) as server:
        asked = head("GET /metrics HTTP/1.1", ("Host", "x"))
        assert (await say(server.url, asked)).status == 401
        asked = head("GET /metrics HTTP/1.1", ("Host", "x"), AUTHORIZATION)
        assert (await say(server.url, asked)).content == b"theirs"
        assert [seen.target for seen in recording_upstream.requests] == [b"/metrics"]
        ours = head("GET /-/metrics HTTP/1.1", ("Host", "x"), AUTHORIZATION)
        assert (await say(server.url, ours)).status == 404


async def test_nobody_is_on_the_page(tmp_path: Path, recording_upstream: RecordingUpstream) -> None:
    canary = "canary"
    recording_upstream.script = chat_json(f"a reply of the {canary}")
    async with watched(tmp_path, recording_upstream.url, workers=1) as server:
        user = User(server.url, subject=f"{canary}-ada", tenant=f"{canary}-acme")
        named = ("Backstory-Conversation", f"{canary}-c")
        for _ in range(2):
            await user.ask(f"{canary}?", named, ("User-Agent", canary), api=CHAT)
        await say(server.url, request("POST", f"/{canary}/chat/completions", {}, AUTHORIZATION))
        page = await server.page()
        answer: Head = (await say(server.admin, head("GET /metrics HTTP/1.1", ("Host", "x")))).head
    assert canary in str([seen.body for seen in recording_upstream.requests])
    assert canary not in page + str(answer)


async def test_by_default_nobody_listens(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    with reserved_port() as port:
        async with Server(tmp_path, port, recording_upstream.url) as server:
            assert listens(server.pid) == {port}


async def test_the_admin_listener_is_the_only_other_one(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    async with watched(tmp_path, recording_upstream.url, workers=1) as server:
        ports = {urlsplit(url).port for url in (server.url, server.admin)}
        assert listens(server.pid) == ports

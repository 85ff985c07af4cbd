"""Memory is down: no answer without its history, no end that nobody will remember, nobody else hurt."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.wire.answers import FALCON_END, Framing, chat_json, chat_stream, falcon_answer
from tests.wire.clients import RawClient, Received
from tests.wire.conftest import StartProxy
from tests.wire.talking import APIS, AUTHORIZATION, CHAT, FALCON, NAMED, Api, head, one, say
from tests.wire.upstreams import Answer, RecordingUpstream
from tests.wire.users import User, body_of, forwarded

from backstory.errors import StoreUnavailable
from backstory.warm import Warm
from backstory_plugins.stores.memory import MemoryStore

How = Literal["fails", "hangs"]
BYPASS = ("Backstory-On-Error", "bypass")
STORE_SECONDS = 0.1


def take_down(monkeypatch: pytest.MonkeyPatch, method: str, how: How) -> None:
    """From now on this method of the store fails, or never returns."""

    async def down(*_: object) -> None:
        if how == "hangs":
            await asyncio.Event().wait()
        raise StoreUnavailable("down")

    monkeypatch.setattr(MemoryStore, method, down)
    # Nothing is at hand, so that it has to be asked.
    monkeypatch.setattr(MemoryStore, "known", lambda *_: None)
    monkeypatch.setattr(Warm, "get", lambda *_: None)


def refused(api: Api, answer: Received) -> None:
    """503 in the API's own shape."""
    assert (answer.status, answer.complete) == (503, True)
    assert one(answer, b"Backstory-Error") == "memory_unavailable"
    assert one(answer, b"Retry-After") == "2"
    if api is CHAT:
        error = json.loads(answer.content)["error"]
        assert (error["type"], error["code"]) == ("server_error", "memory_unavailable")
    else:
        assert (one(answer, b"Content-Type") or "").startswith("text/plain")


@pytest.mark.parametrize("how", ["fails", "hangs"])
@pytest.mark.parametrize("method", ["load", "path"])
@pytest.mark.parametrize("api", APIS, ids=str)
async def test_nothing_is_asked_without_its_history(
    api: Api,
    method: str,
    how: How,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording_upstream.script = api.answer("one")
    proxy = await start_proxy(recording_upstream.url, store_seconds=STORE_SECONDS)
    user = User(proxy.url)
    assert (await user.ask("a", NAMED, api=api)).complete
    with monkeypatch.context() as patch:
        take_down(patch, method, how)
        refused(api, await user.ask("b", NAMED, api=api))
        assert len(recording_upstream.requests) == 1
        answer = await user.ask("c", NAMED, BYPASS, api=api)
        assert (answer.status, answer.complete) == (200, True)
        assert one(answer, b"Backstory-Memory") == "bypassed;reason=store_unavailable"
        assert one(answer, b"Backstory-Turn") is None
        assert json.loads(recording_upstream.requests[1].body) == body_of(api, "c")
    assert (await user.ask("d", NAMED, api=api)).complete
    assert forwarded(recording_upstream.requests[-1].body) == ["a", "one", "d"]


async def test_a_bypassed_answer_is_not_held_back(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to wait for: what the upstream sends is what the client gets."""
    recording_upstream.script = Answer(
        [b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n", FALCON_END], "rst"
    )
    proxy = await start_proxy(recording_upstream.url)
    take_down(monkeypatch, "load", "fails")
    answer = await User(proxy.url).ask("a", NAMED, BYPASS)
    assert (answer.content, answer.complete) == (FALCON_END, False)


WHOLE: list[Any] = [
    pytest.param(FALCON, "chunked", falcon_answer("one"), b"one", id="falcon-chunked"),
    pytest.param(FALCON, "length", falcon_answer("one", "length"), b"one", id="falcon-length"),
    pytest.param(FALCON, "close", falcon_answer("one", "close"), b"one", id="falcon-close"),
    pytest.param(CHAT, "chunked", chat_stream("one"), b'"stop"}]}\n\n', id="stream-chunked"),
    pytest.param(CHAT, "close", chat_stream("one", "close"), b'"stop"}]}\n\n', id="stream-close"),
    pytest.param(CHAT, "length", chat_json("one"), b'"stop"}]', id="json-length"),
    pytest.param(CHAT, "chunked", chat_json("one", "chunked"), b'"stop"}]}', id="json-chunked"),
]


@pytest.mark.parametrize("how", ["fails", "hangs"])
@pytest.mark.parametrize(("api", "framing", "whole", "last"), WHOLE)
async def test_an_answer_that_cannot_be_remembered_does_not_end(
    api: Api,
    framing: Framing,
    whole: bytes,
    last: bytes,
    how: How,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``last``: what may be seen last of it; the rest says "complete"."""
    recording_upstream.script = whole
    proxy = await start_proxy(recording_upstream.url, store_seconds=STORE_SECONDS)
    user = User(proxy.url)
    streamed = b"text/event-stream" in whole
    with monkeypatch.context() as patch:
        take_down(patch, "commit", how)
        answer = await user.ask("a", NAMED, api=api, stream=streamed)
    assert answer.status == 200
    assert not answer.complete
    seen, found, error = answer.content.partition(last)
    assert found, seen
    if streamed:
        assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "memory_commit_failed"
    else:
        assert error in (b"", b"}"[: framing == "chunked"])
    assert b"[DONE]" not in answer.content
    assert FALCON_END not in answer.content
    assert await user.turns("c") == []
    # The conversation is free, and asking again is the same request again.
    assert (await user.ask("a", NAMED, api=api, stream=streamed)).status == 200
    assert [forwarded(request.body) for request in recording_upstream.requests] == [["a"], ["a"]]
    assert await user.turns("c") == [["a", "one"]]


async def test_a_connection_that_cannot_show_a_cut_is_reset(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without framing an orderly close would look like the end of the answer."""
    recording_upstream.script = falcon_answer("one", "close")
    proxy = await start_proxy(recording_upstream.url)
    take_down(monkeypatch, "commit", "fails")
    async with RawClient(proxy.url) as client:
        await client.send(User(proxy.url).question("a", NAMED))
        await client.read_head()
        assert await client.connection.read_to_end() == b"one"
        assert await client.ended() == "rst"


async def test_what_has_no_memory_does_not_notice(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    for method in ("load", "path", "commit", "touch", "ready", "turn"):
        take_down(monkeypatch, method, "fails")
    user = User(proxy.url)
    off = await user.ask("a", NAMED, ("Backstory-Memory", "off"))
    sdk = await user.ask("b", ("User-Agent", "OpenAI/Python 3.54.0"), api=CHAT)
    models = await say(proxy.url, head("GET /v1/models HTTP/1.1", ("Host", "x"), AUTHORIZATION))
    for answer in (off, sdk, models):
        assert (answer.status, answer.complete) == (200, True)
        assert one(answer, b"Backstory-Error") is None
    assert len(recording_upstream.requests) == 3


async def test_health_and_management_say_so(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await start_proxy(recording_upstream.url, store_seconds=STORE_SECONDS)
    user = User(proxy.url)
    assert (await user.ask("a", NAMED)).complete
    take_down(monkeypatch, "ready", "hangs")
    take_down(monkeypatch, "load", "hangs")
    take_down(monkeypatch, "erase", "fails")
    health = [
        await say(proxy.url, head(f"GET /-/health/{what} HTTP/1.1", ("Host", "x")))
        for what in ("live", "ready")
    ]
    assert [answer.status for answer in health] == [200, 503]
    for answer in (await user.manage("c"), await user.manage("c", method="DELETE")):
        assert answer.status == 503
        assert one(answer, b"Content-Type") == "application/problem+json"
        assert one(answer, b"Backstory-Error") == "memory_unavailable"
        assert one(answer, b"Retry-After") == "2"


@contextmanager
def somebody_writes(file: Path) -> Iterator[None]:
    """Another process, a backup say, holds the database's write lock. Not on the event loop."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        connection = sqlite3.connect(file)
        connection.execute("BEGIN IMMEDIATE")
        held.set()
        over.wait()
        connection.rollback()
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def test_a_database_that_is_locked_withholds_the_end(
    tmp_path: Path, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """The real thing: the file is there and can be read, but not written in time.

    The turn that was given up must not be stored after all: it would take the next one's place.
    """
    recording_upstream.script = chat_stream("one")
    file = tmp_path / "b.db"
    proxy = await start_proxy(
        recording_upstream.url, store=f"sqlite:///{file}", store_seconds=STORE_SECONDS
    )
    user = User(proxy.url)
    with somebody_writes(file):
        answer = await user.ask("a", NAMED, api=CHAT, stream=True)
        assert not answer.complete
        assert b"memory_commit_failed" in answer.content
        assert b"[DONE]" not in answer.content
    recording_upstream.script = chat_stream("two")
    assert (await user.ask("b", NAMED, api=CHAT, stream=True)).complete
    assert forwarded(recording_upstream.requests[-1].body) == ["b"]
    assert await user.turns("c") == [["b", "two"]]

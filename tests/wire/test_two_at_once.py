"""Two requests in one conversation: one after the other, or one of them is told to come back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.wire.answers import FALCON_END, falcon_answer
from tests.wire.clients import RawClient, Received
from tests.wire.conftest import Proxy, StartProxy
from tests.wire.talking import APIS, CHAT, NAMED, Api, chunk, head, one, say
from tests.wire.upstreams import Answer, RecordingUpstream, Request
from tests.wire.users import User, forwarded

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


class Gated:
    """A script: every answer names its question and waits for a gate; ``opened`` are open already."""

    def __init__(self, *opened: str) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        for question in opened:
            self.open(question)

    def open(self, question: str) -> None:
        """Let the answer to ``question`` go."""
        self.gates.setdefault(question, asyncio.Event()).set()

    def __call__(self, request: Request) -> Answer:
        question = forwarded(request.body)[-1]
        gate = self.gates.setdefault(question, asyncio.Event())
        api = CHAT if b"chat" in request.target else APIS[0]
        return Answer([gate, api.answer(f"to {question}")])


class Asker:
    """Sends questions on connections that stay open, in the order of the calls."""

    def __init__(self, proxy: Proxy, stack: AsyncExitStack, api: Api) -> None:
        self._proxy, self._stack, self._api = proxy, stack, api

    async def send(self, text: str, *headers: tuple[str, str]) -> RawClient:
        """Ask without waiting for the answer; the proxy has taken the question up."""
        client = await self._stack.enter_async_context(RawClient(self._proxy.url))
        headers = headers or (NAMED,)
        await client.send(User(self._proxy.url).question(text, *headers, api=self._api))
        await self.settled()
        return client

    async def settled(self) -> None:
        """The server has done what was sent before: another whole exchange came after it."""
        await say(self._proxy.url, head("GET /-/health/live HTTP/1.1", ("Host", "x")))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes the connections of a test."""
    async with AsyncExitStack() as stack:
        yield stack


def refused(api: Api, answer: Received, status: int, code: str) -> None:
    """An error of ours in the API's own shape."""
    assert (answer.status, one(answer, b"Backstory-Error")) == (status, code)
    kind = one(answer, b"Content-Type") or ""
    if api is CHAT:
        assert kind.startswith("application/json")
        assert json.loads(answer.content)["error"]["code"] == code
    else:
        assert kind.startswith("text/plain")


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_first_come_first_served_and_the_rest_are_refused(
    api: Api,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    stack: AsyncExitStack,
) -> None:
    gated = Gated("b", "c", "d")
    recording_upstream.script = gated
    asker = Asker(await start_proxy(recording_upstream.url, queue_depth=3), stack, api)
    clients = [await asker.send(text) for text in "abcd"]
    too_many = await (await asker.send("e")).read_answer()
    refused(api, too_many, 409, "conversation_busy")
    assert one(too_many, b"Retry-After") == "1"
    assert len(recording_upstream.requests) == 1  # so that b, c and d are those that wait
    gated.open("a")
    for client in clients:
        assert (await client.read_answer()).complete
    assert [forwarded(request.body) for request in recording_upstream.requests] == [
        ["a"],
        ["a", "to a", "b"],
        ["a", "to a", "b", "to b", "c"],
        ["a", "to a", "b", "to b", "c", "to c", "d"],
    ]


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_nobody_waits_for_ever(
    api: Api,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    stack: AsyncExitStack,
) -> None:
    gated = Gated()
    recording_upstream.script = gated
    proxy = await start_proxy(recording_upstream.url, queue_seconds=0.05)
    asker = Asker(proxy, stack, api)
    first = await asker.send("a")
    refused(api, await (await asker.send("b")).read_answer(), 409, "conversation_busy")
    gated.open("a")
    assert (await first.read_answer()).complete
    assert len(recording_upstream.requests) == 1
    assert len(await User(proxy.url).turns("c")) == 1


async def test_who_leaves_the_queue_gives_up_the_place(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, stack: AsyncExitStack
) -> None:
    gated = Gated("c", "d")
    recording_upstream.script = gated
    asker = Asker(await start_proxy(recording_upstream.url, queue_depth=1), stack, APIS[0])
    first = await asker.send("a")
    leaving = await asker.send("b")
    assert (await (await asker.send("c")).read_answer()).status == 409
    leaving.reset()
    await asker.settled()
    last = await asker.send("d")
    gated.open("a")
    assert (await first.read_answer()).complete
    assert (await last.read_answer()).complete
    asked = [forwarded(request.body)[-1] for request in recording_upstream.requests]
    assert asked == ["a", "d"]


async def test_other_conversations_do_not_wait(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, stack: AsyncExitStack
) -> None:
    gated = Gated("b", "c", "d", "e")
    recording_upstream.script = gated
    proxy = await start_proxy(recording_upstream.url, queue_depth=0)
    first = await Asker(proxy, stack, APIS[0]).send("a")
    ada = User(proxy.url)
    others = [
        ada.ask("b", ("Backstory-Conversation", "other")),
        User(proxy.url, "bob").ask("c", NAMED),
        User(proxy.url, tenant="other").ask("d", NAMED),
        ada.ask("e", NAMED, ("Backstory-Memory", "off")),
    ]
    for answer in await asyncio.gather(*others):
        assert (answer.status, answer.complete) == (200, True)
    gated.open("a")
    assert (await first.read_answer()).complete


async def test_a_conversation_is_free_again_after_an_error(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """Whatever ends an exchange, the next one need not wait."""
    proxy = await start_proxy(recording_upstream.url, queue_depth=0)
    user = User(proxy.url)
    recording_upstream.script = Answer([HEAD + chunk(b"cut")], "rst")
    assert not (await user.ask("a", NAMED)).complete
    recording_upstream.script = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    assert (await user.ask("b", NAMED)).status == 500
    recording_upstream.script = b"no HTTP at all\r\n\r\n"
    assert (await user.ask("c", NAMED)).status == 502
    assert (await user.ask("d", NAMED, ("If-Match", '"7"'))).status == 412
    recording_upstream.script = falcon_answer("one")
    assert (await user.ask("e", NAMED)).complete
    assert await user.turns("c") == [["e", "one"]]


async def test_if_match_refuses_what_was_changed_meanwhile(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, stack: AsyncExitStack
) -> None:
    """Two that saw version 1 ask at once: one of them is told that it is outdated."""
    gated = Gated("a")
    recording_upstream.script = gated
    proxy = await start_proxy(recording_upstream.url)
    new = await User(proxy.url).ask("a", NAMED, ("If-Match", '"0"'))
    assert new.complete
    asker = Asker(proxy, stack, CHAT)
    first = await asker.send("b", NAMED, ("If-Match", '"1"'))
    second = await asker.send("c", NAMED, ("If-Match", '"1"'))
    gated.open("b")
    won = await first.read_answer()
    assert won.status == 200
    assert ";version=1;" in (one(won, b"Backstory-Memory") or "")
    refused(CHAT, await second.read_answer(), 412, "version_mismatch")
    assert [forwarded(r.body)[-1] for r in recording_upstream.requests] == ["a", "b"]
    assert not any(request.values(b"if-match") for request in recording_upstream.requests)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_what_is_erased_while_an_answer_is_on_its_way_stays_erased(
    store: str, tmp_path: Path, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path}/b.db"
    proxy = await start_proxy(recording_upstream.url, store=url)
    user = User(proxy.url)
    assert (await user.ask("a", NAMED)).complete
    gate = asyncio.Event()
    recording_upstream.script = Answer([HEAD + chunk(b"se"), gate, chunk(b"cret") + b"0\r\n\r\n"])
    async with RawClient(proxy.url) as client:
        await client.send(user.question("b", NAMED))
        answer = await client.read_head()
        turn = one(answer, b"Backstory-Turn")
        assert (await user.manage("c", method="DELETE")).status == 204
        gate.set()
        body = await client.read_body(answer)
    assert (body.complete, body.content) == (True, b"secret")
    assert (await user.manage("c")).status == 404
    assert (await user.manage("c", f"/turns/{turn}")).status == 404
    recording_upstream.script = falcon_answer("new")
    again = await user.ask("d", NAMED)
    assert (one(again, b"Backstory-Memory") or "").startswith("new;")
    assert forwarded(recording_upstream.requests[-1].body) == ["d"]


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "new"])
async def test_two_processes_keep_both_turns_and_one_is_a_branch(
    begun: bool, tmp_path: Path, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """Their queues do not know each other; the store's compare-and-set does."""
    store = f"sqlite:///{tmp_path}/b.db"
    here = await start_proxy(recording_upstream.url, store=store)
    there = await start_proxy(recording_upstream.url, store=store)
    gated = Gated("a")
    recording_upstream.script = gated
    user = User(here.url)
    before = [["a", "to a"]] if begun else []
    if begun:
        await user.ask("a", NAMED)
    async with asyncio.TaskGroup() as group:
        lost = group.create_task(User(there.url).ask("loser", NAMED))
        await recording_upstream.wait_for_request(len(before) + 1)
        won = group.create_task(user.ask("winner", NAMED))
        await recording_upstream.wait_for_request(len(before) + 2)
        gated.open("winner")
        assert (await won).complete
        gated.open("loser")
    assert lost.result().complete
    assert await user.turns("c") == [*before, ["winner", "to winner"]]
    facts = json.loads((await user.manage("c")).content)
    assert facts["version"] == len(before) + 2
    branches = []
    for answer in (won.result(), lost.result()):
        found = await user.manage("c", f"/turns/{one(answer, b'Backstory-Turn')}")
        assert found.status == 200
        branches.append(json.loads(found.content))
    assert branches[0]["parent"] == branches[1]["parent"]
    assert (branches[0]["parent"] is not None) == begun
    assert [m["content"] for m in branches[1]["messages"]] == ["loser", "to loser"]
    gated.open("next")
    assert (await User(there.url).ask("next", NAMED)).complete
    told = forwarded(recording_upstream.requests[-1].body)
    assert told == [text for turn in before for text in turn] + ["winner", "to winner", "next"]


async def test_the_end_of_an_answer_frees_the_conversation_for_who_saw_it(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """A client that asks on as soon as it saw the end marker finds its turn stored."""
    recording_upstream.script = Answer([HEAD + chunk(b"one") + chunk(FALCON_END) + b"0\r\n\r\n"])
    proxy = await start_proxy(recording_upstream.url)
    user = User(proxy.url)
    async with RawClient(proxy.url) as client:
        await client.send(user.question("a", NAMED))
        await client.connection.read_until(FALCON_END)
        recording_upstream.script = falcon_answer("two")
        await client.connection.read_until(b"0\r\n\r\n")
        await client.send(user.question("b", NAMED))  # on the same connection
        assert (await client.read_answer()).complete
    assert forwarded(recording_upstream.requests[-1].body) == ["a", "one", "b"]

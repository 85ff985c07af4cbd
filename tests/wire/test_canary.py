"""A hundred people at once, each with a secret: it is never in anything that belongs to another.

They share what people share by accident: names of conversations, a cookie jar, a subject in
another tenant. The upstream repeats every secret that it is sent, so that one that strays would
be remembered and stray further.
"""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.wire.answers import chat_json, chat_stream, falcon_answer
from tests.wire.conftest import Proxy, StartProxy
from tests.wire.talking import CHAT, FALCON, NAMED, Api, one
from tests.wire.upstreams import RecordingUpstream, Request
from tests.wire.users import Jar, User

PEOPLE = 100
TURNS = 4
CANARY = re.compile(rb"canary-\d{4}")
WAYS = ("header", "prefix", "own jar", "shared jar")


@dataclass
class Person:
    """Somebody with a secret."""

    number: int
    user: User
    conversations: set[str] = field(default_factory=set)
    """As the answers named them."""
    receipts: list[str] = field(default_factory=list)

    @property
    def way(self) -> str:
        """How they name their conversation. Every fourth person has the same one."""
        return WAYS[self.number % len(WAYS)]

    @property
    def canary(self) -> bytes:
        """The secret."""
        return b"canary-%04d" % self.number

    async def talk(self, everybody: asyncio.Barrier) -> None:
        """Tell the secret once, then go on in both dialects; nothing of another comes back.

        ``everybody``: they begin their second turns together, so that those behind one jar send
        one cookie.
        """
        for turn in range(TURNS):
            if turn == 1:
                await everybody.wait()
            text = f"Keep {self.canary.decode()}." if turn == 0 else f"Question {turn}"
            headers = [("X-Person", str(self.number))]
            if self.way == "header":
                headers.append(NAMED)
            answer = await self.user.ask(
                text,
                *headers,
                api=(FALCON, CHAT)[(self.number + turn) % 2],
                stream=turn % 2 == 0,
                prefix="/-/c/c" if self.way == "prefix" else "",
            )
            assert answer.status == 200
            assert answer.complete
            self.conversations.add(one(answer, b"Backstory-Conversation") or "")
            self.receipts.append(one(answer, b"Backstory-Memory") or "")
            self.owns(answer.content, answer.head.raw)

    def owns(self, *data: bytes) -> None:
        """No secret but this person's is in ``data``."""
        found = {canary for piece in data for canary in CANARY.findall(piece)}
        assert found <= {self.canary}

    @property
    def remembers(self) -> bool:
        """Whether every turn saw the ones before it: behind a shared jar nobody is sure to."""
        return self.way != "shared jar"


def people(proxy: Proxy) -> list[Person]:
    """A hundred: fifty subjects in two tenants each, the ways to name a conversation mixed."""
    shared: Jar = {}
    jars: dict[str, Jar | None] = {"shared jar": shared}
    found = []
    for number in range(PEOPLE):
        subject, tenant = f"subject{number % 50}", f"team{number // 50}"
        jar = jars.get(WAYS[number % 4], {} if number % 4 == 2 else None)
        found.append(Person(number, User(proxy.url, subject, tenant, jar)))
    return found


def repeat(request: Request) -> bytes:
    """An answer with every secret that was sent, in the API's own framing."""
    secrets = sorted(set(CANARY.findall(request.raw_head + request.body)))
    text = b" ".join([b"I know", *secrets]).decode()
    if request.target.startswith(b"/conversation"):
        return falcon_answer(text)
    streamed = json.loads(request.body).get("stream")
    return chat_stream(text) if streamed else chat_json(text)


def sender(request: Request) -> int:
    """The number of the person who asked."""
    return int(request.values(b"x-person")[0])


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every log line of ours. Not by ``caplog``, with which pytest writes files on the event loop."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    ours, keep = logging.getLogger("backstory"), Keep()
    monkeypatch.setattr(ours, "propagate", False)
    monkeypatch.setattr(ours, "handlers", [keep])
    before = ours.level
    ours.setLevel(logging.DEBUG)
    yield lines
    ours.setLevel(before)


async def test_nobody_ever_sees_the_secret_of_another(
    tmp_path: Path,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    logged: list[str],
) -> None:
    recording_upstream.script = repeat
    store = f"sqlite:///{tmp_path}/b.db"
    proxy = await start_proxy(recording_upstream.url, store=store)
    everybody = people(proxy)
    together = asyncio.Barrier(PEOPLE)
    await asyncio.gather(*(person.talk(together) for person in everybody))

    asked: dict[int, list[Request]] = {person.number: [] for person in everybody}
    for request in recording_upstream.requests:
        asked[sender(request)].append(request)
    for person in everybody:
        requests = asked[person.number]
        assert len(requests) == TURNS
        for request in requests:
            person.owns(request.raw_head, request.body)
            assert not request.values(b"cookie")
            if person.remembers:
                assert person.canary in request.body  # or this test would prove nothing
    second = [person.receipts[1] for person in everybody if person.way == "shared jar"]
    assert sum(r.endswith(";reason=foreign_cookie") for r in second) == len(second) - 1
    await asyncio.gather(*(nothing_is_shown_to(person, everybody) for person in everybody))
    assert len(logged) >= PEOPLE * TURNS
    assert not CANARY.search("\n".join(logged).encode())


async def nothing_is_shown_to(person: Person, everybody: list[Person]) -> None:
    """The management API shows a person's own conversations, and none of the next ones'."""
    for name in person.conversations:
        told = await person.user.turns(name)
        person.owns(json.dumps(told).encode())
        assert told
        if person.remembers:
            assert len(told) == TURNS
            assert person.canary.decode() in told[0][0]
    unknown = (await person.user.manage("conv_unknown", "/turns")).content
    for step in (1, 2, 3, 4, 50):
        other = everybody[(person.number + step) % PEOPLE]
        for name in other.conversations - person.conversations:
            if not is_of_a_namesake(name):
                answer = await person.user.manage(name, "/turns")
                assert (answer.status, answer.content) == (404, unknown)


def is_of_a_namesake(name: str) -> bool:
    """Whether it is the name that half of the people chose."""
    return name == NAMED[1]


async def test_erasing_a_conversation_erases_nobody_elses(
    tmp_path: Path, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, store=f"sqlite:///{tmp_path}/b.db")
    ada, bob, namesake = (
        User(proxy.url, "ada"),
        User(proxy.url, "bob"),
        User(proxy.url, "ada", "other"),
    )
    for user in (ada, bob, namesake):
        await user.ask(f"I am {user.subject} of {user.tenant}", NAMED)
    assert (await bob.manage("c", method="DELETE")).status == 204
    assert await ada.turns("c") == [["I am ada of acme", "ok"]]
    assert await bob.turns("c") == []
    assert await namesake.turns("c") == [["I am ada of other", "ok"]]


@pytest.mark.parametrize("api", [FALCON, CHAT], ids=str)
async def test_what_divides_tenant_and_subject_divides_people(
    api: Api, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """``a`` of ``b/c`` is not ``a/b`` of ``c``, whatever a store puts between the two."""
    recording_upstream.script = repeat
    proxy = await start_proxy(recording_upstream.url)
    names = [("a", "b"), ("a:b", "c"), ("a", "b:c"), ("a/b", "c"), ("a", "b/c"), ("A", "B")]
    for number, (tenant, subject) in enumerate(names):
        user = User(proxy.url, subject, tenant)
        answer = await user.ask(f"canary-{number:04}", NAMED, api=api)
        assert (one(answer, b"Backstory-Memory") or "").startswith("new;")
        assert set(CANARY.findall(answer.content)) == {b"canary-%04d" % number}

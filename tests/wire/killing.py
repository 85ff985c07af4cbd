"""Clients that talk to a server while somebody kills it, at random moments, again and again."""

import asyncio
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Protocol

from tests.wire.answers import FALCON_END, Framing, chat_json, chat_stream, falcon_answer
from tests.wire.clients import RawClient, Received, request
from tests.wire.connection import DEADLINE_SECONDS, Ended
from tests.wire.durability import Ledger, Stored
from tests.wire.server import ForkedServer
from tests.wire.talking import AUTHORIZATION, CHAT, FALCON
from tests.wire.upstreams import Answer, RecordingUpstream, Request, Step

ROUNDS_OF_A_CONVERSATION = 25
"""Kills after which every client begins another one: first turns are killed as well."""
LONGEST_ROUND_SECONDS = 0.06
MOST_ENDS_IN_A_ROUND = 12

_QUESTION = re.compile(rb"question [0-9]+-[0-9a-f]+")
_WORDS = ("a", "naïve", "漢字", "<|end", "|>", "data:", "[DONE]", "\\n", '"}', "0", "Human:")


class _Spell(Protocol):
    def __call__(self, text: str, framing: Framing) -> bytes: ...


@dataclass(frozen=True)
class Way:
    """How a client asks, and how the upstream answers it."""

    target: str
    streamed: bool
    spell: _Spell
    framing: Framing
    end: bytes = b""
    """What says in the body that it is complete; empty: only the framing does."""

    def asked(self, question: str) -> object:
        """The body of a request."""
        if self.target == FALCON.target:
            return {"text": question, "max_tokens": 64}
        return {"stream": self.streamed, "messages": [{"role": "user", "content": question}]}

    def body(self, text: str) -> bytes:
        """The body of the answer, without its framing."""
        return self.spell(text, "length").partition(b"\r\n\r\n")[2]

    def shows_end(self, text: str, received: Received) -> bool:
        """Whether who received this may know that the answer is complete."""
        free = self.body(text).rpartition(self.end)[0] if self.end else self.body(text)
        return received.complete or len(received.content) > len(free)


_unmarked = partial(falcon_answer, marker=False)
FALCON_CHUNKED = Way(FALCON.target, True, falcon_answer, "chunked", FALCON_END)
FALCON_SIZED = Way(FALCON.target, True, _unmarked, "length")
CHAT_CHUNKED = Way(CHAT.target, True, chat_stream, "chunked", b"data: [DONE]")
CHAT_SIZED = Way(CHAT.target, False, chat_json, "length")

CLIENTS = (
    ("ada", FALCON_CHUNKED),
    ("bob", CHAT_CHUNKED),
    ("cyd", CHAT_SIZED),
    ("dan", FALCON_SIZED),
    ("both", CHAT_CHUNKED),
    ("both", FALCON_CHUNKED),
)
"""The conversation of each client, and how it asks. The last two share one."""


@dataclass
class Moment:
    """When the next kill is due: at some time, or when so many ends have been seen."""

    ends: int = 0
    due: asyncio.Event = field(default_factory=asyncio.Event)

    def end_seen(self) -> None:
        """A client saw the end of an answer just now."""
        self.ends -= 1
        if not self.ends:
            self.due.set()


class Traffic:
    """Every client, and whoever kills the server under them."""

    def __init__(self, server: ForkedServer, upstream: RecordingUpstream, seed: int) -> None:
        """Nobody talks yet. ``server`` runs already."""
        self.ledger = Ledger()
        self.kills = 0
        self.surprises: list[str] = []
        """What clients saw that no kill explains."""
        self._server = server
        self._upstream = upstream
        self._random = random.Random(seed)
        self._up = asyncio.Event()
        self._calm = asyncio.Event()
        self._calm.set()
        self._moment = Moment()
        self._answers: dict[bytes, bytes] = {}
        self._over = False
        upstream.script = self._answer

    async def run(self, rounds: int) -> None:
        """Kill the server ``rounds`` times under its clients; it runs before and after."""
        self._over = False
        async with asyncio.TaskGroup() as group:
            for conversation, way in CLIENTS:
                _ = group.create_task(self._client(conversation, way))  # held by the group
            for _ in range(rounds):
                await self._round()
            self._over = True
            self._up.set()
        self._up.clear()

    async def stored(self, conversations: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        """What the server remembers of them."""
        return {name: await stored_turns(self._server.url, name) for name in conversations}

    def problems(self, stored: Stored) -> list[str]:
        """What the oracle says, what surprised the clients, and what the server complained of."""
        return self.ledger.problems(stored) + self.surprises + self._server.complaints()

    @property
    def conversations(self) -> list[str]:
        """All that there have been, the newest last."""
        return list(dict.fromkeys(a.conversation for a in self.ledger.attempts.values()))

    async def _round(self) -> None:
        loop, self._moment = asyncio.get_running_loop(), Moment()
        after = self._random.uniform(0, LONGEST_ROUND_SECONDS)
        if self._random.random() < 0.5:
            self._moment.ends = self._random.randint(1, MOST_ENDS_IN_A_ROUND)
            after = DEADLINE_SECONDS
        timer = loop.call_later(after, self._moment.due.set)
        self._up.set()
        await self._moment.due.wait()
        timer.cancel()
        self._up.clear()
        assert await self._server.kill() == -9
        self.kills += 1
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._calm.wait()
        self._upstream.requests.clear()  # those of thousands of rounds would fill the memory
        await self._server.start()

    async def _client(self, name: str, way: Way) -> None:
        while not self._over:
            await self._up.wait()
            try:
                async with RawClient(self._server.url) as client:
                    while self._up.is_set() and not self._over:
                        conversation = f"{name}-{self.kills // ROUNDS_OF_A_CONVERSATION}"
                        await self._turn(client, conversation, way)
            except (Ended, ConnectionError) as cut:
                if self._up.is_set():
                    self.surprises.append(f"{name} was cut without a kill: {cut}")
                    return

    async def _turn(self, client: RawClient, conversation: str, way: Way) -> None:
        number = len(self.ledger.attempts)
        question = f"question {number}-{self._random.getrandbits(48):x}"
        words = self._random.choices(_WORDS, k=self._random.randint(0, 40))
        text = " ".join([f"answer {number}", *words, "."])
        attempt = self.ledger.begin(conversation, question, text)
        self._answers[question.encode()] = way.spell(text, way.framing)
        self._calm.clear()
        seen = False
        try:
            named = ("Backstory-Conversation", conversation)
            await client.post(way.target, way.asked(question), AUTHORIZATION, named)
            received = await client.read_answer()
            seen = way.shows_end(text, received)
            if received.status != 200 or not way.body(text).startswith(received.content):
                self.surprises.append(f"{question}: {received.status} {received.content!r}")
            if not received.complete:
                raise Ended("rst", received.content)
        finally:
            self.ledger.end(attempt, acknowledged=seen)
            if seen:
                self._moment.end_seen()
            del self._answers[question.encode()]
            if not self._answers:
                self._calm.set()

    def _answer(self, asked: Request) -> Answer:
        """In a few pieces, each a moment after the other."""
        answer = self._answers.get(_QUESTION.findall(asked.body)[-1])
        if answer is None:
            return Answer((), "rst")  # its client has left: the server was killed
        cuts = sorted(self._random.choices(range(1, len(answer)), k=self._random.randint(0, 4)))
        steps: list[Step] = []
        after = 0.0
        for begin, end in pairwise([0, *cuts, len(answer)]):
            gate = asyncio.Event()
            after += self._random.uniform(0, 0.004)
            asyncio.get_running_loop().call_later(after, gate.set)
            steps += (gate, answer[begin:end])
        return Answer(steps)


async def stored_turns(url: str, conversation: str) -> list[tuple[str, str]]:
    """Question and answer of each turn, in order, as the server tells them; none if it knows none."""
    turns: list[tuple[str, str]] = []
    target = f"/-/v1/conversations/{conversation}/turns?limit=1000"
    after = ""
    async with RawClient(url) as client:
        while True:
            await client.send(request("GET", target + after, b"", AUTHORIZATION))
            received = await client.read_answer()
            if received.status == 404:
                return turns
            assert received.status == 200
            page = json.loads(received.content)
            turns += [_told(turn) for turn in page["turns"]]
            if page["next"] is None:
                return turns
            after = f"&after={page['next']}"


def _told(turn: dict[str, list[dict[str, str]]]) -> tuple[str, str]:
    """What was asked and what was said; more than one message of either would be two turns."""
    asked, said = turn["messages"]
    return asked["content"], said["content"]

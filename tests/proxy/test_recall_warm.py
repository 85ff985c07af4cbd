"""What is at hand is what the store says: after anything, a memory that has just begun tells the same."""

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.proxy.chats import ADA, CHAT, Chat, chat_in, forwarded, spelled

from backstory.align import Decision
from backstory.model import Answer, Remedy, Reply
from backstory.recall import Memory, Recalled
from backstory.settings import MemorySettings
from backstory.spi import Store
from backstory_plugins.policies.tokens import Tokens
from backstory_plugins.policies.turns import Turns
from backstory_plugins.stores.memory import MemoryStore
from backstory_plugins.stores.sqlite import SqliteStore

STEPS = 40
SETTINGS = (
    MemorySettings(),
    MemorySettings(max_history_turns=3),
    MemorySettings(max_history_tokens=60),
    MemorySettings(max_history_turns=5, sticky_system=False),
)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = MemoryStore() if request.param == "memory" else SqliteStore(str(tmp_path / "test.db"))
    yield (await chat_in(store)).memory.store
    await store.close()


class Story:
    """A conversation by chance."""

    def __init__(self, chance: random.Random, chat: Chat) -> None:
        self._chance, self._chat = chance, chat
        self._said = 0

    async def question(self) -> str:
        """The next request in letters, however a client may keep its history."""
        new = f"u{self._next()}"
        said = (await self._chat.path()).split() if await self._exists() else []
        if said and said[-1].startswith("c") and self._chance.random() < 0.7:
            new = f"t{said[-1][1]}"
        ends = [at for at, each in enumerate(said, 1) if each[0] in "ac"]
        match self._chance.randrange(7):
            case 0:
                return " ".join([*said, new])
            case 1 if ends:  # a window
                return " ".join([*said[self._chance.randrange(len(said)) :], new])
            case 2 if ends:  # a fork, or what was asked last once more
                return " ".join([*said[: self._chance.choice(ends)], f"u{self._next()}"])
            case 3 if said and said[-2][0] == "u":
                return " ".join(said[:-1])
            case 4:
                return f"s{self._next()} {new}"
            case _:
                return new

    def reply(self, to: Recalled) -> Reply:
        """Text or a call, sometimes with reasoning."""
        calls = self._chance.random() < 0.2
        message = spelled(f"c{self._chance.choice('xyz')}" if calls else f"a{self._next()}")
        if self._chance.random() < 0.3:
            message["reasoning_content"] = "hm"
        body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
        return CHAT.read_reply(to.prompt, Answer(200, "application/json", body, proved=True))

    def _next(self) -> int:
        self._said += 1
        return self._said

    async def _exists(self) -> bool:
        found = await self._chat.memory.store.load(ADA, "c")
        return found is not None and found.head is not None


@pytest.mark.parametrize("seed", range(24))
async def test_whatever_is_at_hand_is_told_as_if_it_were_read(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    settings, policy = chance.choice(SETTINGS), chance.choice((Tokens(), Turns()))

    def begun() -> Chat:
        return Chat(Memory(store, settings, policy))

    warm = begun()
    story = Story(chance, warm)
    for _ in range(STEPS):
        asked = await story.question()
        at_hand, read = await warm.ask(asked), await begun().ask(asked)
        assert forwarded(at_hand) == forwarded(read), asked
        assert at_hand.body() == read.body()
        assert (at_hand.receipt, at_hand.tokens) == (read.receipt, read.tokens)
        if at_hand.conversation.key == read.conversation.key:  # it is stored
            assert (at_hand.prompt, at_hand.plan) == (read.prompt, read.plan)
            assert at_hand.new == read.new
        remedy = chance.choice((None, None, None, *Remedy))
        if remedy and at_hand.history:
            again, also = (
                m.memory.remedied(r, remedy) for m, r in ((warm, at_hand), (begun(), read))
            )
            assert (again and again.body()) == (also and also.body())
            assert (again and again.receipt) == (also and also.receipt)
            at_hand, read = again or at_hand, also or read
        match chance.randrange(10):
            case 0:
                pass  # the upstream failed: no turn
            case 1:
                await begun().memory.commit(read, story.reply(read))  # another process answered it
            case 2:
                await warm.memory.commit(at_hand, story.reply(at_hand))
                also_ran = read._replace(turn=f"{read.turn}!")
                await begun().memory.commit(also_ran, story.reply(read))
            case 3 if chance.random() < 0.3:
                await warm.memory.erase(ADA, "c")
            case 4 if chance.random() < 0.3:
                await store.erase(ADA, "c")
            case _:
                await warm.memory.commit(at_hand, story.reply(at_hand))


async def test_a_call_that_is_too_far_back_to_be_told_is_not_at_hand_either(store: Store) -> None:
    settings = MemorySettings(max_history_turns=2)
    warm, cold = (Chat(Memory(store, settings, Tokens())) for _ in range(2))
    await warm.say("u1 cx tx a1 u2 a2 u3 a3 u4 a4 u5", "a5")
    at_hand, read = await warm.ask("tx"), await cold.ask("tx")
    assert at_hand.plan == read.plan
    assert at_hand.plan.decision is Decision.ORPHAN_TOOL_RESULT

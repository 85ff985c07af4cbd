"""A conversation in many dialects: what is at hand is told as if it were read, whoever spoke last."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.proxy.chats import ADA, chat_in
from tests.proxy.tongues import TONGUES, Tongue

from backstory.model import Prompt, Remedy, Reply
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
NAME = "c"
FORKED_BEHIND_A_CUT = 317
"""Here a turn is continued by name that another process has left behind, and that is still at hand."""


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = MemoryStore() if request.param == "memory" else SqliteStore(str(tmp_path / "test.db"))
    yield (await chat_in(store)).memory.store
    await store.close()


class Client:
    """Says something by chance, in one dialect after another, and believes its own transcript."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._said: list[str] = []
        self._asked: list[str] = []
        self._numbers = 0
        self.tongue = TONGUES[0]

    def asks(self) -> bytes:
        """The next request."""
        if self._chance.random() < 0.6:
            self.tongue = self._chance.choice(TONGUES)
        said, chance = self._said, self._chance
        new = [f"u{self._next()}"]
        if said and said[-1][0] == "c" and chance.random() < 0.8:
            new = [f"t{ident}" for ident in said[-1][1:]]
        if self.tongue is TONGUES[-1]:  # a raw prompt has no room for more
            new = [f"u{self._next()}"]
        ends = [at for at, each in enumerate(said, 1) if each[0] in "ac"]
        self._asked, sent = [*said, *new], new
        match chance.randrange(10):
            case 0:
                sent = self._asked
            case 2 if ends:  # a window
                sent = [*said[chance.randrange(len(said)) :], *new]
            case 3 if ends:  # a fork, or what was asked last once more
                sent = self._asked = [*said[: chance.choice(ends)], f"u{self._next()}"]
            case 4 if len(said) > 1 and said[-2][0] == "u":
                sent = self._asked = said[:-1]
            case 5:
                sent = [f"s{self._next()}", *new]
            case _:
                pass
        return self.tongue.ask(" ".join(sent))

    def hears(self, to: Recalled) -> Reply:
        """The reply: text or calls, sometimes with reasoning."""
        chance = self._chance
        calls = chance.random() < 0.25 and self.tongue is not TONGUES[-1]
        letters = f"a{self._next()}"
        if calls:
            letters = "c" + "".join(chance.sample("xyz", chance.choice((1, 1, 2))))
        self._said = [*self._asked, letters]
        return self.tongue.reply(to.prompt, letters, reasoned=chance.random() < 0.3)

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers


def read(memory: Memory, tongue: Tongue, body: bytes) -> Prompt:
    """The prompt, with what the memory knows of its beginning."""
    begun = memory.transcripts.beginning(ADA, NAME, tongue.dialect, body)
    prompt = tongue.dialect.read_prompt(body, begun)
    assert prompt is not None, body
    assert prompt.new, body
    return prompt


def same(at_hand: Recalled, cold: Recalled, of: object) -> None:
    """Both memories tell the same."""
    assert at_hand.body() == cold.body(), of
    assert (at_hand.receipt, at_hand.tokens) == (cold.receipt, cold.tokens), of
    assert at_hand.pinned == cold.pinned
    if at_hand.conversation.key == cold.conversation.key:  # it is stored
        assert (at_hand.prompt, at_hand.new) == (cold.prompt, cold.new), of
        assert at_hand.conversation == cold.conversation
        assert at_hand.plan == cold.plan, of


@pytest.mark.parametrize("seed", [*range(24), FORKED_BEHIND_A_CUT])
async def test_whoever_spoke_last_what_is_at_hand_is_told_as_if_it_were_read(
    store: Store, seed: int
) -> None:
    chance = random.Random(seed)
    settings, policy = chance.choice(SETTINGS), chance.choice((Tokens(), Turns()))

    def begun() -> Memory:
        return Memory(store, settings, policy)

    warm, client = begun(), Client(chance)
    turns: list[str] = []
    told = Counter[str]()
    for step in range(STEPS):
        body = client.asks()
        tongue, cold = client.tongue, begun()
        where = (seed, step, str(tongue), body)
        after = chance.choice(turns) if turns and chance.random() < 0.1 else None
        at_hand, fresh = [
            await m.recall(ADA, NAME, tongue.dialect, read(m, tongue, body), after=after)
            for m in (warm, cold)
        ]
        same(at_hand, fresh, where)
        remedy = chance.choice((None, None, None, *Remedy))
        if remedy and at_hand.history:
            again, also = warm.remedied(at_hand, remedy), cold.remedied(fresh, remedy)
            assert (again is None) == (also is None)
            if again and also:
                same(again, also, where)
                at_hand, fresh = again, also
        if at_hand.history:
            told[tongue.dialect.name] += 1
        match chance.randrange(10):
            case 0:
                continue  # the upstream failed: no turn
            case 1:  # another process answered it
                kept, reply = fresh, client.hears(fresh)
                await begun().commit(kept, reply)
            case 2:
                kept, reply = at_hand, client.hears(at_hand)
                await warm.commit(kept, reply)
                await begun().commit(fresh._replace(turn=f"{fresh.turn}!"), reply)
            case 3 if chance.random() < 0.3:
                await chance.choice((warm, store)).erase(ADA, NAME)
                turns.clear()
                continue
            case _:
                kept, reply = at_hand, client.hears(at_hand)
                await warm.commit(kept, reply)
        assert reply.verdict.kept, where
        if await store.turn(ADA, NAME, kept.turn):
            turns.append(kept.turn)
    assert told, "nothing was told: nothing is shown"

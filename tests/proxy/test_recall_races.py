"""What happens meanwhile: another exchange, an erasure, a store that hangs.

Nothing is lost, nothing interleaved, nothing revived, and nobody waits for ever.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from tests.proxy.chats import ADA, Chat, chat_in, forwarded

from backstory.align import Decision
from backstory.errors import StoreUnavailable, VersionConflict
from backstory.model import Conversation, Owner, Turn
from backstory.recall import Memory
from backstory.settings import MemorySettings
from backstory_plugins.policies.tokens import Tokens
from backstory_plugins.stores.memory import MemoryStore
from backstory_plugins.stores.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def chat(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Chat]:
    store = MemoryStore() if request.param == "memory" else SqliteStore(str(tmp_path / "test.db"))
    yield await chat_in(store)
    await store.close()


async def test_who_loses_a_race_becomes_a_branch(chat: Chat) -> None:
    await chat.say("u1", "a1")
    first, second = await chat.ask("u2"), await chat.ask("u3")
    assert await chat.commit(first, "a2") is None
    assert await chat.commit(second, "a3") is None
    assert (await chat.stored()).version == 3
    assert await chat.path() == "u1 a1 u2 a2"
    assert await chat.path(second.turn) == "u1 a1 u3 a3"
    assert forwarded(await chat.ask("u4")) == "u1 a1 u2 a2 u4"
    assert (await chat.ask("u1 a1 u3 a3 u4")).plan.decision is Decision.FORK


async def test_a_conversation_may_be_made_twice_at_once(chat: Chat) -> None:
    first, second = await chat.ask("s1 u1"), await chat.ask("s2 u8 a8 u9")
    assert first.conversation.key != second.conversation.key
    assert await chat.commit(first, "a1") is None
    assert await chat.commit(second, "a9") is None
    stored = await chat.stored()
    assert (stored.version, stored.key, stored.single_use) == (2, first.conversation.key, False)
    assert (len(stored.pinned), b"s1" in stored.pinned[0]) == (1, True)
    assert await chat.path() == "u1 a1"
    assert await chat.path(second.turn) == "u8 a8 u9 a9"
    assert (await chat.ask("u1 a1 u2")).plan.decision is Decision.EXTEND
    loser = await chat.ask("u8 a8 u9 a9 u2")
    assert loser.plan.decision is Decision.FORK, "its fingerprints are those of the conversation"
    assert (await chat.ask("u8 a8 u2")).plan.decision is Decision.FORK
    assert (await chat.ask("u8 a7 u2")).plan.decision is Decision.FORK_IMPORT


async def test_what_a_loser_sent_does_not_change_what_is_known_of_the_client(chat: Chat) -> None:
    await chat.say("s1 u1", "a1")
    first, second = await chat.ask("u2"), await chat.ask("s9 u1 a1 u3")
    await chat.commit(first, "a2")
    await chat.commit(second, "a3")
    stored = await chat.stored()
    assert (stored.mode, b"s1" in stored.pinned[0]) == ("delta", True)
    assert stored.longest_claim == 2


async def test_a_question_beside_it_does_not_push_the_conversation_from_its_path(
    chat: Chat,
) -> None:
    await chat.say("u1", "a1", "transcript")
    turn, beside = await chat.ask("u1 a1 u2", "transcript"), await chat.ask("u9", "transcript")
    assert beside.plan.decision is Decision.DETACHED
    await chat.commit(beside, "a9")
    await chat.commit(turn, "a2")
    assert await chat.path() == "u1 a1 u2 a2"


@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
async def test_many_at_once_are_all_stored_and_counted(chat: Chat, begun: bool) -> None:
    if begun:
        await chat.say("u0", "a0")
    many = await asyncio.gather(*(chat.ask(f"u{number}") for number in range(1, 9)))
    random.Random(1).shuffle(many)
    done = await asyncio.gather(
        *(chat.commit(recalled, f"a{at}") for at, recalled in enumerate(many))
    )
    assert done == [None] * 8
    stored = await chat.stored()
    assert stored.version == 8 + begun
    paths = [await chat.path(recalled.turn) for recalled in many]
    assert await chat.path() in paths
    before = "u0 a0 " if begun else ""
    expected = [f"{before}{asked(recalled.prompt.body)} a{at}" for at, recalled in enumerate(many)]
    assert paths == expected


def asked(body: bytes) -> str:
    return body.rpartition(b'"content": "')[2].partition(b'"')[0].decode()


@pytest.mark.parametrize("claims", ["u2", "u1 a1 u2", "u8 a8 u2"])
async def test_what_was_erased_meanwhile_stays_erased(chat: Chat, claims: str) -> None:
    await chat.say("u1", "a1")
    recalled = await chat.ask(claims)
    assert await chat.memory.store.erase(ADA, "c")
    assert await chat.commit(recalled, "a2") == "erased"
    assert await chat.memory.store.load(ADA, "c") is None


@pytest.mark.parametrize("claims", ["u2", "u1 a1 u2", "u8 a8 u2"])
async def test_what_was_erased_and_made_anew_meanwhile_is_another_one(
    chat: Chat, claims: str
) -> None:
    await chat.say("u1", "a1")
    recalled = await chat.ask(claims)
    await chat.memory.store.erase(ADA, "c")
    await chat.say("u1", "a1")
    await chat.say("u5", "a5")
    before = await chat.stored()
    assert await chat.commit(recalled, "a2") == "erased"
    assert await chat.stored() == before
    assert await chat.path() == "u1 a1 u5 a5"
    assert await chat.turns(recalled.turn) == ()


async def test_a_conversation_that_was_new_may_be_erased_meanwhile_too(chat: Chat) -> None:
    first, second, third = [await chat.ask(f"u{number}") for number in (1, 2, 3)]
    await chat.commit(first, "a1")
    store = EraseAtConflict(chat.memory.store)
    await store.open()
    memory = Memory(store, MemorySettings(), Tokens())
    assert await Chat(memory).commit(second, "a2") == "erased"
    assert await chat.commit(third, "a3") is None, "nothing is there: it begins again"
    assert await chat.path() == "u3 a3"


class EraseAtConflict(MemoryStore):
    """Another store, whose conversation is erased between a lost race and the second attempt."""

    def __init__(self, other: object) -> None:
        super().__init__()
        assert isinstance(other, MemoryStore | SqliteStore)
        self.other = other

    async def commit(self, owner: Owner, after: Conversation, turns: Sequence[Turn]) -> None:
        try:
            await self.other.commit(owner, after, turns)
        except VersionConflict:
            await self.other.erase(owner, after.id)
            raise

    async def load(self, owner: Owner, conversation: str) -> Conversation | None:
        return await self.other.load(owner, conversation)


class Rollback(MemoryStore):
    """A store in which a turn can be taken back."""

    async def turn(self, owner: Owner, conversation: str, turn: str) -> Turn | None:
        return None


class NeverLets(MemoryStore):
    """A store in which somebody else is always faster."""

    attempts = 0

    async def commit(self, owner: Owner, after: Conversation, turns: Sequence[Turn]) -> None:
        if after.version > 1:
            self.attempts += 1
            raise VersionConflict("somebody was faster")
        await super().commit(owner, after, turns)


async def test_a_turn_whose_parent_was_taken_back_has_no_place() -> None:
    chat = await chat_in(Rollback())
    await chat.say("u1", "a1")
    first, second = await chat.ask("u2"), await chat.ask("u3")
    await chat.commit(first, "a2")
    assert await chat.commit(second, "a3") == "rolled_back"
    assert await chat.path() == "u1 a1 u2 a2"


async def test_nobody_tries_for_ever() -> None:
    store = NeverLets()
    chat = await chat_in(store)
    await chat.say("u1", "a1")
    with pytest.raises(StoreUnavailable, match="others keep changing"):
        await chat.say("u2", "a2")
    assert store.attempts == 20
    assert await chat.path() == "u1 a1"


class HangingStore(MemoryStore):
    """A store of which one method never answers."""

    def __init__(self, hangs: str) -> None:
        super().__init__()
        self.hangs = hangs

    async def _maybe(self, method: str) -> None:
        if method == self.hangs:
            await asyncio.Event().wait()

    def known(self, owner: Owner, conversation: str) -> Conversation | None:
        return None  # always to be asked

    async def load(self, owner: Owner, conversation: str) -> Conversation | None:
        await self._maybe("load")
        return super().known(owner, conversation)

    async def path(
        self, owner: Owner, conversation: str, turn: str, limit: int | None = None
    ) -> tuple[Turn, ...]:
        await self._maybe("path")
        return await super().path(owner, conversation, turn, limit)

    async def match(self, owner: Owner, conversation: str, chains: Sequence[bytes]) -> Turn | None:
        await self._maybe("match")
        return await super().match(owner, conversation, chains)

    async def first_fingerprints(self, owner: Owner, conversation: str) -> frozenset[bytes]:
        await self._maybe("first_fingerprints")
        return await super().first_fingerprints(owner, conversation)

    async def commit(self, owner: Owner, after: Conversation, turns: Sequence[Turn]) -> None:
        await self._maybe("commit")
        await super().commit(owner, after, turns)


@pytest.mark.parametrize("hangs", ["load", "path", "match", "first_fingerprints", "commit"])
async def test_a_store_that_hangs_is_not_waited_for(hangs: str) -> None:
    store = HangingStore("")
    chat = await chat_in(store, store_seconds=0.01)
    await chat.say("u1", "a1")
    chat.memory.close()  # nothing at hand
    store.hangs = hangs
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable, match="in time"):
            await chat.say("u8 a8 u9", "a9")
    store.hangs = ""
    assert await chat.path() == "u1 a1"


@pytest.mark.parametrize("hangs", ["path", "first_fingerprints"])
async def test_who_sends_the_whole_path_does_not_wait_for_it_to_be_read(hangs: str) -> None:
    store = HangingStore(hangs)
    chat = await chat_in(store, store_seconds=0.01)
    await chat.say("u1", "a1")
    assert (await chat.say("u1 a1 u2", "a2")).plan.decision is Decision.EXTEND


async def test_a_store_that_is_closed_is_not_one_that_forgot(chat: Chat) -> None:
    recalled = await chat.ask("u1")
    await chat.memory.store.close()
    with pytest.raises(StoreUnavailable):
        await chat.ask("u1")
    with pytest.raises(StoreUnavailable):
        await chat.commit(recalled, "a1")

"""What every store promises about writing: whole or not at all, and one winner."""

import asyncio
from typing import Any

import pytest

from backstory.errors import VersionConflict
from backstory.model import Owner
from backstory.spi import Store
from backstory.testing.samples import ADA, conversation, grown, line, remember, turn

STALE = {
    "the version that is stored": {"version": 2},
    "an older version": {"version": 1},
    "a version that skips one": {"version": 4},
    "another key": {"version": 3, "key": b"k" * 32},
}


class WritesContract:
    """``commit``, ``touch``, ``erase`` and ``expire``."""

    async def test_commits_follow_each_other(self, store: Store) -> None:
        """Each replaces the conversation and adds to its turns."""
        turns = line(3)
        first = await remember(store, turns[:1])
        second = await remember(store, turns[1:], to=first, mode="transcript")
        assert await store.load(ADA, "c1") == second
        assert second.version == 2
        assert await store.path(ADA, "c1", turns[-1].id) == tuple(turns)

    async def test_a_commit_may_add_no_turn(self, store: Store) -> None:
        """What is known of the client, or the head, may change alone."""
        turns = line(2)
        first = await remember(store, turns)
        back = grown(first, turns[:1], longest_claim=4)
        await store.commit(ADA, back, [])
        assert await store.load(ADA, "c1") == back
        assert await store.turn(ADA, "c1", turns[1].id) == turns[1]

    @pytest.mark.parametrize("stale", STALE.values(), ids=STALE)
    async def test_a_stale_commit_changes_nothing(
        self, store: Store, stale: dict[str, Any]
    ) -> None:
        """It was made from something that is not stored (any more)."""
        turns = line(2)
        stored = await remember(store, turns[1:], to=await remember(store, turns[:1]))
        late = turn("Too late.", turns[1])
        with pytest.raises(VersionConflict):
            await store.commit(ADA, grown(stored, [late])._replace(**stale), [late])
        assert await store.load(ADA, "c1") == stored
        assert await store.turn(ADA, "c1", late.id) is None
        assert await store.match(ADA, "c1", [late.chain]) is None

    async def test_only_version_one_can_be_the_first(self, store: Store) -> None:
        """Whoever has read version 4 has read something that is gone."""
        said = turn("Hello.")
        with pytest.raises(VersionConflict):
            await store.commit(ADA, conversation(version=5), [said])
        assert await store.load(ADA, "c1") is None
        assert await store.turn(ADA, "c1", said.id) is None

    async def test_one_of_many_writers_wins(self, store: Store) -> None:
        """All have read the same version; the turns of the others are not stored."""
        root = turn("Hello.")
        first = await remember(store, [root])
        rivals = [turn(f"rival {number}", root) for number in range(50)]
        outcomes = await asyncio.gather(
            *(remember(store, [rival], to=first) for rival in rivals), return_exceptions=True
        )
        winners = [at for at, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
        assert len(winners) == 1
        assert all(isinstance(o, VersionConflict) for o in outcomes if isinstance(o, Exception))
        assert await store.load(ADA, "c1") == outcomes[winners[0]]
        stored = [rival for rival in rivals if await store.turn(ADA, "c1", rival.id)]
        assert stored == [rivals[winners[0]]]

    async def test_a_refused_commit_does_not_hurt_its_neighbours(self, store: Store) -> None:
        """Commits of other conversations that run beside it are kept."""
        await remember(store, [turn("Hello.")])
        names = [f"other {number}" for number in range(20)]
        good = [remember(store, line(2), to=conversation(name)) for name in names]
        bad = [remember(store, [turn("Again from the start.")]) for _ in names]
        mixed = [work for pair in zip(good, bad, strict=True) for work in pair]
        outcomes = await asyncio.gather(*mixed, return_exceptions=True)
        assert [await store.load(ADA, name) for name in names] == outcomes[::2]
        assert all(isinstance(outcome, VersionConflict) for outcome in outcomes[1::2])

    async def test_a_turn_without_its_parent_is_refused_whole(self, store: Store) -> None:
        """A mistake of the caller; what came before it in the same commit is not stored."""
        good, orphan = turn("Hello."), turn("And then?", turn("Never stored."))
        with pytest.raises(ValueError, match="parent"):
            await remember(store, [good, orphan])
        assert await store.load(ADA, "c1") is None
        assert await store.turn(ADA, "c1", good.id) is None

    async def test_a_turn_is_not_stored_twice(self, store: Store) -> None:
        """A mistake of the caller: nothing that is stored is ever overwritten."""
        said = turn("Hello.")
        first = await remember(store, [said])
        with pytest.raises(ValueError, match="id"):
            await remember(store, [turn("Goodbye.", id=said.id)], to=first)
        assert await store.load(ADA, "c1") == first
        assert await store.turn(ADA, "c1", said.id) == said

    async def test_touch_clears_single_use_and_nothing_else(self, store: Store) -> None:
        """Of a conversation that does not exist it makes none."""
        after = await remember(store, [turn("Hello.")])
        assert after.single_use
        await store.touch(ADA, "c1")
        await store.touch(ADA, "c2")
        assert await store.load(ADA, "c1") == after._replace(single_use=False)
        assert await store.load(ADA, "c2") is None

    async def test_a_commit_does_not_undo_a_touch(self, store: Store) -> None:
        """It may have been made from what was read before the touch."""
        said = turn("Hello.")
        first = await remember(store, [said])
        await store.touch(ADA, "c1")
        await remember(store, [turn("And then?", said)], to=first)
        found = await store.load(ADA, "c1")
        assert found is not None
        assert not found.single_use

    async def test_an_erased_conversation_is_gone(self, store: Store) -> None:
        """Wholly, and a commit made from it is refused."""
        turns = line(2)
        stored = await remember(store, turns)
        assert await store.erase(ADA, "c1")
        assert not await store.erase(ADA, "c1")
        assert await store.load(ADA, "c1") is None
        assert await store.path(ADA, "c1", turns[1].id) == ()
        assert await store.match(ADA, "c1", [turns[0].chain]) is None
        assert await store.first_fingerprints(ADA, "c1") == frozenset()
        assert await store.turn(ADA, "c1", turns[0].id) is None
        with pytest.raises(VersionConflict):
            await remember(store, [turn("And then?", turns[1])], to=stored)

    async def test_an_erased_name_begins_again_at_version_one(self, store: Store) -> None:
        """With another key, so that nothing made from the old one fits."""
        old = await remember(store, line(2))
        await store.erase(ADA, "c1")
        said = turn("Hello.")
        new = await remember(store, [said], to=conversation()._replace(key=b"n" * 32))
        assert await store.load(ADA, "c1") == new
        assert await store.path(ADA, "c1", said.id) == (said,)
        with pytest.raises(VersionConflict):
            await remember(store, [turn("From before.")], to=old._replace(version=new.version))

    async def test_only_old_single_use_conversations_expire(self, store: Store) -> None:
        """Those of every owner, and a touched one never."""
        bob = Owner("other team", "bob")
        old, new = {"updated": 100.0}, {"updated": 200.0}
        for owner in (ADA, bob):
            for name, times in (("old", old), ("new", new), ("kept", old)):
                await remember(store, line(2), owner=owner, to=conversation(name), **times)
            await store.touch(owner, "kept")
        assert await store.expire(200.0) == 2
        assert await store.expire(200.0) == 0
        for owner in (ADA, bob):
            assert await store.load(owner, "old") is None
            assert await store.load(owner, "new") is not None
            assert await store.load(owner, "kept") is not None

    async def test_hundreds_expire_at_once(self, store: Store) -> None:
        """Even if the store does it in portions."""
        many = [conversation(f"c{number}") for number in range(250)]
        await asyncio.gather(*(remember(store, [turn("Hello.")], to=each) for each in many))
        assert await store.expire(1.0) == 250
        assert await store.load(ADA, "c7") is None

"""What every store promises about owners: what is not mine does not exist."""

from collections.abc import Awaitable, Callable

import pytest

from backstory.errors import VersionConflict
from backstory.model import Owner, Turn
from backstory.spi import Store
from backstory.testing.samples import ADA, conversation, grown, line, remember, turn

# The middle of both is the same: a store that joins them without a rule mixes them up.
STRANGERS = (
    Owner("other", "ada"),
    Owner("team", "bob"),
    Owner("ada", "team"),
    Owner("teamada", ""),
    Owner("", "teamada"),
    Owner("team:ada", ""),
    Owner("TEAM", "ada"),
    Owner("team", "ada "),
    Owner("team", "ada\0"),
    Owner("te%m", "a__"),
)

NAMES = (
    "'; DROP TABLE conversation; --",
    'a"b`c',
    "50%_\\*?[a-z]",
    "openwebui:Ünï-漢字-🙂",
    "../../etc/passwd",
    "lone \ud800 surrogate",
    "nul \0 within",
    "x" * 256,
)

Ask = Callable[[Store, Owner, Turn], Awaitable[object]]

READS: dict[str, Ask] = {
    "load": lambda store, owner, _: store.load(owner, "c1"),
    "path": lambda store, owner, said: store.path(owner, "c1", said.id),
    "match": lambda store, owner, said: store.match(owner, "c1", [said.chain]),
    "first_fingerprints": lambda store, owner, _: store.first_fingerprints(owner, "c1"),
    "turn": lambda store, owner, said: store.turn(owner, "c1", said.id),
    "replied": lambda store, owner, said: store.replied(owner, said.reply_id),
}


class OwnersContract:
    """The same conversation id under another tenant or subject is another conversation."""

    @pytest.mark.parametrize("stranger", STRANGERS, ids=ascii)
    @pytest.mark.parametrize("method", READS)
    async def test_a_stranger_reads_nothing(
        self, store: Store, method: str, stranger: Owner
    ) -> None:
        """Neither while the stranger has nothing, nor from a conversation of the same name."""
        mine, theirs = turn("My secret.", reply_id="resp_1"), turn("Hello.", reply_id="resp_2")
        await remember(store, [mine])
        assert not await READS[method](store, stranger, mine)
        assert store.known(stranger, "c1") is None
        await remember(store, [theirs], owner=stranger)
        assert mine not in await self._everything(store, stranger, mine)
        assert theirs not in await self._everything(store, ADA, theirs)
        assert await READS[method](store, ADA, mine)

    @pytest.mark.parametrize("stranger", STRANGERS, ids=ascii)
    async def test_a_stranger_changes_nothing(self, store: Store, stranger: Owner) -> None:
        """Not even with the right key and version in hand."""
        said, more = line(2)
        mine = await remember(store, [said])
        await store.touch(stranger, "c1")
        assert not await store.erase(stranger, "c1")
        with pytest.raises(VersionConflict):
            await store.commit(stranger, grown(mine, [more]), [more])
        assert await store.load(ADA, "c1") == mine
        assert await store.turn(ADA, "c1", more.id) is None

    async def test_erasing_mine_leaves_theirs(self, store: Store) -> None:
        """The turns of all of them have the same ids: those are the owner's own affair."""
        turns = line(3)
        for owner in (ADA, *STRANGERS):
            await remember(store, turns, owner=owner)
        assert await store.erase(ADA, "c1")
        assert await store.load(ADA, "c1") is None
        for owner in STRANGERS:
            assert await store.path(owner, "c1", turns[-1].id) == tuple(turns)

    async def test_a_parent_in_another_conversation_is_no_parent(self, store: Store) -> None:
        """Nor does a path ever lead out of its conversation."""
        said = turn("My secret.")
        await remember(store, [said])
        for owner, name in ((Owner("team", "bob"), "c1"), (ADA, "c2")):
            with pytest.raises(ValueError, match="parent"):
                await remember(store, [turn("And then?", said)], owner=owner, to=conversation(name))

    @pytest.mark.parametrize("name", NAMES, ids=ascii)
    async def test_names_may_be_any_string(self, store: Store, name: str) -> None:
        """They come from tokens and from other programs; nothing in them has a meaning here."""
        owner = Owner(name, name)
        said, more = line(2)
        after = await remember(store, [said], owner=owner, to=conversation(name))
        assert await store.load(owner, name) == after
        after = await remember(store, [more], owner=owner, to=after)
        assert await store.path(owner, name, more.id) == (said, more)
        assert await store.load(owner, name[:-1]) is None
        assert await store.load(Owner(name, name[:-1]), name) is None
        assert await store.erase(owner, name)

    async def _everything(self, store: Store, owner: Owner, said: Turn) -> list[object]:
        found = await store.match(owner, "c1", [said.chain])
        return [
            found,
            await store.turn(owner, "c1", said.id),
            *await store.path(owner, "c1", said.id),
        ]

"""What every store promises about reading: what was stored comes back, and nothing else."""

import pytest

from backstory.errors import VersionConflict
from backstory.model import Turn
from backstory.spi import Store
from backstory.testing.samples import ADA, conversation, grown, line, message, remember, turn

SPELLINGS = (
    b'{ "role":"user",\t"content" : "odd  spacing" }',
    b'{"role":"user","content":"\\ud800 alone, \\u0000 within"}',
    '{"role":"user","content":"é, 漢字, 🙂 and \u2028"}'.encode(),
    b'{"role":"user","content":"twice","content":"0.10, 1E400"}',
    b"'; DROP TABLE turn; -- % _ \\ ? :a \x00\xff\xfe no text at all",
    b"",
)


class ReadsContract:
    """``known``, ``load``, ``path``, ``match``, ``first_fingerprints``, ``turn`` and ``replied``."""

    async def test_nothing_is_found_in_an_empty_store(self, store: Store) -> None:
        """It is no error to ask for what never was."""
        assert store.known(ADA, "c1") is None
        assert await store.load(ADA, "c1") is None
        assert await store.replied(ADA, "resp_1") is None
        assert await store.path(ADA, "c1", "t1") == ()
        assert await store.match(ADA, "c1", [b"\0" * 32]) is None
        assert await store.first_fingerprints(ADA, "c1") == frozenset()
        assert await store.turn(ADA, "c1", "t1") is None

    async def test_a_conversation_comes_back_equal_in_every_field(self, store: Store) -> None:
        """None of the values is the default of its field."""
        said = turn("Hello.")
        after = grown(
            conversation(),
            [said],
            mode="window",
            longest_claim=17,
            cut=1,
            plain=True,
            pinned=(b'{"role":"system","content":"Be brief."}', b"", b"\0\xff"),
            dialects=("openai.chat", "odd \ud800 name"),
            single_use=False,
            updated=1_750_000_001.123456,
        )
        await store.commit(ADA, after, [said])
        assert await store.load(ADA, after.id) == after
        again = grown(after, [said], cut=0, plain=False, pinned=())
        await store.commit(ADA, again, [])
        assert await store.load(ADA, after.id) == again

    async def test_what_is_known_is_what_would_be_loaded(self, store: Store) -> None:
        """Or nothing, after every change of its turns, its use and its existence."""
        stored = conversation()
        for said in line(3):
            stored = await remember(store, [said], to=stored)
            assert store.known(ADA, "c1") in (None, stored)
            assert await store.load(ADA, "c1") == stored
            assert store.known(ADA, "c1") in (None, stored)
        await store.touch(ADA, "c1")
        touched = stored._replace(single_use=False)
        assert store.known(ADA, "c1") in (None, touched)
        assert await store.load(ADA, "c1") == touched
        await store.erase(ADA, "c1")
        assert store.known(ADA, "c1") is None
        await remember(store, [turn("Hello.")])
        await store.load(ADA, "c1")
        assert await store.expire(2_000_000_000.0) == 1
        assert store.known(ADA, "c1") is None

    async def test_what_is_refused_is_not_known(self, store: Store) -> None:
        """A commit that lost, and one with a turn too many."""
        said = turn("Hello.")
        stored = await remember(store, [said])
        with pytest.raises(VersionConflict):
            await remember(store, [turn("Too late.")])
        assert store.known(ADA, "c1") in (None, stored)
        with pytest.raises(ValueError, match="stored already"):
            await remember(store, [said], to=stored)
        assert store.known(ADA, "c1") in (None, stored)
        assert await store.load(ADA, "c1") == stored

    async def test_a_reply_is_found_by_its_name(self, store: Store) -> None:
        """In whichever conversation of its owner it is; turns without such a name by none."""
        named = turn("Hello.", reply_id="resp_1 \ud800 '%\0")
        await remember(store, [named, turn("And then?", named)])
        await remember(store, line(2), to=conversation("c2"))
        assert await store.replied(ADA, named.reply_id) == ("c1", named.id)
        assert await store.replied(ADA, "resp_1") is None
        assert await store.replied(ADA, "") is None
        assert await store.turn(ADA, "c1", named.id) == named

    async def test_the_newest_of_two_replies_of_a_name_is_found(self, store: Store) -> None:
        """Until it is erased: then the one before."""
        old = turn("Hello.", reply_id="resp_1", created=1_000_000_000.0)
        new = turn("Hello.", reply_id="resp_1", created=2_000_000_000.0)
        await remember(store, [old])
        await remember(store, [new], to=conversation("c2"))
        assert await store.replied(ADA, "resp_1") == ("c2", new.id)
        await store.erase(ADA, "c2")
        assert await store.replied(ADA, "resp_1") == ("c1", old.id)

    async def test_a_conversation_without_a_head_comes_back(self, store: Store) -> None:
        """Its mode may be known before its first turn."""
        after = conversation(version=1, mode="delta")
        await store.commit(ADA, after, [])
        assert await store.load(ADA, after.id) == after

    async def test_a_turn_comes_back_equal_in_every_field(self, store: Store) -> None:
        """Ids are whatever a client or an upstream made up."""
        call = message("assistant", "", spine=b"", calls=("call_1", "\ud800", 'a"b\0'))
        told = message("tool", "21 °C", answers=("call_1",), tokens=2**31)
        asked = [message("system", "Be brief."), message("user", "How warm?"), call, told]
        form = "odd form"  # a turn has one
        said = turn(
            [each._replace(form=form, note=b"\0\xff note") for each in asked],
            reply=(message("assistant", "I see.", form=form),),
            id="turn \ud800 '%\0",
            dialect="odd \ud800 name",
            truncated=True,
            imported=True,
            tokens=2**40,
            reply_id="odd \ud800 reply",
        )
        await remember(store, [said])
        assert await store.turn(ADA, "c1", said.id) == said
        assert await store.path(ADA, "c1", said.id) == (said,)
        assert await store.match(ADA, "c1", [said.chain]) == said

    @pytest.mark.parametrize("side", ["asked", "reply"])
    async def test_a_turn_may_lack_one_side(self, store: Store, side: str) -> None:
        """An imported question without an answer, an answer to nothing."""
        one = (message("user", "Hello?"),)
        said = turn(one, reply=()) if side == "asked" else turn((), reply=one)
        await remember(store, [said])
        assert await store.turn(ADA, "c1", said.id) == said
        assert await store.first_fingerprints(ADA, "c1") == {one[0].fingerprint}

    @pytest.mark.parametrize("raw", SPELLINGS)
    async def test_raw_bytes_come_back_as_they_were(self, store: Store, raw: bytes) -> None:
        """Whatever they are: a store does not read them."""
        said = turn([message("user", "x", raw=raw), message("user", "y")])
        await remember(store, [said])
        found = await store.turn(ADA, "c1", said.id)
        assert found is not None
        assert [asked.raw for asked in found.asked] == [asked.raw for asked in said.asked]

    async def test_a_message_of_a_megabyte_comes_back(self, store: Store) -> None:
        """An image in base64 is that long."""
        said = turn([message("user", "x", raw=b'"' + bytes(range(256)) * 4096 + b'"')])
        await remember(store, [said])
        assert await store.path(ADA, "c1", said.id) == (said,)

    async def test_a_path_goes_from_the_root_to_the_turn(self, store: Store) -> None:
        """What came after the turn is no part of it."""
        turns = line(5)
        await remember(store, turns)
        assert await store.path(ADA, "c1", turns[-1].id) == tuple(turns)
        assert await store.path(ADA, "c1", turns[2].id) == tuple(turns[:3])
        assert await store.path(ADA, "c1", "no such turn") == ()

    @pytest.mark.parametrize("limit", [0, 1, 3, 5, 6])
    async def test_a_limited_path_has_the_last_turns(self, store: Store, limit: int) -> None:
        """The oldest are left out, and the first that is told still knows its parent."""
        turns = line(5)
        await remember(store, turns)
        told = tuple(turns[max(0, 5 - limit) :])
        assert await store.path(ADA, "c1", turns[-1].id, limit) == told

    async def test_a_path_of_a_thousand_turns_is_whole(self, store: Store) -> None:
        """No recursion of ours or of the storage ends early."""
        turns = line(1000)
        await remember(store, turns)
        assert await store.path(ADA, "c1", turns[-1].id) == tuple(turns)

    async def test_branches_do_not_mix(self, store: Store) -> None:
        """A regenerated answer is a sibling; both remain."""
        root, *_ = turns = line(2)
        other = line(2, after=root)
        first = await remember(store, turns)
        await remember(store, other, to=first)
        assert await store.path(ADA, "c1", turns[-1].id) == tuple(turns)
        assert await store.path(ADA, "c1", other[-1].id) == (root, *other)

    async def test_match_finds_the_deepest_of_any_branch(self, store: Store) -> None:
        """The order of the question says nothing."""
        root, *_ = turns = line(2)
        other = line(3, after=root)
        first = await remember(store, [root, *other])
        await remember(store, turns[1:], to=first)
        assert await self._match(store, root, turns[1], other[2], other[0]) == other[2]
        assert await self._match(store, turns[1], root) == turns[1]
        assert await self._match(store) is None
        assert await store.match(ADA, "c1", [b"\1" * 32]) is None

    async def test_match_finds_the_newest_of_equals(self, store: Store) -> None:
        """Newest is what was committed last, whatever its clock said."""
        old = turn("Hello.", created=2_000_000_000.0)
        new = turn("Hello.", created=1_000_000_000.0)
        first = await remember(store, [old])
        assert old.chain == new.chain
        await remember(store, [new], to=first)
        assert await self._match(store, old) == new

    async def test_match_prefers_depth_to_age(self, store: Store) -> None:
        """Equal chains may be divided into turns differently."""
        fine = line(2)
        coarse = turn(fine[0].messages + fine[1].asked, reply=fine[1].reply)
        first = await remember(store, fine)
        assert coarse.chain == fine[1].chain
        await remember(store, [coarse], to=first)
        assert await self._match(store, coarse) == fine[1]

    async def test_match_takes_thousands_of_chains(self, store: Store) -> None:
        """A client that sends its whole history claims that many prefixes."""
        turns = line(3)
        await remember(store, turns)
        chains = [number.to_bytes(32, "big") for number in range(3000)]
        assert await store.match(ADA, "c1", chains) is None
        for place in (0, 1500, 3000):
            asked = [turns[0].chain, *chains]
            asked.insert(place, turns[1].chain)
            assert await store.match(ADA, "c1", asked) == turns[1]
            assert await store.match(ADA, "c1", asked[::-1]) == turns[1]

    async def test_first_fingerprints_are_those_of_every_root(self, store: Store) -> None:
        """Only roots, only their first message, each once."""
        roots = [turn("Hello."), turn("Good day."), turn("Hello.")]
        first = await remember(store, [*roots, turn("And then?", roots[0])])
        await remember(store, [turn("Goodbye.")], to=first)
        expected = [*roots, turn("Goodbye.")]
        assert await store.first_fingerprints(ADA, "c1") == {
            root.asked[0].fingerprint for root in expected
        }

    async def _match(self, store: Store, *turns: Turn) -> object:
        return await store.match(ADA, "c1", [each.chain for each in turns])

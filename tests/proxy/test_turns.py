"""New turns: where they hang, what they count, and where a claimed history may end."""

import re

import pytest

from backstory.fingerprint import ROOT, chain
from backstory.model import Head, Message, Role
from backstory.testing.samples import KEY, message
from backstory.turns import Grower, chains_after, claim_chains, new_conversation_id, new_turn_id

ROLES: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}


def said(letters: str) -> tuple[Message, ...]:
    """Each letter a message of its role, all different."""
    return tuple(message(ROLES[letter], f"{letter}{at}") for at, letter in enumerate(letters))


def grower(parent: Head | None = None) -> Grower:
    return Grower(parent, key=KEY, dialect="falcon", now=7.5)


def test_a_first_turn_is_a_root() -> None:
    grown = grower()
    messages = said("ua")
    grown.grow(messages[:1], messages[1:], turn_id="t1", truncated=True)
    (turn,) = grown.turns
    assert (turn.id, turn.parent, turn.depth, turn.size) == ("t1", None, 1, 2)
    assert (turn.asked, turn.reply, turn.messages) == (messages[:1], messages[1:], messages)
    assert (turn.dialect, turn.created, turn.truncated, turn.imported) == (
        "falcon",
        7.5,
        True,
        False,
    )
    assert turn.chain == chain(ROOT, messages, KEY)
    assert turn.tokens == sum(each.tokens for each in messages) > 0


def test_a_turn_counts_from_the_root() -> None:
    before, messages = Head("t1", b"c" * 32, depth=3, size=7, tokens=100), said("utua")
    grown = grower(before)
    grown.grow(messages[:3], messages[3:])
    (turn,) = grown.turns
    assert (turn.parent, turn.depth, turn.size) == ("t1", 4, 11)
    assert (turn.truncated, turn.imported) == (False, False)
    assert turn.tokens == 100 + sum(each.tokens for each in messages)
    assert turn.chain == chain(before.chain, messages, KEY)
    assert grown.head == Head(turn.id, turn.chain, 4, 11, turn.tokens)


def test_the_next_turn_hangs_under_the_one_before() -> None:
    grown = grower()
    grown.grow(said("u"), said("a"))
    grown.grow(said("u"), said("a"))
    first, second = grown.turns
    assert (first.parent, second.parent, second.depth) == (None, first.id, 2)
    assert first.id != second.id


@pytest.mark.parametrize(
    ("claimed", "turns"),
    [
        ("ua", ["ua"]),
        ("uaua", ["ua", "ua"]),
        ("uata", ["ua", "ta"]),
        ("auua", ["a", "uua"]),
        ("uaa", ["ua", "a"]),
        ("usua", ["usua"]),
        ("", []),
    ],
)
def test_a_claimed_history_is_a_turn_for_each_assistant_message(
    claimed: str, turns: list[str]
) -> None:
    grown = grower()
    grown.adopt(said(claimed))
    assert ["".join(each.role[0] for each in turn.messages) for turn in grown.turns] == turns
    assert all(turn.imported and len(turn.reply) == 1 for turn in grown.turns)
    assert tuple(each for turn in grown.turns for each in turn.messages) == said(claimed)


@pytest.mark.parametrize("claimed", ["ua", "uaua", "utaaua", "aua"])
def test_a_claim_may_end_wherever_a_turn_of_it_does(claimed: str) -> None:
    grown = grower()
    grown.adopt(said(claimed))
    chains = chains_after(said(claimed), KEY)
    assert claim_chains(said(claimed), chains) == [turn.chain for turn in grown.turns]


def test_chains_go_on_from_those_before() -> None:
    all_of_them = chains_after(said("uaua"), KEY)
    assert len(set(all_of_them)) == 4
    for at in range(5):
        assert chains_after(said("uaua")[at:], KEY, all_of_them[:at]) == all_of_them[at:]


def test_no_claim_ends_nowhere() -> None:
    assert claim_chains((), chains_after((), KEY)) == []


def test_names_cannot_be_guessed() -> None:
    names = [make() for make in (new_turn_id, new_conversation_id) for _ in range(100)]
    assert len(set(names)) == 200
    assert all(re.fullmatch(r"(turn|conv)_[\w-]{22}", name) for name in names)

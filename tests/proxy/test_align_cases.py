"""Each rule in letters, all of a plan compared; and the searches against naive ones."""

import hashlib
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.align import (
    READINGS,
    Decision,
    Plan,
    Stored,
    _borders,
    _find,
    _overlap,
    align,
    append_at,
    head_of,
)
from backstory.model import Head, Message, Mode, Role
from backstory.turns import Grower, chains_after, claim_chains

KEY = b"k" * 32


class Case(NamedTuple):
    """A request against a conversation, in letters: ``u1 a1`` are messages, ``|`` ends a turn.

    ``c1`` is an assistant's call, ``t1`` its result. The last branch is the path to the head.
    """

    decision: Decision
    branches: tuple[str, ...]
    claimed: str
    new: str
    told: str = ""
    """Turn by turn."""
    under: str | None = None
    """The path under which the turn goes; ``None``: a root."""
    imported: str = ""
    mode: Mode = "auto"
    preset: bool = False
    longest: int = 0
    learns: Mode | None = None
    stores: bool = True
    moves: bool = True
    pins: bool = False


_TWO = ("u1 a1 | u2 a2",)
_THREE = ("u1 a1 | u2 a2 | u3 a3",)
_TOOLS = ("u1 c1 | t1 a1",)
_SAME = ("u1 a1 | u1 a1",)
_FORKED = ("u1 a1 | u2 a2", "u1 a1 | u3 a3 | u4 a4")
D = Decision

CASES = [
    Case(D.PASS_THROUGH, _TWO, "u1 a1", "", stores=False),
    Case(D.NEW, (), "", "u1"),
    Case(D.NEW, (), "", "t1"),
    Case(D.ORPHAN_TOOL_RESULT, _TWO, "", "t1", stores=False),
    Case(D.ORPHAN_TOOL_RESULT, ("u1 c1",), "", "t1 t2", stores=False),
    Case(D.APPEND, _TWO, "", "u3", "u1 a1 | u2 a2", *_TWO, learns="delta", pins=True),
    Case(D.APPEND, _TWO, "", "u2", "u1 a1 | u2 a2", *_TWO, learns="delta", pins=True),
    Case(D.APPEND, _TWO, "", "u3", "u1 a1 | u2 a2", *_TWO, mode="delta", learns="delta", pins=True),
    Case(D.APPEND, ("u1 c1",), "", "t1", "u1 c1", "u1 c1", learns="delta", pins=True),
    Case(D.FORK, _TWO, "", "u1", mode="transcript"),
    Case(D.FORK, _TWO, "", "u1", mode="window", preset=True),
    Case(D.DETACHED, _TWO, "", "u9", mode="transcript", moves=False),
    Case(D.DETACHED, _TWO, "", "u2", mode="window", moves=False),
    Case(D.EXTEND, _TWO, "u1 a1 u2 a2", "u3", under=_TWO[0], learns="transcript"),
    Case(D.EXTEND, _SAME, "u1 a1 u1 a1", "u1", under=_SAME[0], learns="transcript"),
    Case(D.FORK, _TWO, "u1 a1", "u3", under="u1 a1"),
    Case(D.FORK, _FORKED, "u1 a1 u2 a2", "u5", under=_FORKED[0]),
    Case(D.FORK, _SAME, "u1 a1", "u9", under="u1 a1", mode="transcript", preset=True),
    Case(D.FORK, _SAME, "u1 a1", "u9", under="u1 a1", mode="transcript", longest=4),
    Case(D.FORK, _SAME, "u1 a1", "u1", under="u1 a1", mode="transcript", longest=2),
    Case(
        D.WINDOW,
        _SAME,
        "u1 a1",
        "u9",
        "u1 a1",
        *_SAME,
        mode="transcript",
        longest=2,
        learns="window",
        pins=True,
    ),
    Case(D.WINDOW, _SAME, "u1 a1", "u9", "u1 a1", *_SAME, longest=4, learns="window", pins=True),
    Case(
        D.WINDOW,
        _SAME,
        "u1 a1",
        "u1",
        "u1 a1",
        *_SAME,
        mode="window",
        preset=True,
        learns="window",
        pins=True,
    ),
    Case(D.ADOPT, (), "u1 a1", "u2", imported="u1 a1"),
    Case(D.ADOPT, ("u1 a1",), "u1 a1 u2 a2", "u3", under="u1 a1", imported="u2 a2"),
    Case(D.ADOPT, _TWO, "u1 a1 u2 a2 u3 a3 u4 a4", "u5", under=_TWO[0], imported="u3 a3 u4 a4"),
    Case(D.WINDOW, _THREE, "u2 a2 u3 a3", "u4", "u1 a1", *_THREE, learns="window", pins=True),
    Case(D.WINDOW, _THREE, "a2 u3 a3", "u4", "u1 a1 | u2", *_THREE, learns="window", pins=True),
    Case(D.WINDOW, _THREE, "a3", "u4", "u1 a1 | u2 a2 | u3", *_THREE, learns="window", pins=True),
    Case(D.WINDOW, _TOOLS, "t1 a1", "u2", "u1 c1", *_TOOLS, learns="window", pins=True),
    Case(D.EXTEND, ("u1 c1",), "u1 c1", "t1", under="u1 c1"),
    Case(D.WINDOW, ("u1 a1 | u2 c1",), "u2 c1", "t1 u3", "u1 a1", "u1 a1 | u2 c1", pins=True),
    Case(D.UNRELATED, ("t1 c1",), "c9", "t9", imported="c9", moves=False),
    Case(D.EXTEND_SPINE, _TOOLS, "u1 a1", "u2", under=_TOOLS[0]),
    Case(D.FOREIGN_HEAD, _THREE, "u9 a9 u3 a3", "u4", under=_THREE[0]),
    Case(D.FOREIGN_HEAD, _THREE, "u1 a9 u3 a3", "u4", under=_THREE[0]),
    Case(D.WINDOW_FORK, _THREE, "u2 a2", "u9", "u1 a1", "u1 a1 | u2 a2", pins=True),
    Case(D.WINDOW_FORK, _THREE, "a2", "u9", "u1 a1 | u2", "u1 a1 | u2 a2", pins=True),
    Case(
        D.WINDOW_FORK,
        ("u1 a1 | u2 a2 | u1 a1 | u2 a2 | u3 a3",),
        "a1 u2 a2",
        "u9",
        "u1 a1 | u2 a2 | u1",
        "u1 a1 | u2 a2 | u1 a1 | u2 a2",
        pins=True,
    ),
    Case(D.FORK_IMPORT, _TWO, "u1 a9", "u3", imported="u1 a9"),
    Case(D.FORK_IMPORT, _THREE, "u1 a1 u9 a9", "u3", under="u1 a1", imported="u9 a9"),
    Case(
        D.FORK_IMPORT,
        _FORKED,
        "u1 a1 u2 a2 u5 a5 u6 a6",
        "u7",
        under=_FORKED[0],
        imported="u5 a5 u6 a6",
    ),
    Case(D.WINDOW_ADOPT, _TWO, "u2 a2 u3 a3", "u4", "u1 a1", *_TWO, imported="u3 a3", pins=True),
    Case(D.WINDOW_ADOPT, _TWO, "a2 u3 a3", "u4", "u1 a1 | u2", *_TWO, imported="u3 a3", pins=True),
    Case(D.UNRELATED, _TWO, "u8 a8", "u9", imported="u8 a8", moves=False),
    Case(D.UNRELATED, ("u1 a1 | u2 a2 a3 | u4 a4",), "a2", "u9", imported="a2", moves=False),
]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.decision.name}-{case.claimed}-{case.new}"
)
def test_case(case: Case) -> None:
    plan = align(spelled(case.claimed), spelled(case.new), stored_of(case))
    expected = Plan(
        case.decision,
        parent=grown(case.under).head if case.under else None,
        imported=spelled(case.imported),
        stores=case.stores,
        moves_head=case.moves,
        pins=case.pins,
        learns=case.learns,
    )
    assert named(plan) == named(expected) | {"told": " ".join(case.told.replace("|", " ").split())}


def test_every_decision_has_its_case() -> None:
    assert {case.decision for case in CASES} == set(Decision) - {D.APPEND_AT}


def test_a_reply_that_is_named_is_continued_wherever_it_stands() -> None:
    path = grown("u1 a1|u2 a2").turns
    plan = append_at(path)
    assert (plan.decision, plan.told, plan.without) == (D.APPEND_AT, tuple(path), 0)
    assert plan.parent == head_of(path[-1])
    assert (plan.stores, plan.moves_head, plan.pins) == (True, True, True)


def test_every_decision_is_read_in_one_of_five_ways() -> None:
    read: dict[str, set[Decision]] = {}
    for decision, reading in READINGS.items():
        read.setdefault(reading, set()).add(decision)
    assert read == {
        "delta": {D.APPEND, D.APPEND_AT, D.NEW, D.ORPHAN_TOOL_RESULT, D.PASS_THROUGH},
        "transcript": {D.EXTEND, D.EXTEND_SPINE, D.ADOPT, D.FOREIGN_HEAD},
        "window": {D.WINDOW, D.WINDOW_ADOPT},
        "fork": {D.FORK, D.FORK_IMPORT, D.WINDOW_FORK},
        "detached": {D.DETACHED, D.UNRELATED},
    }


def named(plan: Plan) -> dict[str, object]:
    """A plan without the names of turns, which are never the same."""
    parent = plan.parent and plan.parent._replace(turn="")
    told = [message.raw.decode() for turn in plan.told for message in turn.messages]
    told = told[: len(told) - plan.without]
    fields = {name: getattr(plan, name) for name in Plan._fields if name != "without"}
    return fields | {"parent": parent, "told": " ".join(told)}


_ROLES: dict[str, Role] = {"u": "user", "a": "assistant", "c": "assistant", "t": "tool"}


def spelled(letters: str) -> tuple[Message, ...]:
    return tuple(_message(each) for each in letters.replace("|", " ").split())


def _message(letters: str) -> Message:
    kind, number = letters[0], letters[1:]
    digest = hashlib.sha256(letters.encode()).digest()
    return Message(
        _ROLES[kind],
        letters.encode(),
        digest,
        digest if kind in "ua" else b"",
        calls=(number,) if kind == "c" else (),
        answers=(number,) if kind == "t" else (),
    )


def grown(branch: str) -> Grower:
    grower = Grower(None, key=KEY, dialect="openai.chat", now=1.0)
    for turn in branch.split("|"):
        *asked, reply = spelled(turn)
        grower.grow(asked, [reply])
    return grower


def stored_of(case: Case) -> Stored:
    growers = [grown(branch) for branch in case.branches]
    turns = [turn for grower in growers for turn in grower.turns]
    claimed = spelled(case.claimed)
    chains = claim_chains(claimed, chains_after(claimed, KEY))
    matches = sorted((t for t in turns if t.chain in chains), key=lambda turn: turn.depth)
    head: Head | None = growers[-1].head if growers else None
    return Stored(
        head=head,
        path=tuple(growers[-1].turns) if growers else (),
        match=head_of(matches[-1]) if matches else None,
        first_fingerprints=frozenset(t.messages[0].fingerprint for t in turns if not t.parent),
        mode=case.mode,
        preset=case.preset,
        longest_claim=case.longest,
    )


_FEW = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=12)


@given(_FEW | st.lists(st.just(b"a"), min_size=1), _FEW)
def test_searches_find_what_naive_ones_find(said: list[bytes], claim: list[bytes]) -> None:
    size = len(claim)
    places = [at for at in range(len(said)) if said[at : at + size] == claim]
    assert _find(said, claim) == (places[-1] if places else -1)
    lengths = range(1, min(len(said), size) + 1)
    assert _overlap(said, claim) == max((n for n in lengths if said[-n:] == claim[:n]), default=0)
    assert _borders(claim) == [
        max((n for n in range(1, end) if claim[:n] == claim[end - n : end]), default=0)
        for end in range(1, size + 1)
    ]


def test_nothing_is_found_in_nothing() -> None:
    assert (_find([], [b"a"]), _overlap([], [b"a"])) == (-1, 0)


@pytest.mark.timeout(20)
def test_searching_takes_steps_and_not_their_square() -> None:
    said, claim = [b"a"] * 200_000, [b"a"] * 100_000 + [b"b"]
    assert (_find(said, claim), _overlap(said, claim)) == (-1, 100_000)

"""What is told again never has half a tool call, whatever was stored and wherever it is cut."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.history import newest, repaired
from backstory.model import Message, Role

Group = tuple[Message, ...]
ROLES: dict[str, Role] = {
    "s": "system",
    "u": "user",
    "a": "assistant",
    "t": "tool",
    "c": "assistant",
}


def message(spelled: str) -> Message:
    """A message by its letters: ``u1``, ``a1``; ``c12`` calls 1 and 2; ``t1`` answers 1.

    A call with a ``!`` has text besides.
    """
    letter, ids = spelled[0], tuple(spelled[1:].rstrip("!"))
    calls = ids if letter == "c" else ()
    answers = ids if letter == "t" else ()
    return Message(ROLES[letter], spelled.encode(), b"", b"", calls=calls, answers=answers)


def messages(spelled: str) -> Group:
    return tuple(map(message, spelled.split()))


def without_calls(told: Message) -> Message | None:
    return told._replace(calls=(), raw=b"a!") if told.raw.endswith(b"!") else None


def letters(told: Sequence[Message]) -> str:
    return " ".join(each.raw.decode() for each in told)


@pytest.mark.parametrize(
    ("history", "following", "told"),
    [
        ("u1 a1", "u2", "u1 a1"),
        ("u1 c1 t1 a1", "u2", "u1 c1 t1 a1"),
        ("u1 c1", "t1", "u1 c1"),
        ("u1 c1", "u2", "u1"),
        ("u1 c1!", "u2", "u1 a!"),
        ("u1 c1!", "", "u1 a!"),
        ("u1 c12 t1 t2 a1", "u2", "u1 c12 t1 t2 a1"),
        ("u1 c12 t2 t1", "u2", "u1 c12 t2 t1"),
        ("u1 c12 t1", "t2", "u1 c12 t1"),
        ("u1 c12 t1", "u2", "u1 c12 t1"),
        ("u1 c12", "t2", "u1 c12"),
        ("u1 c12", "t3", "u1"),
        ("t1 a1 u2 a2", "u3", "a1 u2 a2"),
        ("u1 t1 a1", "u2", "u1 a1"),
        ("u1 c1 u2 t1", "u3", "u1 u2"),
        ("u1 c1! u2 t1", "u3", "u1 a! u2"),
        ("u1 c1 c2 t2", "u2", "u1 c2 t2"),
        ("u1 c1 c1 t1", "u2", "u1 c1 t1"),
        ("u1 c1 t1 c2 t2", "u2", "u1 c1 t1 c2 t2"),
        ("u1 c1 t2 t1 a1", "u2", "u1 c1 t1 a1"),
        ("u1 c1 a1", "t1", "u1 a1"),
        ("", "t1", ""),
    ],
)
def test_history_is_told_without_orphans(history: str, following: str, told: str) -> None:
    assert letters(repaired(messages(history), messages(following), without_calls)) == told


def orphans(told: Sequence[Message]) -> list[Message]:
    """Calls of which the messages right behind answer none, and results without such a call."""
    found = []
    for at, each in enumerate(told):
        before = itertools.takewhile(lambda m: m.answers, reversed(told[:at]))
        opening = at - 1 - len(list(before))
        asked_for = set(told[opening].calls) if opening >= 0 else set[str]()
        after = itertools.takewhile(lambda m: m.answers, told[at + 1 :])
        answered = {answer for later in after for answer in later.answers}
        if each.answers and not asked_for.intersection(each.answers):
            found.append(each)
        if each.calls and not answered.intersection(each.calls):
            found.append(each)
    return found


@st.composite
def loops(draw: st.DrawFn) -> list[Message]:
    """A history with calls: in parallel, answered in any order, in part, not at all, twice."""
    spelled = list[str]()
    for kind in draw(st.lists(st.sampled_from(["u1", "a1", "s1", "call", "orphan"]), max_size=12)):
        if kind == "call":
            ids = draw(st.lists(st.sampled_from("12345"), min_size=1, max_size=3, unique=True))
            spelled.append("c" + "".join(ids) + draw(st.sampled_from(["", "!"])))
            answered = draw(st.permutations(ids))[: draw(st.integers(0, len(ids)))]
            spelled += ["t" + answer for answer in answered]
        else:
            spelled.append(draw(st.sampled_from(["t1", "t2", "t9"])) if kind == "orphan" else kind)
    return [message(each) for each in spelled]


@given(loops(), st.integers(0, 30))
def test_no_orphan_is_told_whatever_was_stored(stored: list[Message], cut: int) -> None:
    history, following = stored[:cut], stored[cut:]
    told = repaired(history, following, without_calls)
    ours = orphans((*told, *following))[: len(told)]
    assert not [each for each in ours if any(each is mine for mine in told)]
    assert repaired(told, following, without_calls) == told
    plain = [each for each in history if not each.calls and not each.answers]
    assert [each for each in told if each in plain] == plain


@given(loops(), st.integers(0, 30))
def test_what_is_in_order_is_told_as_it_is(stored: list[Message], cut: int) -> None:
    sound = repaired(stored, (), without_calls)
    assert repaired(sound[:cut], sound[cut:], without_calls) == sound[:cut]


@pytest.mark.parametrize(
    ("most", "turns", "told"),
    [
        (2, ["u1 a1", "u2 a2", "u3 a3"], ["u2 a2", "u3 a3"]),
        (3, ["u1 a1", "u2 a2", "u3 a3"], ["u1 a1", "u2 a2", "u3 a3"]),
        (9, ["u1 a1"], ["u1 a1"]),
        (0, ["u1 a1"], []),
        (9, [], []),
        (9, ["", "u1 a1"], ["", "u1 a1"]),
        (1, ["u1 c1", "t1 a1"], ["t1 a1"]),
        (2, ["u1 c1", "t1 a1", "u2 a2"], ["u2 a2"]),
        (3, ["u1 c1", "t1 a1", "u2 a2"], ["u1 c1", "t1 a1", "u2 a2"]),
        (3, ["u1 c1", "t1 c2", "t2 a1", "u2 a2"], ["u2 a2"]),
        (2, ["u1 c1", "t1 c2", "t2 c3"], ["t1 c2", "t2 c3"]),
    ],
)
def test_the_newest_turns_begin_where_no_result_loses_its_call(
    most: int, turns: list[str], told: list[str]
) -> None:
    assert [letters(group) for group in newest([messages(t) for t in turns], most)] == told


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=8),
    st.integers(1, 8),
    st.sampled_from(["u9", "t"]),
)
def test_a_result_that_comes_now_finds_its_call_however_long_the_chain_is(
    chains: list[int], most: int, now: str
) -> None:
    """Turns of a client that sends its results one by one: each chain of calls is so many long."""
    turns, ids = list[str](), itertools.cycle("12345678")
    for length in chains:
        called = [next(ids) for _ in range(length)]
        asked = ["u1", *(f"t{ident}" for ident in called)]
        said = [*(f"c{ident}" for ident in called), "a1"]
        turns += [f"{question} {answer}" for question, answer in zip(asked, said, strict=True)]
    if now == "t":
        turns[-1] = turns[-1].replace("a1", "c9")
        now = "t9"
    told = newest([messages(turn) for turn in turns], most)
    history = repaired([each for group in told for each in group], messages(now), without_calls)
    assert len(told) <= most
    assert not orphans((*history, *messages(now)))

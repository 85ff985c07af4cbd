"""What is told again never has half a tool call, whatever was stored and wherever it is cut."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.history import grown, in_form, repaired, telling
from backstory.model import Message, Role, Turn
from backstory_plugins.dialects.openai_chat import OpenAIChat

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


class Plain(OpenAIChat):
    """Tells messages of letters."""

    def without_calls(self, message: Message) -> Message | None:
        return without_calls(message)

    def without_reasoning(self, message: Message) -> Message | None:
        return message._replace(raw=message.raw.replace(b"!", b""))

    def told(self, message: Message) -> Message | None:
        return message._replace(form="chat") if message.role != "tool" else None


def as_turn(said: Sequence[Message]) -> Turn:
    return Turn("", None, "", tuple(said), (), b"", 1, 1, 1)


@given(st.lists(loops(), max_size=6), loops())
def test_a_telling_that_grew_says_what_one_made_at_once_says(
    turns: list[list[Message]], following: list[Message]
) -> None:
    everything = [message for turn in turns for message in turn]
    grew = telling(Plain(), [], cut=3)
    for turn in turns:
        grew = grown(grew, Plain(), [as_turn(turn)])
    assert grew == telling(Plain(), [as_turn(everything)], cut=3)
    assert grew.followed_by(following, Plain()) == repaired(everything, following, without_calls)
    assert grew.tokens == sum(message.tokens for message in grew.settled)
    assert grew.size == sum(len(message.raw) for message in grew.settled)


def test_only_calls_at_the_end_wait_for_what_follows() -> None:
    said = telling(Plain(), [as_turn(messages("u1 a1 c12 t1"))], cut=0)
    assert (letters(said.settled), letters(said.pending)) == ("u1 a1", "c12 t1")
    more = grown(said, Plain(), [as_turn(messages("t2 a2"))])
    assert (letters(more.settled), letters(more.pending)) == ("u1 a1 c12 t1 t2 a2", "")


def test_messages_of_another_form_are_told_by_their_text() -> None:
    theirs = [message(each)._replace(form="other") for each in ("u1", "t1", "a1")]
    told = in_form([*theirs, message("a2!")], Plain())
    assert letters(told) == "u1 a1 a2!"
    assert {each.form for each in told} == {"chat"}
    assert letters(in_form([message("a2!")], Plain(), plain=True)) == "a2"

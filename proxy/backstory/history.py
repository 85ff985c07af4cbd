"""What of the stored turns is told again: in the dialect's form, and never half a tool call."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from backstory.model import Message, Turn, made
from backstory.spi import Dialect

WithoutCalls = Callable[[Message], Message | None]


class Telling(NamedTuple):
    """The turns of a path behind a cut, as one dialect tells them; grows with the path."""

    form: str
    plain: bool
    """Told without reasoning."""
    cut: int
    """How many turns of the path are not told."""
    settled: tuple[Message, ...]
    """As an upstream accepts it, whatever follows."""
    pending: tuple[Message, ...]
    """Calls at the end, and what has been answered of them: what follows may be the rest."""
    tokens: int
    """Of ``settled``, an estimate."""
    size: int = 0
    """Bytes of ``settled``."""

    def followed_by(self, messages: Sequence[Message], dialect: Dialect) -> tuple[Message, ...]:
        """All of it, as an upstream accepts it in front of ``messages``."""
        if not self.pending:
            return self.settled
        return self.settled + repaired(self.pending, messages, dialect.without_calls)


def telling(dialect: Dialect, turns: Sequence[Turn], *, cut: int, plain: bool = False) -> Telling:
    """``turns`` as ``dialect`` tells them."""
    return grown(Telling(dialect.form, plain, cut, (), (), 0), dialect, turns)


def grown(before: Telling, dialect: Dialect, turns: Sequence[Turn]) -> Telling:
    """``before`` with ``turns`` behind it."""
    form, plain, cut, settled, pending, tokens, size = before
    more: Sequence[Message] = [message for turn in turns for message in turn.messages]
    if plain or pending or _has_tools_or_other_form(more, form):
        said = [*pending, *in_form(more, dialect, plain=plain)]
        end = _settled(said)
        more, pending = said[:end], tuple(said[end:])
        if any(message.calls or message.answers for message in more):
            more = repaired(more, (), dialect.without_calls)
    for _, raw, _, _, _, _, estimate, _, _ in more:
        tokens += estimate
        size += len(raw)
    return made(Telling, (form, plain, cut, (*settled, *more), pending, tokens, size))


def _has_tools_or_other_form(messages: Sequence[Message], form: str) -> bool:
    for _, _, _, _, calls, answers, _, its_form, _ in messages:
        if calls or answers or its_form != form:
            return True
    return False


def in_form(
    history: Sequence[Message], dialect: Dialect, *, plain: bool = False
) -> Sequence[Message]:
    """``history`` as ``dialect`` can tell it: other dialects' messages by their text alone."""
    form = dialect.form
    if not plain and all(message.form == form for message in history):
        return history
    told = [m if m.form == form else dialect.told(m) for m in history]
    if plain:
        told = [m and _shortened(dialect.without_reasoning(m), m) for m in told]
    return [message for message in told if message is not None]


def _settled(history: Sequence[Message]) -> int:
    """How much of ``history`` no message that follows can change: all but calls at its end."""
    end = len(history)
    while end and history[end - 1].answers:
        end -= 1
    return end - 1 if end and history[end - 1].calls else len(history)


def repaired(
    history: Sequence[Message], following: Sequence[Message], without_calls: WithoutCalls
) -> tuple[Message, ...]:
    """``history`` as an upstream accepts it in front of ``following``.

    Calls that nobody answered are taken out of their message; results without their call are left
    out. A group answered in part stays: it is the client's to complete. The store is not changed.
    """
    told: list[Message] = []
    everything = (*history, *following)
    open_calls: frozenset[str] = frozenset()
    for at, message in enumerate(history):
        if message.answers:
            if open_calls.intersection(message.answers):
                told.append(message)
            continue
        open_calls = frozenset()
        if message.calls:
            if not _answered(message, everything[at + 1 :]):
                stripped = _shortened(without_calls(message), message)
                if stripped is not None:
                    told.append(stripped)
                continue
            open_calls = frozenset(message.calls)
        told.append(message)
    return tuple(told)


def _shortened(told: Message | None, message: Message) -> Message | None:
    """``told``, which is ``message`` without some of it, at no less than its share of the tokens.

    Dialects take off an estimate, which may be more than was counted.
    """
    if told is None or told is message:
        return told
    share = message.tokens * len(told.raw) // max(1, len(message.raw))
    return told if told.tokens >= share else told._replace(tokens=share)


def _answered(message: Message, after: Sequence[Message]) -> bool:
    for later in after:
        if not later.answers:
            return False
        if set(message.calls).intersection(later.answers):
            return True
    return False

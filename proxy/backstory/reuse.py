"""How much of what was told to the upstream last time the next request begins with.

Upstreams keep what they have read of a prompt and find it again by its beginning. So a history is
cheap as long as it only grows, and dear at a trim epoch, which moves its first byte. Nothing is
compared as a rule: that the beginning stands is known from the cut, and only a little is added up.
"""

from collections.abc import Sequence
from typing import NamedTuple

from backstory.align import Decision
from backstory.history import telling
from backstory.model import Message
from backstory.recall import Recalled

_DELTA = (Decision.APPEND, Decision.APPEND_AT)
_TOLD_BY_CLIENT = ("transcript", "window")


class Reuse(NamedTuple):
    """Of one request, against the request of the turn before it."""

    before: int
    """Bytes of messages that were put in front of that one."""
    same: int
    """How many of these this request begins with, too."""
    epoch: bool
    """The cut moves with this request."""


def reuse(recalled: Recalled) -> Reuse | None:
    """``None`` where the client tells its history itself, or none of it is told."""
    plan, told, conversation = recalled.plan, recalled.told, recalled.conversation
    if not plan.told or plan.decision not in _DELTA:
        return None
    last = plan.told[-1]
    if plan.parent is not conversation.head and plan.parent != conversation.head:
        return None  # another branch
    if last.imported or conversation.mode in _TOLD_BY_CLIENT:
        return None  # nobody was asked for that turn, or not so
    history, said = recalled.history, last.messages
    stands = told.cut == conversation.cut and told.plain is conversation.plain
    if stands and history[-len(said) :] == said and said[-1].form == told.form:
        before = told.size
        if told.pending:
            before += _size(history[len(told.settled) :])
        for message in said:
            before -= len(message.raw)
        return Reuse(before, before, False)
    # Seldom: it moved, or not all of the last turn is told as it was said.
    epoch = told.cut > conversation.cut
    first = max(0, conversation.cut - plan.told[0].depth + 1)
    turns = plan.told[first:-1]
    if said[-1].form != told.form:
        return Reuse(sum([_size(turn.messages) for turn in turns]), 0, epoch)
    dialect = recalled.dialect
    then = telling(dialect, turns, cut=conversation.cut, plain=conversation.plain)
    was = then.followed_by(last.asked, dialect)
    begins = stands and history[: len(was)] == was
    return Reuse(_size(was), _size(was) if begins else 0, epoch)


def _size(messages: Sequence[Message]) -> int:
    return sum([len(message.raw) for message in messages])

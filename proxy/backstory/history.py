"""What of the stored turns is told again: not too many, and never half a tool call."""

from collections.abc import Callable, Sequence

from backstory.model import Message
from backstory.spi import Dialect

WithoutCalls = Callable[[Message], Message | None]


def newest(
    groups: Sequence[tuple[Message, ...]], max_turns: int
) -> tuple[tuple[Message, ...], ...]:
    """The last ``max_turns`` groups at most, beginning where no tool result loses its call.

    In the middle of a chain of calls that is longer there is no such place: then all of them, for
    ``repaired`` to leave out the first results. Without the last call the next result has none.
    """
    kept = groups[-max_turns:] if max_turns else ()
    begins = (at for at, group in enumerate(kept) if not (group and group[0].answers))
    return tuple(kept[next(begins, 0) :])


def in_form(history: Sequence[Message], dialect: Dialect) -> list[Message]:
    """``history`` as ``dialect`` can tell it: other dialects' messages by their text alone."""
    form = dialect.form
    told = [m if m.form == form else dialect.told(m) for m in history]
    return [message for message in told if message is not None]


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
                stripped = without_calls(message)
                if stripped is not None:
                    told.append(stripped)
                continue
            open_calls = frozenset(message.calls)
        told.append(message)
    return tuple(told)


def _answered(message: Message, after: Sequence[Message]) -> bool:
    for later in after:
        if not later.answers:
            return False
        if set(message.calls).intersection(later.answers):
            return True
    return False

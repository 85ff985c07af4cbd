"""Which messages may follow each other (``docs/dialects.md`` 5.2): what is told begins with a user.

Each call has its result in the messages right behind it, and each result its call. What the
client itself sends stays as it is, and so does the call that it answers.
"""

from collections.abc import Sequence

from backstory.model import Message
from backstory_plugins.dialects._blocks import without


def legal(history: Sequence[Message], following: Sequence[Message]) -> list[Message]:
    """``history`` as the API takes it in front of ``following``. The store is not changed."""
    told: list[Message] = []
    calls: frozenset[str] = frozenset()
    for at, message in enumerate(history):
        left: Message | None = message
        if message.role == "assistant":
            if told:
                left = _answered(message, history[at + 1 :], following)
            calls = frozenset(left.calls) if left else frozenset()
        elif message.answers:
            left = _asked_for(message, calls)
        else:
            calls = frozenset()
        if left is not None and (told or (left.role == "user" and not left.answers)):
            told.append(left)
    return told


def loop_start(history: Sequence[Message], following: Sequence[Message]) -> int:
    """Where the tool loop begins that ``following`` goes on with; behind all if there is none."""
    calls = next((set(m.calls) for m in reversed(history) if m.role == "assistant"), set())
    if not following or not calls.intersection(following[0].answers):
        return len(history)
    asked = (
        at
        for at in range(len(history) - 1, -1, -1)
        if history[at].role == "user" and not history[at].answers
    )
    return next(asked, 0)


def without_calls(message: Message) -> Message | None:
    """``message`` without calls, and without the thinking that led to them."""
    if not message.calls:
        return message
    return without(message, lambda b: bool(b.call) or b.is_thinking or b.is_blank)


def _answered(
    message: Message, after: Sequence[Message], following: Sequence[Message]
) -> Message | None:
    """``message`` with those of its calls that are answered; all, if the client answers one."""
    if not message.calls:
        return message
    answers: set[str] = set()
    for later in after:
        if not later.answers:
            break
        answers.update(later.answers)
    else:
        if following and set(following[0].answers).intersection(message.calls):
            return message
    if answers.issuperset(message.calls):
        return message
    if not answers.intersection(message.calls):
        return without_calls(message)
    return without(
        message, lambda b: b.is_thinking or b.is_blank or bool(b.call and b.call not in answers)
    )


def _asked_for(message: Message, calls: frozenset[str]) -> Message | None:
    """``message`` without results that nobody asked for."""
    if calls.issuperset(message.answers):
        return message
    return without(message, lambda block: bool(block.answers and block.answers not in calls))

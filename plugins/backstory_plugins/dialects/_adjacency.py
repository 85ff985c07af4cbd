"""Which messages may follow each other (``docs/dialects.md`` 5.2): what is told begins with a user.

Each call has its result in the messages right behind it, and each result its call. What the
client itself sends stays as it is, and so does the call that it answers.
"""

from collections.abc import Sequence

from backstory.model import Message
from backstory_plugins.dialects._blocks import without


def legal(history: Sequence[Message], following: Sequence[Message]) -> list[Message]:
    """``history`` as the API takes it in front of ``following``. The store is not changed.

    Only where the client answers a call whose question is not told, the first may be that call.
    """
    answers = bool(following and following[0].answers)
    loop = loop_start(history, following) if answers else len(history)
    told: list[Message] = []
    calls: frozenset[str] = frozenset()
    for at, message in enumerate(history):
        left: Message | None = message
        if _is_reply(message):
            if told or at >= loop:
                left = _answered(message, history[at + 1 :], following)
            calls = frozenset(left.calls) if left else frozenset()
        elif message.answers:
            left = _asked_for(message, calls)
        else:
            calls = frozenset()
        if left is not None and (told or _is_question(left) or (at >= loop and left.calls)):
            told.append(left)
    return told


def loop_start(history: Sequence[Message], following: Sequence[Message]) -> int:
    """Where the tool loop begins that ``following`` goes on with; behind all if there is none.

    It is unfinished as long as the last of the assistant's messages is a call. A user who speaks
    up after the results does not end it for the API: they are one message with the results.
    """
    last = next((at for at in reversed(range(len(history))) if _is_reply(history[at])), None)
    if last is None or not (calls := history[last].calls):
        return len(history)
    if any(map(_is_reply, following)) and (
        any(map(_is_question, following)) or not set(calls).intersection(following[0].answers)
    ):
        return len(history)
    return next((at for at in reversed(range(last)) if _is_question(history[at])), 0)


def _is_reply(message: Message) -> bool:
    return message.role == "assistant"


def _is_question(message: Message) -> bool:
    return message.role == "user" and not message.answers


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

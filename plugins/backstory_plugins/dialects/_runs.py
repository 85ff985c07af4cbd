"""Messages made of the items of the Responses API, and taken apart again.

Everything that the assistant's side says without a break is one message: reasoning, calls and text.
Each result of a tool is a message, and each message of the user or the system. What is of an
unknown type stays with the message that it stands beside, and is not looked into.
"""

from collections.abc import Iterable, Sequence

from backstory.fingerprint import estimate_tokens, fingerprints
from backstory.jsonbody import NotJson
from backstory.model import Message, Role
from backstory_plugins.dialects._chat import Call, text_of
from backstory_plugins.dialects._items import (
    Item,
    answered,
    call_of,
    is_hosted,
    items_of,
    media_of,
    result_of,
    role_of,
    said_in,
    shows_something,
    tokens_and_size,
)
from backstory_plugins.dialects._reasoning import is_sealed, without_reasons

FORM = "responses"
NOT_TOLD = b"not told"
"""The note of a message that no request may hold: reasoning, and nothing that it led to."""


def runs(items: Iterable[Item]) -> list[tuple[Role, list[Item]]]:
    """The items of each message that ``items`` are, and whose it is. Only the last may go on.

    Raises:
        NotJson: one is not an item.
    """
    groups: list[tuple[Role, list[Item]]] = []
    before: list[Item] = []  # of unknown types, in front of every message
    for item in items:
        role = role_of(item)
        if groups and (role is None or _goes_on(groups[-1], role, item)):
            groups[-1][1].append(item)
        elif role is None:
            before.append(item)
        else:
            groups.append((role, [*before, item]))
            before = []
    if before:
        groups.append(("user", before))
    return groups


def _goes_on(group: tuple[Role, list[Item]], role: Role, item: Item) -> bool:
    """Whether ``item`` is a part of the assistant's message that is being read."""
    if group[0] != "assistant":
        return False
    if role == "assistant":
        return True
    call = answered(item)
    return bool(call) and any(
        other.value.get("call_id") == call and is_hosted(other) for other in group[1]
    )


def message_of(role: Role, items: Sequence[Item]) -> Message:
    """One message of all of ``items``.

    Raises:
        NotJson: nested too deep to be compared with anything.
    """
    try:
        return _noted(role, items)
    except RecursionError as exc:
        raise NotJson("nested too deep") from exc


def _noted(role: Role, items: Sequence[Item]) -> Message:
    text, media = "", [data for item in items for data in media_of(item)]
    results: list[tuple[str, str]] = []
    calls = open_calls(items) if role == "assistant" else []
    named: list[tuple[str, object]] = [(call.name, call.arguments) for call in calls]
    if role == "tool":
        results = [(answered(item), result_of(item)) for item in items if answered(item)]
    elif role == "assistant":
        text, media = said_in(items), []
        if not text and not named:
            named = [(item.kind, None) for item in items if item.kind != "reasoning"]
    else:
        text = "".join(text_of(item.value) for item in items)
    fingerprint, spine = fingerprints(role, text, media=media, calls=named, results=results)
    told = _tellable(items) if role == "assistant" else items
    message = Message(
        role,
        b"",
        fingerprint,
        spine,
        calls=tuple([call.id for call in calls]),
        answers=tuple([ident for ident, _ in results]),
        form=FORM,
        note=b"" if told else NOT_TOLD,
    )
    return _spelled(message, told or items)


def open_calls(items: Sequence[Item]) -> list[Call]:
    """The calls among ``items`` that wait for a result of the client's."""
    done = {answered(item) for item in items}
    calls = [call_of(item) for item in items]
    return [call for call in calls if call and call.id not in done]


def _tellable(items: Sequence[Item]) -> Sequence[Item]:
    """What of a reply a request may hold again."""
    if all(item.kind != "reasoning" for item in items):
        return items
    return without_reasons(items, frozenset(at for at, i in enumerate(items) if is_sealed(i)))


def _spelled(message: Message, items: Sequence[Item]) -> Message:
    tokens = 0
    for item in items:
        more, size = tokens_and_size(item)
        tokens += more + estimate_tokens(size)
    return message._replace(raw=b", ".join(item.raw for item in items), tokens=tokens)


def without_calls(message: Message) -> Message | None:
    """See ``spi.Dialect``. A program that waits for the calls goes with them."""
    if not message.calls:
        return message
    try:
        items = items_of(message)
    except NotJson:
        return None
    done = {answered(item) for item in items}
    goes = frozenset(
        at
        for at, item in enumerate(items)
        if ((call := call_of(item)) and call.id in message.calls)
        or (item.kind == "program" and item.value.get("call_id") not in done)
    )
    left = without_reasons(items, goes)
    return _spelled(message._replace(calls=()), left) if shows_something(left) else None


def without_reasoning(message: Message) -> Message | None:
    """See ``spi.Dialect``. The fingerprint stays: it never covered the reasoning."""
    if b'"reasoning"' not in message.raw:
        return message
    try:
        items = items_of(message)
    except NotJson:
        return None
    goes = frozenset(at for at, item in enumerate(items) if item.kind == "reasoning")
    if not goes:
        return message
    left = without_reasons(items, goes)
    return _spelled(message, left) if left else None

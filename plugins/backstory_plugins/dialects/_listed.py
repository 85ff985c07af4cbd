"""Messages that stand in a JSON array of the body: where history goes between them, and its splicing."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from backstory.jsonbody import Value, walk_array
from backstory.model import Message


class Listed(NamedTuple):
    """The messages of an array, and the place behind its leading system messages."""

    messages: tuple[Message, ...]
    pinned: int
    """How many of them are leading system messages."""
    insert_at: tuple[int, int]
    """An offset in the bytes of the body, and how many elements follow there."""


def read_list(
    text: str,
    fields: Mapping[str, Sequence[Value]],
    key: str,
    read: Callable[[object, bytes], Message | None],
) -> Listed | None:
    """The messages under ``key``; ``None`` if it is missing or given twice, or one is no message.

    Args:
        text: the body.
        fields: its fields, as ``jsonbody.walk_object`` found them; it may have walked this array
            in the same go.
        key: the field that holds the array.
        read: one message, from its value and its bytes.

    Raises:
        NotJson: it is no array, or nested too deep.
    """
    lists = fields.get(key, ())
    return read_array(text, lists[0], read) if len(lists) == 1 else None


def read_array(
    text: str, place: Value, read: Callable[[object, bytes], Message | None]
) -> Listed | None:
    """The messages of the array at ``place``. See ``read_list``."""
    elements = place.value
    if not isinstance(elements, list) or (elements and not isinstance(elements[0], Value)):
        elements = walk_array(text, place.start)
    messages: list[Message] = []
    for value, start, end in elements:
        message = read(value, text[start:end].encode())
        if message is None:
            return None
        messages.append(message)
    pinned = leading_system(messages)
    follow = len(messages) - pinned
    at = elements[pinned].start if follow else place.end - 1
    return Listed(tuple(messages), pinned, (len(text[:at].encode()), follow))


def leading_system(messages: Sequence[Message]) -> int:
    """How many system messages stand in front."""
    others = (at for at, message in enumerate(messages) if message.role != "system")
    return next(others, len(messages))


def put_in(
    body: bytes, insert_at: tuple[int, int], told: Sequence[bytes], *, preceded: bool
) -> bytes:
    """``body`` with ``told`` as further elements at ``insert_at``; ``body`` itself if there are none.

    ``preceded``: an element stands right before that place.
    """
    if not told:
        return body
    spliced = b", ".join(told)
    at, follow = insert_at
    if follow:
        spliced += b", "
    elif preceded:
        spliced = b", " + spliced
    return body[:at] + spliced + body[at:]

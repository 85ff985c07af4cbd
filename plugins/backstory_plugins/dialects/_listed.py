"""Messages that stand in a JSON array of the body: where history goes between them, and its splicing."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from backstory.jsonbody import Value, decode, walk_array, walk_object
from backstory.model import Beginning, Message, made

T = TypeVar("T")
RAW = itemgetter(Message._fields.index("raw"))  # in a fifth of the time of ``attrgetter``
"""Of a message."""


class Listed(NamedTuple):
    """The messages of an array, and the place behind its leading system messages."""

    messages: tuple[Message, ...]
    pinned: int
    """How many of them are leading system messages."""
    insert_at: tuple[int, int]
    """An offset in the bytes of the body, and how many elements follow there."""
    begins: Beginning | None
    """See ``model.Prompt.begins``."""


def walk(body: bytes, key: str, begun: Beginning | None) -> tuple[str, dict[str, list[Value]]]:
    """The body's text without what is known of the list under ``key``, and its fields.

    Raises:
        NotJson: see ``walk_object``.
    """
    if begun is None:
        text = decode(body)
        return text, walk_object(text, arrays=(key,))
    head = decode(body[: begun.opens])
    text = head + decode(body[begun.end :])
    return text, walk_object(text, arrays=(key,), resumes=len(head))


def read_list(
    text: str,
    fields: Mapping[str, Sequence[Value]],
    key: str,
    read: Callable[[object, bytes], Message | None],
    begun: Beginning | None = None,
    *,
    pins: bool = True,
) -> Listed | None:
    """The messages under ``key``; ``None`` if it is missing or given twice, or one is no message.

    Args:
        text: the body.
        fields: its fields, as ``jsonbody.walk_object`` found them; it may have walked this array
            in the same go.
        key: the field that holds the array.
        read: one message, from its value and its bytes.
        begun: the messages that ``walk`` has left out of the text.
        pins: leading system messages stay in front of history.

    Raises:
        NotJson: it is no array, or nested too deep.
    """
    lists = fields.get(key, ())
    return read_array(text, lists[0], read, begun, pins=pins) if len(lists) == 1 else None


def read_array(
    text: str,
    place: Value,
    read: Callable[[object, bytes], Message | None],
    begun: Beginning | None = None,
    *,
    pins: bool = True,
) -> Listed | None:
    """The messages of the array at ``place``. See ``read_list``."""
    array = read_elements(text, place, read, begun)
    return array and listed(array.elements, array, begun, pins=pins)


class Elements(NamedTuple, Generic[T]):
    """Elements of an array, and where in the bytes of the body they stand: not those that are known."""

    elements: list[T]
    starts: list[int]
    ends: list[int]
    opens: int
    """Behind the bracket that opens the array."""
    closes: int
    """Before the one that closes it."""


def read_elements(
    text: str, place: Value, read: Callable[[object, bytes], T | None], begun: Beginning | None
) -> Elements[T] | None:
    """The elements of the array at ``place``; ``None`` if one is ``None``. See ``read_list``."""
    places = place.value  # perhaps it is walked already
    if not isinstance(places, list) or (places and not isinstance(places[0], Value)):
        places = walk_array(text, place.start)
    at = place.start + 1
    opens = begun.opens if begun else len(text[:at].encode())
    further = (begun.end if begun else opens) - at  # a place in the body than in the text
    elements: list[T] = []
    starts: list[int] = []
    ends: list[int] = []
    for value, start, end in places:
        raw = text[start:end].encode()
        element = read(value, raw)
        if element is None:
            return None
        elements.append(element)
        starts.append(start + further)
        further += len(raw) - (end - start)
        ends.append(end + further)
    return made(Elements, (elements, starts, ends, opens, place.end - 1 + further))


def listed(
    messages: Sequence[Message],
    array: Elements[T],
    begun: Beginning | None,
    *,
    pins: bool = True,
) -> Listed:
    """All messages of ``array``, in which ``messages`` are those that were not known."""
    everything, starts, ends = tuple(messages), array.starts, array.ends
    if begun is not None:
        everything = begun.messages + everything
        starts, ends = [*begun.starts, *starts], [*begun.ends, *ends]
    begins: Beginning | None = None
    if len(everything) > 1:  # of a single one there is nothing to repeat
        begins = Beginning(array.opens, tuple(starts), tuple(ends), everything)
    pinned = leading_system(everything) if pins else 0
    follow = len(everything) - pinned
    at = starts[pinned] if follow else array.closes
    return made(Listed, (everything, pinned, (at, follow), begins))


def leading_system(messages: Sequence[Message]) -> int:
    """How many system messages stand in front."""
    for at, message in enumerate(messages):
        if message.role != "system":
            return at
    return len(messages)


def put_in(
    body: bytes, insert_at: tuple[int, int], told: Sequence[bytes], *, preceded: bool
) -> bytes:
    """``body`` with ``told`` as further elements at ``insert_at``; ``body`` itself if there are none.

    ``preceded``: an element stands right before that place.
    """
    if not told:
        return body
    at, follow = insert_at
    before = b", " if preceded and not follow else b""
    after = b", " if follow else b""
    return b"".join((body[:at], before, b", ".join(told), after, body[at:]))

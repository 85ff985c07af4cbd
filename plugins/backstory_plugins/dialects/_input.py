"""The field ``input`` of a Responses request: a string or a list of items, and where history goes."""

from collections.abc import Sequence

from backstory.jsonbody import Value, walk_array
from backstory.model import Message, Prompt
from backstory_plugins.dialects._items import Item, item_at, items_of

Edit = tuple[int, int, bytes]
"""From where to where the bytes of a body are replaced, and by what."""

_ASKED = b'{"type":"message","role":"user","content":'


def read_input(text: str, asked: Value) -> tuple[list[Item], list[Value]]:
    """The items of an input and their places; for a string the one that it stands for, and none.

    Raises:
        NotJson: it is neither a string nor a list of objects.
    """
    if isinstance(asked.value, str):
        raw = _ASKED + text[asked.start : asked.end].encode() + b"}"
        value = {"type": "message", "role": "user", "content": asked.value}
        return [Item(value, raw)], []
    places = walk_array(text, asked.start)
    return [item_at(text, place) for place in places], places


def insertion(
    text: str, asked: Value, places: Sequence[Value], pinned: Sequence[Message]
) -> tuple[int, int]:
    """``Prompt.insert_at``: an offset in the bytes, and how many items follow behind ``pinned``.

    For a string: from where to where it is spelled, the end made negative.
    """
    if isinstance(asked.value, str):
        return len(text[: asked.start].encode()), -len(text[: asked.end].encode())
    skipped = sum(len(items_of(message)) for message in pinned)
    follow = len(places) - skipped
    at = places[skipped].start if follow else asked.end - 1
    return len(text[:at].encode()), follow


def insert(prompt: Prompt, told: bytes) -> list[Edit]:
    """Put ``told``, at least one item, behind the leading system messages."""
    at, follow = prompt.insert_at
    if follow < 0:
        spelled = prompt.body[at:-follow]
        return [(at, -follow, b"[" + told + b", " + _ASKED + spelled + b"}]")]
    if follow:
        return [(at, at, told + b", ")]
    return [(at, at, b", " + told if prompt.pinned else told)]

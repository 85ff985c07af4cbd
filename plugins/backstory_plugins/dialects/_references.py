"""Items that stand in an input by their id alone, put back into their place (``docs/dialects.md`` 4.4)."""

from collections.abc import Iterator, Mapping, Sequence

from backstory.jsonbody import NotJson, Value, decode, walk_object
from backstory.model import Message
from backstory_plugins.dialects._items import Item, items_of
from backstory_plugins.dialects._runs import FORM

_KEYS = frozenset(("type", "id"))


def has_references(asked: Value) -> bool:
    """Whether an element of the input at ``asked``, whose elements are walked, is a reference."""
    places = asked.value
    return isinstance(places, list) and any(_named(place.value) for place in places)


def resolved(body: bytes, stored: Sequence[Message]) -> bytes | None:
    """``body`` with each reference replaced by the item of ``stored`` that has its id.

    ``None`` if there is none, or the same id names two that differ: servers exist that give every
    item the same. Nor may an item stand there twice, which the API refuses too: few bytes could ask
    for any number of them. Every other byte stays.
    """
    text = decode(body)
    asked = walk_object(text, arrays=("input",))["input"][0]
    assert isinstance(asked.value, list)
    names = [ident for place in asked.value if (ident := _named(place.value))]
    named = set(names)
    if len(named) < len(names):
        return None
    known: dict[str, bytes] = {}
    for item in _named_in(stored, named):
        ident = _id(item.value)
        if known.setdefault(ident, item.raw) != item.raw:
            return None
    if named - known.keys():
        return None
    pieces, at = [], 0
    for place in asked.value:
        if ident := _named(place.value):
            pieces += [text[at : place.start].encode(), known[ident]]
            at = place.end
    return b"".join([*pieces, text[at:].encode()])


def _named(value: object) -> str:
    """The id that the item ``value`` consists of; empty if it says more, or is none."""
    if not isinstance(value, dict) or not value.keys() <= _KEYS:
        return ""
    return _id(value) if value.get("type") in ("item_reference", None) else ""


def _id(value: Mapping[str, object]) -> str:
    ident = value.get("id")
    return ident if isinstance(ident, str) else ""


def _named_in(stored: Sequence[Message], named: set[str]) -> Iterator[Item]:
    """The items of ``stored`` that have one of the ids ``named``."""
    for message in stored:
        if message.form != FORM:
            continue
        try:
            items = items_of(message)
        except NotJson:
            continue
        yield from (item for item in items if _id(item.value) in named)

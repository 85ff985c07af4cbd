"""Reasoning among the items of a reply: what may go, and what goes with it.

The API refuses a reasoning item without the item that it led to, and an item whose id belongs to
reasoning that is not there.
"""

from collections.abc import Sequence

from backstory_plugins.dialects._fields import without
from backstory_plugins.dialects._items import Item


def without_reasons(items: Sequence[Item], goes: frozenset[int]) -> list[Item]:
    """``items`` without those at the places ``goes``, as the API accepts the rest.

    A reasoning item must stand right before the item that it led to, so it goes with that one. What
    it led to must lose its id if the reasoning alone goes: by that id the API asks for it again.
    """
    kept: list[Item] = []
    led: list[Item] = []
    orphaned = thinking = False
    for at, item in enumerate(items):
        if item.kind == "reasoning":
            orphaned = at in goes or (thinking and orphaned)
            thinking = True
            led += () if at in goes else (item,)
            continue
        thinking = False
        if at in goes:
            orphaned = orphaned or bool(led)
        else:
            kept += (*led, _nameless(item) if orphaned else item)
        led = []
    return kept  # reasoning at the end led to nothing


def is_sealed(item: Item) -> bool:
    """Whether this is reasoning that only the upstream's own store could complete."""
    value = item.value
    return item.kind == "reasoning" and not (value.get("encrypted_content") or value.get("content"))


def _nameless(item: Item) -> Item:
    """``item`` without its id, where that is not the only name it has."""
    if "id" not in item.value or not (item.kind == "message" or item.value.get("call_id")):
        return item
    left = {key: value for key, value in item.value.items() if key != "id"}
    return Item(left, without(item.raw.decode(), ("id",)).encode())

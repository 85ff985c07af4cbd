"""Fields taken out of a JSON object whose other bytes stay as they are."""

from collections.abc import Collection

from backstory.jsonbody import walk_object


def places_of(text: str, names: Collection[str]) -> list[tuple[int, int]]:
    """From where to where ``text``, a JSON object, is left out so that no field has one of ``names``.

    Each place holds the field and one of the commas beside it.

    Raises:
        NotJson: see ``walk_object``.
    """
    fields = sorted(
        (value.start, value.end, name)
        for name, values in walk_object(text).items()
        for value in values
    )
    places: list[tuple[int, int]] = []
    first = True  # nothing that stays stands before it
    for at, (start, end, name) in enumerate(fields):
        if name not in names:
            first = False
        elif not first:
            places.append((fields[at - 1][1], end))
        elif at + 1 < len(fields):
            places.append((_key(text, start), _key(text, fields[at + 1][0])))
        else:
            places.append((_key(text, start), end))
    return places


def without(text: str, names: Collection[str]) -> str:
    """``text``, a JSON object, without the fields that have one of ``names``."""
    for start, end in reversed(places_of(text, names)):
        text = text[:start] + text[end:]
    return text


def _key(text: str, value: int) -> int:
    """Where the key begins whose value begins at ``value``."""
    at = text.rindex('"', 0, text.rindex(":", 0, value))
    while True:
        at = text.rindex('"', 0, at)
        begins = at
        while text[begins - 1] == "\\":
            begins -= 1
        if (at - begins) % 2 == 0:
            return at

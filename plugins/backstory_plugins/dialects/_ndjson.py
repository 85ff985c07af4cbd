"""A stream of JSON objects, one a line (``application/x-ndjson``), read whole at its end."""

from typing import NamedTuple

from backstory.jsonbody import NotJson, read_object

MEDIA_TYPES = frozenset({"application/x-ndjson", "application/ndjson"})


class Lines(NamedTuple):
    """The objects of a body, in order."""

    objects: tuple[dict[str, object], ...]
    cut: bool
    """The input ended within a line, which is not among the objects."""


def read_lines(body: bytes) -> Lines:
    """Every line of ``body`` that is not blank.

    Raises:
        NotJson: a line that something follows is no JSON object.
    """
    # In bytes: str.splitlines() would also split at U+2028, which JSON allows inside strings.
    *lines, rest = body.split(b"\n")
    objects = [read_object(line) for line in lines if line.strip()]
    if not rest.strip():
        return Lines(tuple(objects), cut=False)
    try:
        objects.append(read_object(rest))
    except NotJson:
        return Lines(tuple(objects), cut=True)
    return Lines(tuple(objects), cut=False)

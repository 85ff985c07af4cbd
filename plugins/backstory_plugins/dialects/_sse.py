"""A whole event stream, taken apart by the rules of the HTML standard, section 9.2.6.

Two additions, because servers do it and memory must see it: an event that the input ends in is
told as well, marked as not closed; and a line of a field named ``error`` makes an error event.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from backstory.jsonbody import NotJson, read_object

EVENT_STREAM = "text/event-stream"
_BOM = b"\xef\xbb\xbf"
# In bytes: str.splitlines() would also split at U+2028, which JSON allows inside strings.
_line_end = re.compile(rb"\r\n|\n|\r")


class Event(NamedTuple):
    """One event. ``data`` may be empty, and it may be anything but JSON."""

    name: bytes
    """As the field ``event`` gives it; empty if there was none."""
    data: bytes
    """The values of all ``data`` lines, joined with LF."""
    closed: bool
    """An empty line ended it; if not, the input did, perhaps in the middle."""


def events(body: bytes) -> Iterator[Event]:
    """The events of ``body`` in order, those without data left out."""
    *lines, rest = _line_end.split(body.removeprefix(_BOM))
    name = b""
    data: list[bytes] = []
    for line in lines:
        if line:
            name = _take(line, name, data)
            continue
        if data:
            yield Event(name, b"\n".join(data), True)
        name, data = b"", []
    name = _take(rest, name, data)
    if data:
        yield Event(name, b"\n".join(data), False)


def objects(body: bytes) -> Iterator[dict[str, object]]:
    """The JSON object in each event, up to ``[DONE]``.

    ``{"error": True}`` stands for an event that says it is an error, or that holds anything else;
    what the input was cut in is left out.
    """
    for event in events(body):
        data = event.data.strip()
        if data.startswith(b"[DONE]"):
            return
        if not data:
            continue
        try:
            said = read_object(data)
        except NotJson:
            if event.closed:
                yield {"error": True}
            continue
        yield {"error": True} if event.name == b"error" else said


def _take(line: bytes, name: bytes, data: list[bytes]) -> bytes:
    """Add what ``line`` says to ``data``; the event's name after it."""
    field, _, value = line.partition(b":")  # a comment has the empty field name
    value = value.removeprefix(b" ")
    if field == b"data":
        data.append(value)
    elif field == b"event":
        return value
    elif field == b"error":
        data.append(value)
        return b"error"
    return name

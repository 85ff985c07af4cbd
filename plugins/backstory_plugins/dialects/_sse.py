"""A whole event stream, taken apart by the rules of the HTML standard, section 9.2.6.

Two additions, because servers do it and memory must see it: an event that the input ends in is
told as well, marked as not closed; and a line of a field named ``error`` makes an error event.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from backstory.jsonbody import NotJson, read_object

EVENT_STREAM = "text/event-stream"
_BOM = b"\xef\xbb\xbf"
# In bytes: str.splitlines() would also split at U+2028, which JSON allows inside strings.
_PLAIN = "data: {"
_parse = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in typeshed
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
    return _events(body.removeprefix(_BOM))


def _events(body: bytes) -> Iterator[Event]:
    *lines, rest = _line_end.split(body) if b"\r" in body else body.split(b"\n")
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


def chunks(body: bytes) -> Iterator[dict[str, object] | Event]:
    """The events of ``body`` in order: the JSON object of each that is nothing else, read already.

    That is nearly all of them, and a long reply has thousands: they are parsed where they stand. Of
    everything else the event is told.
    """
    try:
        text = body.removeprefix(_BOM).decode()
    except UnicodeDecodeError:
        text = "\r"
    if "\r" in text:
        yield from events(body)
        return
    *blocks, rest = text.split("\n\n")
    for block in blocks:
        if block.startswith(_PLAIN):
            try:
                value, end = _parse(block, len(_PLAIN) - 1)
            except (RecursionError, StopIteration, ValueError):
                value, end = {}, 0
            if end == len(block):
                yield value
                continue
        yield from _events(block.encode() + b"\n\n")
    yield from _events(rest.encode())


def objects(body: bytes) -> Iterator[dict[str, object]]:
    """The JSON object in each event, up to ``[DONE]``.

    ``{"error": True}`` stands for an event that says it is an error, or that holds anything else;
    what the input was cut in is left out.
    """
    for chunk in chunks(body):
        if not isinstance(chunk, Event):
            yield chunk
            continue
        data = chunk.data.strip()
        if data.startswith(b"[DONE]"):
            return
        if not data:
            continue
        try:
            said = read_object(data)
        except NotJson:
            if chunk.closed:
                yield {"error": True}
            continue
        yield {"error": True} if chunk.name == b"error" else said


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

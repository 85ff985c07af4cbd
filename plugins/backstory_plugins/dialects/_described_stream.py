"""A streamed answer as a configuration describes it: its events as JSON, and how it says its end."""

import json
import re
from collections.abc import Iterator

from backstory.jsonbody import NotJson, decode, dump
from backstory.model import Marker
from backstory_plugins.dialects._described import Stream
from backstory_plugins.dialects._sse import events

END = object()
"""Stands for the last event, in place of a value."""
_BEHIND_NUMBERS = (b",", b"}", b" ")  # 1 is the beginning of 12


def values(body: bytes, stream: Stream) -> Iterator[object]:
    """The JSON of each event; ``END`` where its text says the end.

    Raises:
        NotJson: an event that came whole is none, or it is an error.
    """
    for name, data, closed in _pieces(body, stream):
        if not data:
            continue
        if stream.end_text and data.startswith(stream.end_text.encode()):
            yield END
        if name == b"error":
            raise NotJson("an error event")
        is_last = bool(stream.end_event) and name == stream.end_event.encode()
        try:
            yield read_json(data)
        except NotJson:
            if closed and not is_last:
                raise
            # Else the input was cut in this event, and what came before it decides.
        if is_last:
            yield END


def _pieces(body: bytes, stream: Stream) -> Iterator[tuple[bytes, bytes, bool]]:
    """Name, data, and whether its end came, of each event or line."""
    if stream.kind == "sse":
        for event in events(body):
            yield event.name, event.data.strip(), event.closed
        return
    *lines, rest = body.split(b"\n")
    for line in lines:
        yield b"", line.strip(), True
    yield b"", rest.strip(), False


def is_end(stream: Stream, found: list[object]) -> bool:
    """Whether one of the values ``found`` is one of those that say the end."""
    # True is 1 in Python, and not in JSON.
    return any(
        type(value) is type(end) and value == end for value in found for end in stream.end_values
    )


def event_ended(body: bytes, stream: Stream) -> bool:
    """The line that names the last event came: that event may have no data."""
    if not stream.end_event:
        return False
    name = re.escape(stream.end_event.encode())
    return re.search(rb"(?:^|[\r\n])event: ?" + name + rb"[\r\n]", body) is not None


def marker(stream: Stream) -> Marker | None:
    """What bytes say the end; ``None`` if only a parse can tell them apart from others."""
    if stream.kind == "text":
        return Marker((stream.end_text.encode(),), line_start=False) if stream.end_text else None
    if stream.end_text:
        text = stream.end_text.encode()
        return Marker((b"data: " + text, b"data:" + text), line_start=True)
    if stream.end_event:
        lines = (blank + stream.end_event.encode() for blank in (b"event: ", b"event:"))
        spellings = tuple(line + end for line in lines for end in (b"\n", b"\r"))
        return Marker(spellings, line_start=True)
    if stream.end is None or len(stream.end.steps) != 1:
        return None
    key = dump(stream.end.steps[0])
    spelled = [
        key + colon + dump(end) + behind
        for end in stream.end_values
        for colon in (b":", b": ")
        for behind in (_BEHIND_NUMBERS if type(end) is int else (b"",))
    ]
    return Marker(tuple(spelled), line_start=False, top_level=True)


def read_json(body: bytes) -> object:
    """Any JSON value.

    Raises:
        NotJson: it is none, or nested too deep.
    """
    try:
        value: object = json.loads(decode(body))
    except (RecursionError, ValueError) as exc:
        raise NotJson(str(exc)) from exc
    return value

"""A streamed reply of Anthropic's, put together: the blocks that its events add up to.

Every piece is collected first and joined once at the end of its block, so that a long reply costs
no more than its length. The events and what they do: ``docs/dialects.md`` 5.4.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from backstory.jsonbody import NotJson, dump, read_object
from backstory_plugins.dialects._blocks import Block, string
from backstory_plugins.dialects._sse import events

STOPS = (
    b"event: message_stop",
    b"event:message_stop",
    b'data: {"type":"message_stop"',
    b'data: {"type": "message_stop"',
    b'data:{"type":"message_stop"',
)
"""How the last event may begin; some servers leave out the line with its name."""

_stopped = re.compile(rb"(?:\A|[\r\n])(?:" + b"|".join(map(re.escape, STOPS)) + b")").search
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")


class Streamed(NamedTuple):
    """What a stream said."""

    blocks: tuple[Block, ...] = ()
    reason: object = None
    """``stop_reason``."""
    usage: object = None
    """The last that was said of each count."""
    failed: bool = False
    """It reported an error, or cannot be read."""
    whole: bool = False
    """``message_stop`` came, and every block that began has ended."""


_BROKEN = Streamed(failed=True)


@dataclass(slots=True)
class _Open:
    """A block, and the pieces of it that have come."""

    value: dict[str, object]
    pieces: dict[str, list[str]] = field(default_factory=dict)
    citations: list[object] = field(default_factory=list)
    lossy: bool = False
    """Something of it is not understood."""
    stopped: bool = False


class _Spoilt(ValueError):
    """An event that cannot be what the server meant."""


def read_events(body: bytes) -> Streamed:
    """The reply in a whole event stream."""
    opened: dict[object, _Open] = {}
    usage: dict[str, object] = {}
    reason: object = None
    for event in events(body):
        if event.data.strip() == b"[DONE]":
            continue  # gateways in front of other APIs say that too
        try:
            said = read_object(event.data)
        except NotJson:
            if not event.closed:
                break  # the input was cut in this event; whether the last one came decides
            return _BROKEN
        kind = string(said.get("type")) or event.name.decode(errors="replace")
        if kind == "error" or event.name == b"error":
            return _BROKEN
        try:
            if kind == "message_start":
                usage |= _counts(_object(said, "message"))
            elif kind == "message_delta":
                reason = _object(said, "delta").get("stop_reason") or reason
                usage |= _counts(said)
            elif kind.startswith("content_block_"):
                _take(kind, said, opened)
        except _Spoilt:
            return _BROKEN
    try:
        blocks = _joined(list(opened.values()))
    except _Spoilt:
        return _BROKEN
    whole = bool(_stopped(body)) and all(block.stopped for block in opened.values())
    return Streamed(blocks, reason, usage, whole=whole)


def _object(said: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = said.get(key)
    return value if isinstance(value, dict) else {}


def _counts(said: Mapping[str, object]) -> dict[str, object]:
    return {key: count for key, count in _object(said, "usage").items() if count is not None}


def _take(kind: str, said: Mapping[str, object], opened: dict[object, _Open]) -> None:
    index = said.get("index")
    if type(index) is not int:
        raise _Spoilt
    if kind == "content_block_start":
        begun = said.get("content_block")
        if index in opened or not isinstance(begun, dict):
            raise _Spoilt
        opened[index] = _Open(begun)
        return
    block = opened.get(index)
    if block is None:
        raise _Spoilt
    if kind == "content_block_stop":
        block.stopped = True
    elif kind == "content_block_delta":
        _add(block, _object(said, "delta"))


_APPENDED = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}
_SET = {"signature_delta": ("signature",), "compaction_delta": ("content", "encrypted_content")}


def _add(block: _Open, delta: Mapping[str, object]) -> None:
    kind = string(delta.get("type"))
    if key := _APPENDED.get(kind):
        block.pieces.setdefault(key, []).append(string(delta.get(key)))
    elif kind in _SET:
        block.value |= {key: delta[key] for key in _SET[kind] if key in delta}
    elif kind == "citations_delta":
        block.citations.append(delta.get("citation"))
    else:
        block.lossy = True


def _joined(opened: list[_Open]) -> tuple[Block, ...]:
    """The blocks; without one that is not understood, and then without thinking as well."""
    if any(block.lossy and block.value.get("type") in _CALLS for block in opened):
        raise _Spoilt
    blocks = [_block(block) for block in opened if not block.lossy]
    if len(blocks) < len(opened):
        blocks = [block for block in blocks if not block.is_thinking]
    return tuple(blocks)


def _block(opened: _Open) -> Block:
    value = opened.value
    arguments = "".join(opened.pieces.pop("partial_json", ()))
    for key, pieces in opened.pieces.items():
        value[key] = string(value.get(key)) + "".join(pieces)
    if opened.citations:
        given = value.get("citations")
        value["citations"] = [*(given if isinstance(given, list) else ()), *opened.citations]
    if value.get("type") not in _CALLS:
        return Block(value, dump(value))
    if arguments.strip():
        try:
            value["input"] = json.loads(arguments)
        except (RecursionError, ValueError) as exc:
            raise _Spoilt from exc
    if not isinstance(value.get("input"), dict):
        raise _Spoilt
    return Block(value, _spelled(value, arguments.strip()))


def _spelled(value: Mapping[str, object], arguments: str) -> bytes:
    """The block, its input as the model spelled it: numbers keep their digits."""
    try:
        spelled = arguments.encode()
    except UnicodeEncodeError:  # a lone surrogate
        spelled = b""
    fields = (
        dump(key) + b":" + (spelled if spelled and key == "input" else dump(inside))
        for key, inside in value.items()
    )
    return b"{" + b",".join(fields) + b"}"

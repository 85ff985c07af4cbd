"""What of a message a tokenizer can count: its texts, whatever the form, and what is none.

An API spells a message to its model in its own way; of the JSON around the texts nothing is left there.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from backstory.model import Message

_NAMES = ("role", "type", "id", "status", "call_id", "tool_call_id", "tool_use_id")
"""Keys of what the model is not told, or not in these words."""
_SEALED = ("data", "signature", "thoughtSignature", "thought_signature", "encrypted_content")
"""Keys of what is no text to anybody but its author, however it is spelled."""
_JSON = ("arguments", "args", "input", "response")
"""Keys of what the model reads as JSON, where it is not a text already."""
_LEAST_BASE64 = 128

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Texts(NamedTuple):
    """The strings of a message, parted."""

    said: list[str]
    """To be counted."""
    unsaid: int
    """Characters of what is no text: media, signatures."""


def texts_of(message: Message, *, with_media: bool) -> Texts:
    """The texts of ``message``; ``with_media``: some of its strings are images or files.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deep.
    """
    said: list[str] = []
    unsaid = 0
    for text, is_text in _strings(json.loads(b"[" + message.raw + b"]")):
        if not is_text or (with_media and _may_be_base64(text)):
            unsaid += len(text)
        else:
            said.append(text)
    return Texts(said, unsaid)


def _strings(value: object) -> Iterator[tuple[str, bool]]:
    """Every string in ``value`` that costs something, and whether it is text."""
    if isinstance(value, str):
        yield value, True
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in _NAMES and isinstance(item, str):
                continue
            if key in _SEALED and isinstance(item, str):
                yield item, False
            elif key in _JSON and isinstance(item, dict | list):
                yield _compact(item), True
            else:
                yield from _strings(item)


def _may_be_base64(text: str) -> bool:
    """Or a long URL. Some wrap their base64 into lines, nobody with blanks."""
    return len(text) >= _LEAST_BASE64 and text.isascii() and " " not in text

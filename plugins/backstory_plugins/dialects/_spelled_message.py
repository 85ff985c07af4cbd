"""A message as a configured API spells it, and as memory keeps it.

Kept is the form ``chat``, so that every dialect can tell it. How the client spelled it is noted
beside, unless the template alone spells the same: keys that nobody here knows survive.
"""

import hashlib
from collections.abc import Mapping

from backstory.fingerprint import estimate_tokens
from backstory.jsonbody import dump
from backstory.model import Message, Role
from backstory_plugins.dialects._chat import plain_message, stored_text
from backstory_plugins.dialects._jsonpath import JsonPath
from backstory_plugins.dialects._placeholders import filled


class SpelledMessage:
    """Reads and writes one message by a template with ``{role}`` and ``{text}``."""

    def __init__(
        self, template: object, role: JsonPath, text: JsonPath, words: Mapping[Role, str]
    ) -> None:
        """``role``, ``text``: where the placeholders stand; ``words``: what the API calls each role."""
        self._template = template
        self._role, self._text = role, text
        self._words = dict(words)
        self._roles: dict[str, Role] = {word: known for known, word in words.items()}
        # A note is of use where this spelling is in use, and nowhere else.
        spelling = dump([template, sorted(words.items())])
        self._key = hashlib.sha256(spelling).digest()[:8]

    def read(self, value: object, raw: bytes) -> Message | None:
        """The message ``value``, spelled ``raw``; ``None`` if it has no role or text of this API."""
        word, text = self._role.first(value), self._text.first(value)
        role = self._roles.get(word) if isinstance(word, str) else None
        if text is None:
            text = ""  # a message of something else: it is told again as it was spelled
        if role is None or not isinstance(text, str):
            return None
        message = plain_message(role, text)
        if _same(value, self._filled(self._words[role], text)):
            return message
        return message._replace(note=self._key + raw, tokens=estimate_tokens(len(raw)))

    def told(self, message: Message) -> bytes:
        """``message`` in this spelling; empty if this API has no place for it."""
        word = self._words.get(message.role)
        if word is None:
            return b""
        if message.note.startswith(self._key):
            return message.note.removeprefix(self._key)
        text = stored_text(message)
        return dump(self._filled(word, text)) if text else b""

    def _filled(self, word: str, text: str) -> object:
        return filled(self._template, {"role": word, "text": text})


def _same(value: object, other: object) -> bool:
    """Whether ``value`` would be spelled as ``other`` is: the same keys in the same order."""
    if value != other:
        return False
    if isinstance(value, dict) and isinstance(other, dict):
        return [*value] == [*other] and all(map(_same, value.values(), other.values()))
    if isinstance(value, list) and isinstance(other, list):
        return all(map(_same, value, other))
    return type(value) is type(other)  # 1 is not true, nor 1.0

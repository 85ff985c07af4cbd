"""Which thinking may be told again: a block is bound to all that stood before it.

A model's thinking is valid only behind the system prompt, the tools and the messages that it was
written behind, and only for that model; and none may be missing between two others, only at the
beginning (``docs/dialects.md`` 5.3). So each reply with thinking carries a note: the hash of that
prefix, and the hash of the prefix of the first thinking that was told with it. When history is
told, the hashes are made anew, and thinking is told from the place on from which all of it fits.

The hashes leave out thinking itself and cache marks, which do not bind.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from backstory.jsonbody import NotJson, read_object
from backstory.model import Message
from backstory_plugins.dialects._blocks import Block, has_thinking, without_thinking
from backstory_plugins.dialects._cache_marks import unmarked_value

_SIZE = 16
_LARGEST_CACHED_BYTES = 16384

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def note_of(request: bytes) -> bytes:
    """The note of a reply with thinking to ``request``; empty if that cannot be read."""
    try:
        fields = read_object(request)
        return _note(fields)
    except (NotJson, RecursionError):
        return b""


def _note(fields: Mapping[str, object]) -> bytes:
    messages = fields.get("messages")
    if not isinstance(messages, list):
        return b""
    while messages and _is_assistants(messages[-1]):
        messages = messages[:-1]  # the reply goes on with it
    prefix, first = root(fields), b""
    for message in messages:
        if not first and _is_assistants(message) and _thinks(message):
            first = prefix
        prefix = _after(prefix, _digests(message))
    return prefix + (first or prefix)


def told(history: Sequence[Message], loop: int, fields: Mapping[str, object]) -> list[Message]:
    """``history`` with the thinking that its model accepts behind what it is told behind.

    Args:
        history: as it goes upstream but for the thinking.
        loop: where the unfinished tool loop begins: its thinking has to come back as it is.
        fields: what binds besides messages: ``model``, ``system``, ``tools``.
    """
    thinks = [at for at, message in enumerate(history) if has_thinking(message)]
    if not thinks:
        return list(history)
    try:
        prefixes = _prefixes(root(fields), history)
    except RecursionError:
        prefixes = [b""] * len(history)  # no note is that
    begins, least = len(history), 0
    for at in reversed(thinks):
        own, first = history[at].note[:_SIZE], history[at].note[_SIZE:]
        fits = len(own) == _SIZE and own == prefixes[at]
        if at < loop and not (fits and at >= least):
            break
        begins = at
        least = max(least, prefixes.index(first) if fits and first in prefixes else at)
    bare = [without_thinking(message) for message in history[:begins]]
    return [message for message in bare if message is not None] + list(history[begins:])


def root(fields: Mapping[str, object]) -> bytes:
    """The hash of what stands before the first message; the model counts as a part of it."""
    system, tools = fields.get("system"), fields.get("tools")
    if isinstance(system, str):
        system = [{"type": "text", "text": system}] if system else []
    bound = [fields.get("model"), unmarked_value(system) or [], unmarked_value(tools) or []]
    return _hash(_canonical(bound).encode())


def _prefixes(prefix: bytes, history: Sequence[Message]) -> list[bytes]:
    """The hash before each message of ``history``."""
    prefixes = []
    for message in history:
        prefixes.append(prefix)
        small = len(message.raw) <= _LARGEST_CACHED_BYTES
        prefix = _after(prefix, _cached_digests(message.raw) if small else _read(message.raw))
    return prefixes


def _read(raw: bytes) -> tuple[bytes, ...]:
    try:
        return tuple(_digests(read_object(raw)))
    except (NotJson, RecursionError):
        return (_hash(raw),)


_cached_digests = lru_cache(maxsize=1024)(_read)


def _after(prefix: bytes, digests: Iterable[bytes]) -> bytes:
    for digest in digests:
        prefix = _hash(prefix + digest)
    return prefix


def _digests(message: object) -> Iterator[bytes]:
    """A hash for each block that binds, its role in it: messages of one role count as one."""
    if not isinstance(message, dict):
        return
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for value in content if isinstance(content, list) else ():
        if isinstance(value, dict):
            block = Block(value, b"")
            if block.is_thinking or block.is_blank:
                continue
        yield _hash(_canonical([message.get("role"), unmarked_value([value])]).encode())


def _is_assistants(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _thinks(message: Mapping[str, object]) -> bool:
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    return any(isinstance(value, dict) and Block(value, b"").is_thinking for value in blocks)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_SIZE).digest()

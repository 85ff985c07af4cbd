"""The messages of a turn as two blobs: what was said, and what is known about it.

The first blob is the raw bytes of every message, joined and otherwise untouched. The second has
a record of fixed layout for each message, so that a reader needs no parser to find its way::

    1 byte   layout, now 1
    4 bytes  how many messages were asked; the others are the reply
    1 byte   length of the form, which all messages of a turn share
    2 bytes  length of the reply's id
    ...      the form, the reply's id
    each:    role (1), tokens (4), length of raw (4), length of spine (1), length of ids (4),
             length of the note (4), fingerprint (32), spine (0 or 32),
             ids (JSON: [calls, answers]; nothing if both empty), note

Numbers are little-endian. Whoever changes the layout gives it the next number and goes on
reading the old ones.
"""

import json
import struct
from collections.abc import Sequence
from typing import NamedTuple, get_args

from backstory.model import Message, Role, Turn

LAYOUT = 1

_HEAD = struct.Struct("<BIBH")
_RECORD = struct.Struct("<BIIBII")
_LENGTH = struct.Struct("<I")
_DIGEST = 32
_SPINE_SIZES = (0, _DIGEST)
_ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
assert get_args(Role) == _ROLES  # a role's place in this tuple is what is stored: append only
_CODES = {role: place for place, role in enumerate(_ROLES)}


def ident(text: str) -> bytes:
    """An id or owner as a column holds it: any string, lone surrogates and NUL included.

    A token's claim may hold them; a text column would refuse or cut such a name.
    """
    return text.encode("utf-8", "surrogatepass")


def text(stored: bytes) -> str:
    """The inverse of ``ident``."""
    return stored.decode("utf-8", "surrogatepass")


def pack(turn: Turn) -> tuple[bytes, bytes]:
    """The raw bytes of the turn's messages, and the facts about them."""
    messages = turn.messages
    its_form = messages[0].form if messages else ""
    form, reply_id = its_form.encode("ascii"), ident(turn.reply_id)
    spoken: list[bytes] = []
    facts = [_HEAD.pack(LAYOUT, len(turn.asked), len(form), len(reply_id)), form, reply_id]
    for role, raw, fingerprint, spine, calls, answers, tokens, form_of_it, note in messages:
        spine_size = len(spine)
        if form_of_it != its_form:
            raise ValueError("the messages of a turn have one form")
        if len(fingerprint) != _DIGEST or spine_size not in _SPINE_SIZES:
            raise ValueError("a fingerprint has 32 bytes, a spine 32 or none")
        ids = b""
        if calls or answers:
            # ASCII output: an id with a lone surrogate can be spelled only as an escape.
            ids = json.dumps([calls, answers], separators=(",", ":")).encode("ascii")
        record = _RECORD.pack(_CODES[role], tokens, len(raw), spine_size, len(ids), len(note))
        facts += record, fingerprint, spine, ids, note
        spoken.append(raw)
    return b"".join(spoken), b"".join(facts)


class Said(NamedTuple):
    """What ``pack`` makes two blobs of."""

    asked: tuple[Message, ...]
    reply: tuple[Message, ...]
    reply_id: str


def unpack(raw: bytes, facts: bytes) -> Said:
    """The inverse of ``pack``.

    Raises:
        ValueError: the blobs are not what ``pack`` wrote, or a newer version wrote them.
    """
    layout, asked, form_size, id_size = _HEAD.unpack_from(facts)
    if layout != LAYOUT:
        raise ValueError(f"layout {layout} of a stored turn is unknown: install a newer Backstory")
    messages: list[Message] = []
    begin, at = 0, _HEAD.size + form_size
    form = facts[_HEAD.size : at].decode("ascii")
    reply_id, at = text(facts[at : at + id_size]), at + id_size
    while at < len(facts):
        role, tokens, raw_size, spine_size, ids_size, note_size = _RECORD.unpack_from(facts, at)
        at += _RECORD.size
        fingerprint, at = facts[at : at + _DIGEST], at + _DIGEST
        spine, at = facts[at : at + spine_size], at + spine_size
        calls, answers = json.loads(facts[at : at + ids_size]) if ids_size else ((), ())
        at += ids_size
        note, at = facts[at : at + note_size], at + note_size
        said, begin = raw[begin : begin + raw_size], begin + raw_size
        ids = tuple(calls), tuple(answers)
        messages.append(Message(_ROLES[role], said, fingerprint, spine, *ids, tokens, form, note))
    if at != len(facts) or begin != len(raw):
        raise ValueError("a stored turn is damaged: its facts do not fit its messages")
    return Said(tuple(messages[:asked]), tuple(messages[asked:]), reply_id)


def first_fingerprint(facts: bytes) -> bytes:
    """The fingerprint of the turn's first message; empty if it has none."""
    _, _, form_size, id_size = _HEAD.unpack_from(facts)
    start = _HEAD.size + form_size + id_size + _RECORD.size
    return facts[start : start + _DIGEST]


def pack_list(items: Sequence[bytes]) -> bytes:
    """Some byte strings as one, each with its length in front."""
    return b"".join(_LENGTH.pack(len(item)) + item for item in items)


def unpack_list(packed: bytes) -> tuple[bytes, ...]:
    """The inverse of ``pack_list``."""
    items: list[bytes] = []
    at = 0
    while at < len(packed):
        (length,) = _LENGTH.unpack_from(packed, at)
        at += _LENGTH.size
        items.append(packed[at : at + length])
        at += length
    return tuple(items)

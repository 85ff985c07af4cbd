"""Why erased is erased: content is sealed under a key that stands in one place of the file.

``secure_delete`` overwrites what is deleted, but not the copies that SQLite leaves in the unused
part of a page whenever it moves rows between pages (measured: up to 170 copies of a deleted text,
WAL truncated). So the file holds no text and no name, only what the conversation's key opens, and
that key alone must be overwritten. It is in a row of a table whose rows never move: see ``secret``
in ``_schema.py``.
"""

import hashlib
import hmac
import struct
from collections import deque
from functools import lru_cache
from weakref import ref

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backstory.entropy import random_bytes
from backstory.errors import StoreUnavailable
from backstory.model import Owner
from backstory_plugins.stores._rows import ident

KEY_BYTES = 32
MOST_CIPHERS = 64
"""That are kept: one takes 2.5 KB, and as long to make as it takes to seal a turn."""
_NONCE_BYTES = 12
_SIZES = struct.Struct("<II")
_PURPOSE = b"backstory: content in a file of SQLite, AES-256-GCM"


class Seal:
    """Closes and opens what belongs to the conversation with this key."""

    __slots__ = ("__weakref__", "_cipher", "_key")

    def __init__(self, key: bytes) -> None:
        """``key`` is ``Conversation.key``; what seals is derived from it."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key of a conversation has {KEY_BYTES} bytes")
        self._key = hmac.digest(key, _PURPOSE, "sha256")
        self._cipher: AESGCM | None = None

    def close(self, plain: bytes, label: bytes) -> bytes:
        """``plain``, to be opened with the same ``label`` only: which row and column it is for."""
        nonce = random_bytes(_NONCE_BYTES)
        return nonce + (self._cipher or self._new_cipher()).encrypt(nonce, plain, label)

    def open(self, sealed: bytes, label: bytes) -> bytes:
        """The inverse of ``close``.

        Raises:
            StoreUnavailable: the file is damaged.
        """
        cipher, nonce = self._cipher or self._new_cipher(), sealed[:_NONCE_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[_NONCE_BYTES:], label)
        except (InvalidTag, ValueError) as error:
            raise StoreUnavailable("a stored conversation is damaged") from error

    def _new_cipher(self) -> AESGCM:
        """Kept with this seal, and in so many of them at most. Called from any thread."""
        cipher = self._cipher = AESGCM(self._key)
        _with_cipher.append(ref(self))
        if len(_with_cipher) > MOST_CIPHERS and (seal := _with_cipher.popleft()()) is not None:
            seal._cipher = None
        return cipher


_with_cipher: "deque[ref[Seal]]" = deque()
"""In the order in which they were made; a seal that is forgotten takes its own with it."""


def close_turn(seal: Seal, facts: bytes, holes: bytes, rest: bytes, name: bytes) -> bytes:
    """A turn's facts, the places of its media, and its other bytes (``_rows.py``, ``_media.py``)."""
    return seal.close(_SIZES.pack(len(facts), len(holes)) + facts + holes + rest, b"turn" + name)


def open_turn(seal: Seal, sealed: bytes, name: bytes) -> tuple[bytes, bytes, bytes]:
    """The inverse of ``close_turn``.

    Raises:
        StoreUnavailable: the file is damaged.
    """
    plain = seal.open(sealed, b"turn" + name)
    facts, holes = _SIZES.unpack_from(plain)
    begin = _SIZES.size + facts
    return plain[_SIZES.size : begin], plain[begin : begin + holes], plain[begin + holes :]


@lru_cache(maxsize=64)  # of those in use just now: each is asked for several times
def place(owner: Owner, conversation: str) -> tuple[bytes, bytes, bytes]:
    """Tenant, subject and id as columns hold them: digests, for indexes leave copies of names."""
    return *_whose(owner), _digest(conversation)


@lru_cache(maxsize=1024)
def _whose(owner: Owner) -> tuple[bytes, bytes]:
    return _digest(owner.tenant), _digest(owner.subject)


def reply_mark(owner: Owner, reply_id: str) -> bytes | None:
    """What the column for a reply's id holds: a digest, of the owner too; ``None`` without an id."""
    if not reply_id:
        return None
    return hashlib.sha256(b"".join(place(owner, reply_id))).digest()


def slot(placed: tuple[bytes, bytes, bytes]) -> int:
    """Which of the stamps is that of the conversation at ``placed``."""
    tenant, subject, ident = (int.from_bytes(digest[:2], "little") for digest in placed)
    return tenant ^ subject ^ ident


def _digest(name: str) -> bytes:
    return hashlib.sha256(ident(name)).digest()

"""The key ring: secrets from which every key of ours is derived, the newest first.

One secret never does two jobs: each purpose has its own key (HKDF-SHA256, RFC 5869, with the
purpose as ``info``). What the newest secret sealed, all of them may open: that is how a secret is
rotated without forgetting anybody.
"""

import base64
import binascii
import hmac
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Ring:
    """One or more secrets, the newest first."""

    def __init__(self, roots: Sequence[bytes]) -> None:
        """``roots``: of any length but empty; a short one is as guessable as it was."""
        if not roots or not all(roots):
            raise ValueError("a key ring needs at least one secret, and none may be empty")
        self._roots = tuple(roots)

    def keys(self, purpose: str) -> dict[str, bytes]:
        """Key id to 32-byte key for ``purpose``, newest first. The id tells nothing of the key."""
        return {derive(root, "kid/v1").hex()[:8]: derive(root, purpose) for root in self._roots}

    def pseudonym(self, purpose: str, value: str) -> str:
        """A stable name for ``value`` that does not give it away: 32 hexadecimal digits.

        Under the oldest secret, so that it outlives rotation for as long as that one is kept.
        """
        key = derive(self._roots[-1], purpose)
        return hmac.digest(key, value.encode("utf-8", "surrogateescape"), "sha256").hex()[:32]


def derive(root: bytes, purpose: str) -> bytes:
    """The 32-byte key of ``root`` for one purpose."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(root)


def read_or_make(path: Path) -> list[bytes]:
    """The secrets in a key file, newest first; a fresh one (32 bytes, mode 0600) if there is none.

    A line holds one secret in URL-safe base64; empty lines and lines with ``#`` are comments.

    Raises:
        ValueError: the file holds something else, or others may read it.
        OSError: it can be neither read nor made.
    """
    if not path.exists():
        _make(path)
    return _read(path)


def _make(path: Path) -> None:
    """Appears with its whole content, and never in the place of one that another process made."""
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            file.write(f"# Backstory's session keys, newest first.\n{key}\n")
            file.flush()
            os.fsync(descriptor)
        os.link(fresh, path)
    except FileExistsError:
        pass  # somebody was faster: theirs it is
    finally:
        Path(fresh).unlink()


def _read(path: Path) -> list[bytes]:
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path}: others may read it; run: chmod 600 {path}")
    roots = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        try:
            root = base64.urlsafe_b64decode(line)
        except (ValueError, binascii.Error):
            root = b""
        if len(root) < 32:
            raise ValueError(f"{path}, line {number}: not 32 bytes in URL-safe base64")
        roots.append(root)
    if not roots:
        raise ValueError(f"{path}: holds no key; delete it and a new one is made")
    return roots

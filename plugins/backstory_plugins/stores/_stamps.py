"""Whether a conversation is still as it was read: a table of stamps that all processes share.

What is known of a conversation may be used again only while nobody has changed it, and asking
SQLite costs a thread and a transaction. So whoever changes a conversation also changes a stamp in a
file that every process has mapped: before COMMIT to one that nobody may trust, and after COMMIT,
but before anybody is told of it, to one that was never used. A reader that took the stamp before
it read may use what it read for as long as the stamp is the same.

A process that dies in between leaves a stamp that nobody trusts, which is slow and right. Many
conversations share a stamp: then one is read again without need.
"""

import fcntl
import mmap
import os
from pathlib import Path

SLOTS = 65536
_BYTES = SLOTS * 8
_UNTRUSTED = 1
_MASK = 2**64 - 2


class Stamps:
    """The table beside the database ``file``. One thread changes stamps, any may read them."""

    def __init__(self, file: str) -> None:
        """Makes the table if nobody uses one; it is gone when the last process closes it.

        Raises:
            OSError: there can be no such file.
        """
        self._path = Path(f"{file}-stamps")
        self._descriptor = self._open()
        self._map = mmap.mmap(self._descriptor, _BYTES)
        self._table = memoryview(self._map).cast("Q")
        self._last = int.from_bytes(os.urandom(8), "little") & _MASK
        self._changing: dict[int, int] = {}

    def read(self, slot: int) -> int:
        """The stamp now; 0: what is read now must not be used again."""
        stamp = self._table[slot]
        return 0 if stamp & _UNTRUSTED else stamp

    def change(self, slot: int) -> None:
        """Inside the transaction that changes a conversation: nobody may trust what is known of it."""
        self._changing[slot] = self._table[slot] = self._fresh() | _UNTRUSTED

    def changed(self) -> dict[int, int]:
        """After the end of that transaction, before anybody is told: the new stamp of each slot."""
        fresh: dict[int, int] = {}
        for slot, mine in self._changing.items():
            if self._table[slot] == mine:  # else another process is changing it already
                self._table[slot] = fresh[slot] = self._fresh()
        self._changing.clear()
        return fresh

    def close(self) -> None:
        """Let go of the table, and remove it if nobody else uses it."""
        self._table.release()
        self._map.close()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # somebody else does
        finally:
            os.close(self._descriptor)

    def _open(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if self._is_current(descriptor):
                    if os.fstat(descriptor).st_size != _BYTES:
                        os.ftruncate(descriptor, _BYTES)
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its last user has just removed it

    def _is_current(self, descriptor: int) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(descriptor))

    def _fresh(self) -> int:
        """A stamp that was never used: processes begin at random places."""
        self._last = (self._last + 2) & _MASK
        return self._last or self._fresh()

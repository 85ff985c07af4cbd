"""Whether a conversation is still as it was read: a table of stamps that all processes share.

What is known of a conversation may be used again only while nobody has changed it, and asking
SQLite costs a thread and a transaction. So every conversation has a stamp in a file that every
process has mapped: two counts, of changes begun and of the last one ended. Whoever changes it counts
one more as begun before COMMIT, when it alone may write, and notes it as ended after COMMIT, but
before anybody is told. A reader that took the stamp before it read may use what it read for as
long as the stamp is the same.

Nobody trusts counts that differ. So a process that dies in between, and one that notes its end
after another has begun or even ended, leave what is slow and right until the next change. Many
conversations share a stamp: then one is read again without need.
"""

import fcntl
import mmap
import os
from pathlib import Path

SLOTS = 65536
_BYTES = SLOTS * 16


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
        self._changing: dict[int, int] = {}

    def read(self, slot: int) -> int:
        """The stamp now; 0: what is read now must not be used again."""
        begun = self._table[2 * slot]
        return begun if self._table[2 * slot + 1] == begun else 0

    def change(self, slot: int) -> None:
        """Inside the transaction that changes a conversation: nobody may trust what is known of it."""
        # Only one process at a time is inside such a transaction: no count is lost or used twice.
        self._changing[slot] = self._table[2 * slot] = self._table[2 * slot] + 1

    def changed(self) -> dict[int, int]:
        """After the end of that transaction, before anybody is told: the new stamp of each slot."""
        fresh: dict[int, int] = {}
        for slot, mine in self._changing.items():
            if self._table[2 * slot] == mine:  # else another process is changing it already
                self._table[2 * slot + 1] = fresh[slot] = mine
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

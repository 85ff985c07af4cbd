"""The one thread that writes to SQLite: whatever waits is committed together.

An fsync costs a millisecond whether it covers one turn or sixty. So the writer takes all that has
queued up while the last commit ran, does it in one transaction, and answers nobody before COMMIT has
returned. If a piece of work fails, all of them are undone and done again, each in a savepoint of
its own: failures are rare, and savepoints would cost every turn.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from backstory.model import made
from backstory_plugins.stores._sqlite_file import BUSY_SECONDS, unavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""Reads and changes the database inside a transaction that is not its own. May be called again."""
After = Callable[[Sequence[object]], None]
"""Told the results once they are durable, or nothing if there are none; before anybody else is."""

MOST_AT_ONCE = 64
GATHER_SECONDS = 0.003
"""How long it waits for others where the last transaction was shared: then more are coming.

Whoever is alone never waits. Of 32 at once, each request takes 8 % less CPU with this than with 1 ms
(measured): fewer transactions, and fewer changes between two threads of which one may run at a time.
"""
SCRUB_AGAIN_SECONDS = 1.0
"""How soon the write-ahead log is truncated again if somebody was still reading it."""
SCRUB_BUSY_MILLISECONDS = 250


class _Write(NamedTuple):
    work: Work[Any]
    scrub: bool
    future: asyncio.Future[Any]


class _Outcome(NamedTuple):
    result: object = None
    error: Exception | None = None


class Writer:
    """Runs pieces of work in the order they came, many to a transaction. Owns its connection."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        loop: asyncio.AbstractEventLoop,
        after: After = lambda _: None,
    ) -> None:
        """Begins at once; ``loop`` is where everybody waits."""
        self._connection = connection
        self._loop = loop
        self._after = after
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._submitted: list[_Write] = []
        self._running = True
        self._shared = False
        # A process may have died between an erasure and its truncation.
        self._scrub_due = True
        self._scrub_at = 0.0
        # A daemon: a store that nobody closed must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T], *, scrub: bool = False) -> asyncio.Future[T]:
        """The result of ``work`` once it is durable, or its error.

        Called from the loop. Cancelling the future does not stop the work.

        Args:
            work: what to do.
            scrub: if the result is true, no byte of what was deleted shall stay in any file.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._submitted:
            self._loop.call_soon(self.hand_over)
        self._submitted.append(made(_Write, (work, scrub, future)))
        return future

    def hand_over(self) -> None:
        """Give the thread what was submitted in this turn of the loop: it wakes up once for all."""
        submitted, self._submitted = self._submitted, []
        for write in submitted:
            self._queue.put(write)

    def finish(self) -> None:
        """Return when everything handed over is done and the connection is closed. Blocks."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._running:
                batch = self._take()
                self._shared = len(batch) > 1
                outcomes = self._commit(batch) if batch else []
                self._after([outcome.result for outcome in outcomes])
                if self._scrub_due and time.monotonic() >= self._scrub_at:
                    self._scrub()
                if batch:
                    self._answer(batch, outcomes)
        finally:
            self._connection.close()

    def _take(self) -> list[_Write]:
        taken: list[_Write] = []
        try:
            write = self._queue.get(timeout=SCRUB_AGAIN_SECONDS if self._scrub_due else None)
            if self._shared:
                time.sleep(GATHER_SECONDS)
            while write is not None:
                taken.append(write)
                if len(taken) == MOST_AT_ONCE:
                    return taken
                write = self._queue.get_nowait()
            self._running = False  # nothing comes after ``finish``
        except queue.Empty:
            pass  # that is all for now
        return taken

    def _commit(self, batch: Sequence[_Write]) -> list[_Outcome]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = self._together(batch) or [self._attempt(write) for write in batch]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            return [_Outcome(error=unavailable(error))] * len(batch)
        for write, outcome in zip(batch, outcomes, strict=True):
            if write.scrub and outcome.result:
                self._scrub_due, self._scrub_at = True, 0.0
        return outcomes

    def _together(self, batch: Sequence[_Write]) -> list[_Outcome]:
        """Everything without savepoints; nothing was done if it returns nothing."""
        try:
            return [made(_Outcome, (write.work(self._connection), None)) for write in batch]
        except Exception:  # noqa: BLE001 - each is tried again, and its error kept for its waiter
            self._roll_back()
            self._connection.execute("BEGIN IMMEDIATE")
            return []

    def _attempt(self, write: _Write) -> _Outcome:
        self._connection.execute("SAVEPOINT attempt")
        try:
            result = write.work(self._connection)
        except Exception as error:
            if isinstance(error, sqlite3.Error):
                if not self._connection.in_transaction:
                    raise  # a full disk, for instance, undoes the whole transaction
                error = unavailable(error)
            self._connection.execute("ROLLBACK TO attempt")
            self._connection.execute("RELEASE attempt")
            return _Outcome(error=error)
        self._connection.execute("RELEASE attempt")
        return _Outcome(result)

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # then the next BEGIN fails, and comes by here again

    def _scrub(self) -> None:
        # It waits for readers, and commits wait behind it: so not long, and not each time.
        self._connection.execute(f"PRAGMA busy_timeout = {SCRUB_BUSY_MILLISECONDS}")
        try:
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._scrub_due = bool(busy)
        except sqlite3.Error:
            pass  # still due
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
            self._scrub_at = time.monotonic() + SCRUB_AGAIN_SECONDS

    def _answer(self, batch: Sequence[_Write], outcomes: Sequence[_Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, batch, outcomes)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more


def _settle(batch: Sequence[_Write], outcomes: Sequence[_Outcome]) -> None:
    for write, outcome in zip(batch, outcomes, strict=True):
        if write.future.done():
            continue  # whoever asked has left
        if outcome.error is None:
            write.future.set_result(outcome.result)
        else:
            write.future.set_exception(outcome.error)

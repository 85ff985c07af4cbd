"""The threads that read from SQLite, each with a connection for the time of one query."""

import asyncio
import queue
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from backstory_plugins.stores._sqlite_file import connect, unavailable

T = TypeVar("T")
Query = Callable[[sqlite3.Connection], T]

READERS = 2
"""In WAL mode readers wait for nobody; more threads would only queue for Python's own lock."""


class Readers:
    """Runs queries beside each other, each on the state that was last committed."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        """Opens the connections: blocks. ``loop`` is where everybody waits."""
        self._loop = loop
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for _ in range(READERS):
            self._idle.put(connect(path, read_only=True))

    def submit(self, query: Query[T]) -> asyncio.Future[T]:
        """The result of ``query``, or its error. Called from the loop."""
        return self._loop.run_in_executor(self._threads, self._run, query)

    def finish(self) -> None:
        """Return when every query is answered and the connections are closed. Blocks."""
        self._threads.shutdown()
        for _ in range(READERS):
            self._idle.get().close()

    def _run(self, query: Query[T]) -> T:
        connection = self._idle.get()  # as many as threads: never waits
        try:
            return query(connection)
        except sqlite3.Error as error:
            raise unavailable(error) from error
        finally:
            self._idle.put(connection)

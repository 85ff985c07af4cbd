"""The file of the SQLite store: made private, opened durable, migrated."""

import os
import sqlite3
import threading
import time
from pathlib import Path

from backstory.errors import StoreUnavailable
from backstory_plugins.stores._schema import migrate

BUSY_SECONDS = 5.0
"""How long a statement waits while another process writes."""
PAGE_BYTES = 16384
"""A turn of ordinary size stays on one page: half the cost of a commit with 4 KB pages."""

_AGAIN_SECONDS = 0.02

# POSIX drops every lock that a process holds on a file as soon as it closes any descriptor of it
# (sqlite.org/howtocorrupt.html, section 2.2). So a file is created and closed before this process
# connects to it, never meanwhile, and one that exists is not opened but by SQLite.
_opening = threading.Lock()


def open_file(path: str) -> sqlite3.Connection:
    """A connection that may write, to an up-to-date database that only we may read.

    Raises:
        StoreUnavailable: there can be no such file, or it is no database of ours.
        NewerSchema: a newer version of Backstory has written it.
    """
    with _opening:
        try:
            _make_private(path)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot use the file {path!r} ({error.strerror}): create its directory, make it "
                "writable, or name another file with --store"
            ) from error
        try:
            connection = connect(path)
            try:
                _use_wal(connection)
                migrate(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise unavailable(error) from error
    return connection


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with our settings, in autocommit mode; to be used by one thread at a time."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    # An acknowledged turn outlives a power cut: NORMAL would lose the last ones.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # What is erased is overwritten, not only unlinked, and never was in another file.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    # A reader forgets its pages whenever somebody has written: it needs no room for many.
    connection.execute(f"PRAGMA cache_size = -{256 if read_only else 1024}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def unavailable(error: sqlite3.Error) -> StoreUnavailable:
    """What callers are told about an error of SQLite: its name, and never a value."""
    return StoreUnavailable(f"SQLite: {getattr(error, 'sqlite_errorname', type(error).__name__)}")


def _make_private(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        for name in (path, f"{path}-wal", f"{path}-shm"):
            try:
                Path(name).chmod(0o600)
            except FileNotFoundError:
                pass  # they come and go with the processes that use the file
        return
    try:
        os.fchmod(descriptor, 0o600)  # a umask may have taken more than was ours to give
    finally:
        os.close(descriptor)


def _use_wal(connection: sqlite3.Connection) -> None:
    # The page size counts only before the first table, and not any more once in WAL mode.
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself when two processes change the mode at once.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return

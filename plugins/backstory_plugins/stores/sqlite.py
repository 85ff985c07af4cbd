"""Conversations in one file of this machine, durable before anybody is told so. The default.

What is erased cannot be read any more, by nobody (``_sealed.py``). Nothing of SQLite runs on the
event loop: one thread writes (``_writer.py``), two read (``_readers.py``), and what was used a moment
ago is known without asking (``_stamps.py``). Several processes may share the file.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from backstory.errors import StoreUnavailable
from backstory.model import Conversation, Owner, Turn
from backstory.spi import Store
from backstory.warm import Warm
from backstory_plugins.stores import _changes as changes
from backstory_plugins.stores import _queries as queries
from backstory_plugins.stores._known import Known
from backstory_plugins.stores._readers import Query, Readers
from backstory_plugins.stores._sealed import place, slot
from backstory_plugins.stores._sqlite_file import open_file, unavailable
from backstory_plugins.stores._stamps import Stamps
from backstory_plugins.stores._writer import Work, Writer

T = TypeVar("T")

KNOWN_BYTES = 16 * 1024 * 1024
"""Of conversations, without their turns, that are known without asking."""


class _Open(NamedTuple):
    writer: Writer
    readers: Readers
    stamps: Stamps


class SqliteStore:
    """See ``spi.Store``. Used from one event loop at a time."""

    def __init__(self, file: str) -> None:
        """``file`` is made by ``open`` if it does not exist; its directory must."""
        self.file = file
        self._open: _Open | None = None
        self._known: Warm[tuple[Owner, str], Known] = Warm(KNOWN_BYTES)

    @classmethod
    def from_url(cls, url: str) -> "SqliteStore":
        """The store in the file that ``sqlite:///relative.db`` or ``sqlite:////absolute.db`` names.

        Raises:
            ValueError: not such a URL; the message says what to write instead.
        """
        parts = urlsplit(url)
        path = unquote(parts.path[1:])
        if parts.scheme != "sqlite" or parts.netloc or not path or path.endswith("/"):
            raise ValueError(
                f"not a file of SQLite: {url!r}; write sqlite:///name.db for a file in the working "
                "directory, sqlite:////path/name.db for any other"
            )
        if parts.query or parts.fragment or "\0" in path:
            raise ValueError(
                f"sqlite:// takes a path and nothing else: {url!r}; write ? as %3F and # as %23"
            )
        if path == ":memory:":
            raise ValueError("a database in memory would be another one for each thread: memory://")
        return cls(path)

    async def open(self) -> None:
        """See ``spi.Store``.

        Raises:
            StoreUnavailable: there can be no such file, or it is no database of this version.
        """
        if self._open is None:
            loop = asyncio.get_running_loop()
            self._open = await asyncio.to_thread(_begin, self.file, loop)

    async def close(self) -> None:
        """See ``spi.Store``. Whatever was begun is answered first."""
        was_open, self._open = self._open, None
        self._known.clear()
        if was_open is not None:
            was_open.writer.hand_over()
            await asyncio.to_thread(_finish, was_open)

    async def ready(self) -> None:
        """See ``spi.Store``. Writes, because nothing less notices a disk that is full."""
        await self._write(changes.beat)

    def known(self, owner: Owner, conversation: str) -> Conversation | None:
        """See ``spi.Store``."""
        known = self._still_known(owner, conversation)
        return known.conversation if known else None

    async def load(self, owner: Owner, conversation: str) -> Conversation | None:
        """See ``spi.Store``."""
        if known := self._still_known(owner, conversation):
            return known.conversation
        stamp = self._running().stamps.read(slot(place(owner, conversation)))
        found = await self._read(lambda db: queries.load(db, owner, conversation))
        if found is None:
            return None
        found.stamp = stamp
        self._known.put((owner, conversation), found, found.weight)
        return found.conversation

    async def path(
        self, owner: Owner, conversation: str, turn: str, limit: int | None = None
    ) -> tuple[Turn, ...]:
        """See ``spi.Store``."""
        return await self._read(lambda db: queries.path(db, owner, conversation, turn, limit))

    async def match(self, owner: Owner, conversation: str, chains: Sequence[bytes]) -> Turn | None:
        """See ``spi.Store``."""
        return await self._read(lambda db: queries.match(db, owner, conversation, chains))

    async def first_fingerprints(self, owner: Owner, conversation: str) -> frozenset[bytes]:
        """See ``spi.Store``."""
        return await self._read(lambda db: queries.first_fingerprints(db, owner, conversation))

    async def turn(self, owner: Owner, conversation: str, turn: str) -> Turn | None:
        """See ``spi.Store``."""
        return await self._read(lambda db: queries.turn(db, owner, conversation, turn))

    async def replied(self, owner: Owner, reply_id: str) -> tuple[str, str] | None:
        """See ``spi.Store``."""
        return await self._read(lambda db: queries.replied(db, owner, reply_id))

    async def commit(self, owner: Owner, after: Conversation, turns: Sequence[Turn]) -> None:
        """See ``spi.Store``. On the disk when it returns, together with whatever else waited.

        Given up, a turn that the writer has not come to is not stored later: it would be in front
        of the next one, which never saw it.

        Raises:
            ValueError: a turn is stored already, or its parent is not.
        """
        stamps, key = self._running().stamps, (owner, after.id)
        before = self._known.get(key)
        if before and not _precedes(before.conversation, after):
            before = None
        change = changes.prepare(owner, after, turns, before)
        waits = True

        def work(db: sqlite3.Connection) -> Known:
            nonlocal before
            if not waits:
                raise StoreUnavailable("nobody waits for this turn any more")
            hint, before = before, None  # if it was wrong, the second time is without
            return changes.commit(db, change, hint, stamps)

        try:
            known = await self._write(work)
        except BaseException:
            self._known.drop(key)
            raise
        finally:
            waits = False
        self._known.put(key, known, known.weight)

    async def touch(self, owner: Owner, conversation: str) -> None:
        """See ``spi.Store``."""
        stamps = self._running().stamps
        await self._write(lambda db: changes.touch(db, owner, conversation, stamps))

    async def erase(self, owner: Owner, conversation: str) -> bool:
        """See ``spi.Store``. Its key is gone from the file and from the write-ahead log.

        Content stands in the file only under that key. If another process is reading the log just
        then, its truncation follows as soon as it can.
        """
        stamps = self._running().stamps
        self._known.drop((owner, conversation))
        return await self._write(
            lambda db: changes.erase(db, owner, conversation, stamps), scrub=True
        )

    async def expire(self, before: float) -> int:
        """See ``spi.Store``. In portions, so that nobody's turn waits for long behind it."""
        count, stamps = 0, self._running().stamps
        while some := await self._write(lambda db: changes.expire(db, before, stamps), scrub=True):
            count += some
        return count

    async def _read(self, query: Query[T]) -> T:
        return await self._running().readers.submit(query)

    def _write(self, work: Work[T], *, scrub: bool = False) -> asyncio.Future[T]:
        return self._running().writer.submit(work, scrub=scrub)

    def _still_known(self, owner: Owner, conversation: str) -> Known | None:
        known = self._known.get((owner, conversation))
        if known is None or not known.stamp:
            return None
        return known if self._running().stamps.read(known.slot) == known.stamp else None

    def _running(self) -> _Open:
        if self._open is None:
            raise StoreUnavailable("the store is closed")
        return self._open


def _precedes(before: Conversation, after: Conversation) -> bool:
    return before.key == after.key and before.version == after.version - 1


def _begin(file: str, loop: asyncio.AbstractEventLoop) -> _Open:
    connection = open_file(file)
    try:
        stamps = Stamps(file)
        readers = Readers(file, loop)
    except sqlite3.Error as error:
        connection.close()
        raise unavailable(error) from error
    except OSError as error:
        connection.close()
        raise StoreUnavailable(
            f"cannot use the file {file + '-stamps'!r} ({error.strerror}): make it writable, or move"
            " it away"
        ) from error

    def after(results: Sequence[object]) -> None:
        fresh = stamps.changed()
        for result in results:
            if isinstance(result, Known):
                result.stamp = fresh.get(result.slot, 0)

    return _Open(Writer(connection, loop, after), readers, stamps)


def _finish(was_open: _Open) -> None:
    was_open.writer.finish()
    was_open.readers.finish()
    was_open.stamps.close()


_: type[Store] = SqliteStore

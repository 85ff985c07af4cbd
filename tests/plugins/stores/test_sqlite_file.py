"""The file: private, durable, and a clear word when there can be none."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from backstory.errors import StoreUnavailable
from backstory_plugins.stores._schema import NewerSchema
from backstory_plugins.stores._sqlite_file import connect, open_file, unavailable


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def ask(db: sqlite3.Connection, pragma: str) -> object:
    return db.execute(f"PRAGMA {pragma}").fetchone()[0]


PRIVATE = {"test.db": 0o600, "test.db-wal": 0o600, "test.db-shm": 0o600}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_a_new_file_is_ours_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask), closing(open_file(str(tmp_path / "test.db"))):
        assert modes(tmp_path) == PRIVATE


def test_a_file_that_was_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    with closing(open_file(str(tmp_path / "test.db"))):
        for path in tmp_path.iterdir():
            path.chmod(0o644)
        with closing(open_file(str(tmp_path / "test.db"))):
            assert modes(tmp_path) == PRIVATE


def test_every_connection_is_durable_and_leaves_no_trace(tmp_path: Path) -> None:
    file = str(tmp_path / "test.db")
    with closing(open_file(file)) as writer, closing(connect(file, read_only=True)) as reader:
        for db in (writer, reader):
            assert ask(db, "journal_mode") == "wal"
            assert ask(db, "page_size") == 16384
            assert ask(db, "synchronous") == 2  # FULL
            assert ask(db, "secure_delete") == 1
            assert ask(db, "foreign_keys") == 1
            assert ask(db, "busy_timeout") == 5000
            assert ask(db, "temp_store") == 2  # MEMORY
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM pulse")


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(open_file, [str(tmp_path / "test.db")] * 8))
    for db in opened:
        assert db.execute("SELECT beat FROM pulse").fetchall() == [(0,)]
        db.close()


def test_a_process_that_is_just_making_the_file_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself answers at once that it is busy: only in WAL mode writers wait."""
    file = str(tmp_path / "test.db")
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.execute, ["COMMIT"])
        timer.start()
        try:
            open_file(file).close()
        finally:
            timer.join()


def test_a_missing_directory_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"missing/test\.db.*create its directory"):
        open_file(str(tmp_path / "missing" / "test.db"))


@pytest.mark.parametrize("content", [b"not a database, but longer than a header" * 9, None])
def test_what_is_no_database_is_not_touched(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "test.db"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(StoreUnavailable, match=r"SQLITE_NOTADB|SQLITE_CANTOPEN"):
        open_file(str(file))
    assert content is None or file.read_bytes() == content


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "test.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 1000")
    with pytest.raises(NewerSchema, match="--store"):
        open_file(str(file))


def test_an_error_is_told_by_its_name_only(tmp_path: Path) -> None:
    with closing(open_file(str(tmp_path / "test.db"))) as db:
        with pytest.raises(sqlite3.Error) as caught:
            db.execute("SELECT 'secret text' FROM nothing")
        assert str(unavailable(caught.value)) == "SQLite: SQLITE_ERROR"
    with pytest.raises(sqlite3.Error) as caught:
        db.execute("SELECT 'secret text'")
    assert str(unavailable(caught.value)) == "SQLite: ProgrammingError"

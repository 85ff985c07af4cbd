"""The numbered steps to the tables."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backstory_plugins.stores._schema import FIRST, MIGRATIONS, NewerSchema, migrate

NEWEST = FIRST - 1 + len(MIGRATIONS)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as db:
        yield db


def version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_an_empty_file_gets_every_step(db: sqlite3.Connection) -> None:
    migrate(db)
    assert version(db) == NEWEST
    assert tables(db) == {"secret", "conversation", "turn", "media", "pulse"}


def test_a_second_start_changes_nothing(db: sqlite3.Connection) -> None:
    migrate(db)
    before = db.total_changes, db.execute("PRAGMA schema_version").fetchone()
    migrate(db)
    assert (db.total_changes, db.execute("PRAGMA schema_version").fetchone()) == before


def test_only_the_missing_steps_are_taken(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(db)
    step = ("CREATE TABLE later (row INTEGER PRIMARY KEY)",)
    monkeypatch.setattr("backstory_plugins.stores._schema.MIGRATIONS", (*MIGRATIONS, step))
    migrate(db)
    assert version(db) == NEWEST + 1
    assert "later" in tables(db)


def test_a_step_that_fails_leaves_nothing_behind(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = ("CREATE TABLE later (row INTEGER PRIMARY KEY)", "CREATE TABLE secret (row INTEGER)")
    monkeypatch.setattr("backstory_plugins.stores._schema.MIGRATIONS", (*MIGRATIONS, step))
    with pytest.raises(sqlite3.OperationalError):
        migrate(db)
    assert not db.in_transaction
    assert (version(db), tables(db)) == (0, set())


def test_a_newer_file_is_refused_with_a_remedy_and_not_touched(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA user_version = {NEWEST + 1}")
    with pytest.raises(NewerSchema, match="install the newer Backstory again"):
        migrate(db)
    assert not db.in_transaction
    assert (version(db), tables(db)) == (NEWEST + 1, set())


def test_a_file_from_before_the_first_release_is_refused_with_a_remedy(
    db: sqlite3.Connection,
) -> None:
    db.execute("PRAGMA user_version = 1")
    with pytest.raises(NewerSchema, match="move it away"):
        migrate(db)
    assert (version(db), tables(db)) == (1, set())

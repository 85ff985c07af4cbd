"""The thread that writes: together, in order, each answered for itself and after COMMIT only."""

import asyncio
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from backstory.errors import StoreUnavailable
from backstory_plugins.stores._sqlite_file import open_file
from backstory_plugins.stores._writer import MOST_AT_ONCE, Work, Writer


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "test.db")


@pytest.fixture
def db(file: str) -> sqlite3.Connection:
    """The writer's connection: for settings, before the writer has it."""
    db = open_file(file)
    db.execute("CREATE TABLE note (row INTEGER PRIMARY KEY, said TEXT)")
    return db


@pytest.fixture
async def writer(db: sqlite3.Connection) -> AsyncIterator[Writer]:
    writer = Writer(db, asyncio.get_running_loop())
    yield writer
    await asyncio.to_thread(writer.finish)


def note(said: str) -> Work[str]:
    def work(db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO note (said) VALUES (?)", (said,))
        return said

    return work


def notes(file: str) -> list[str]:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        return [said for (said,) in db.execute("SELECT said FROM note ORDER BY row")]


class Gate:
    """Work that keeps the writer busy until it is let go."""

    def __init__(self) -> None:
        self._entered, self._open = threading.Event(), threading.Event()

    def work(self, _: sqlite3.Connection) -> None:
        self._entered.set()
        assert self._open.wait(10)

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 10)

    def let_go(self) -> None:
        self._open.set()


async def hold(writer: Writer) -> tuple[Gate, asyncio.Future[None]]:
    """The writer is busy with a batch of its own: whatever comes now waits together."""
    gate = Gate()
    held = writer.submit(gate.work)
    await gate.entered()
    return gate, held


async def test_what_waits_is_committed_together(
    db: sqlite3.Connection, writer: Writer, file: str
) -> None:
    gate, held = await hold(writer)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    waiting = [writer.submit(note(str(number))) for number in range(2 * MOST_AT_ONCE)]
    gate.let_go()
    await asyncio.gather(held, *waiting)
    assert statements.count("COMMIT") == 3
    assert notes(file) == [str(number) for number in range(2 * MOST_AT_ONCE)]


async def test_what_is_submitted_in_one_turn_of_the_loop_is_one_transaction(
    db: sqlite3.Connection, writer: Writer, file: str
) -> None:
    """However long the turn is, and even if nobody keeps the writer busy meanwhile."""
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    begun = threading.Event()

    def begin(db: sqlite3.Connection) -> None:
        begun.set()
        note("0")(db)

    first = writer.submit(begin)
    assert not begun.wait(0.1), "it is not even begun before the turn is over"
    rest = [writer.submit(note(str(number))) for number in range(1, MOST_AT_ONCE)]
    await asyncio.gather(first, *rest)
    assert statements.count("COMMIT") == 1
    assert "SAVEPOINT attempt" not in statements, "which would cost every turn"
    assert notes(file) == [str(number) for number in range(MOST_AT_ONCE)]


async def test_if_one_fails_everything_is_done_again_each_for_itself(
    db: sqlite3.Connection, writer: Writer, file: str
) -> None:
    """Once more and no oftener; of the first time nothing stays."""
    done: list[str] = []

    def counted(said: str, *, fails: bool = False) -> Work[str]:
        def work(db: sqlite3.Connection) -> str:
            done.append(said)
            note(said)(db)
            if fails:
                raise KeyError(said)
            return said

        return work

    gate, held = await hold(writer)
    works = [counted("1"), counted("2", fails=True), counted("3")]
    futures = [writer.submit(work) for work in works]
    gate.let_go()
    await held
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["1", "'2'", "3"]
    assert done == ["1", "2", "1", "2", "3"]
    assert notes(file) == ["1", "3"]


async def test_a_first_try_that_was_wrong_may_be_right_the_second_time(
    writer: Writer, file: str
) -> None:
    """As where a hint was stale: its error is nobody's, and its changes are undone."""
    tries: list[str] = []

    def work(db: sqlite3.Connection) -> str:
        tries.append("try")
        note(f"try {len(tries)}")(db)
        if len(tries) == 1:
            raise LookupError("the hint was stale")
        return "right"

    assert await writer.submit(work) == "right"
    assert notes(file) == ["try 2"]


async def test_nobody_is_answered_before_the_commit(writer: Writer, file: str) -> None:
    gate, held = await hold(writer)
    late = Gate()
    first, second = writer.submit(note("first")), writer.submit(late.work)
    gate.let_go()
    await held
    await late.entered()
    assert (first.done(), notes(file)) == (False, [])
    late.let_go()
    assert await first == "first"
    assert notes(file) == ["first"]
    await second


async def test_work_that_fails_hurts_nobody_else(writer: Writer, file: str) -> None:
    def spoil(db: sqlite3.Connection) -> None:
        note("half")(db)
        raise KeyError("mistake")

    def misspell(db: sqlite3.Connection) -> None:
        note("half")(db)
        db.execute("SELECT nothing")

    gate, held = await hold(writer)
    works: list[Work[object]] = [note("1"), spoil, note("2"), misspell, note("3")]
    futures = [writer.submit(work) for work in works]
    gate.let_go()
    await held
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        str,
        KeyError,
        str,
        StoreUnavailable,
        str,
    ]
    assert notes(file) == ["1", "2", "3"]


async def test_a_commit_that_fails_fails_all_of_it_and_the_thread_goes_on(
    writer: Writer, file: str
) -> None:
    def add_an_orphan(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA defer_foreign_keys = ON")  # COMMIT notices it, and nobody before
        db.execute(
            "INSERT INTO turn SELECT 1, 99, NULL, x'', x'', x'', 1, 1, 1, 0, 0, 0.0, NULL, x''"
        )

    gate, held = await hold(writer)
    futures: list[asyncio.Future[object]] = [
        writer.submit(work) for work in (note("1"), add_an_orphan, note("2"))
    ]
    gate.let_go()
    await held
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    assert await writer.submit(note("3")) == "3"
    assert notes(file) == ["3"]


async def test_a_full_database_is_unavailable_until_there_is_room(
    writer: Writer, file: str
) -> None:
    def allow(pages: int) -> Work[object]:
        return lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    await writer.submit(allow(1))  # no more than there are
    with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
        await writer.submit(note("x" * 1_000_000))
    await writer.submit(note("small"))
    await writer.submit(allow(1_000_000))
    await writer.submit(note("x" * 1_000_000))
    assert [len(said) for said in notes(file)] == [5, 1_000_000]


async def test_who_has_left_is_not_answered_and_the_work_is_done(writer: Writer, file: str) -> None:
    gate, held = await hold(writer)
    gone, stays = writer.submit(note("gone")), writer.submit(note("stays"))
    gone.cancel()
    gate.let_go()
    await held
    assert await stays == "stays"
    assert notes(file) == ["gone", "stays"]


def test_a_loop_that_is_closed_stops_nothing(db: sqlite3.Connection, file: str) -> None:
    gate = Gate()

    async def begin() -> tuple[Writer, list[asyncio.Future[object]]]:
        writer = Writer(db, asyncio.get_running_loop())
        works: list[Work[object]] = [gate.work, note("done")]
        return writer, [writer.submit(work) for work in works]

    writer, waiting = asyncio.run(begin())
    gate.let_go()
    writer.finish()
    assert notes(file) == ["done"]
    assert not any(future.done() for future in waiting)


def size(log: Path) -> int:
    return log.stat().st_size


def copy_of_a_process_that_died(file: str, folder: Path) -> str:
    """The database and its log as they stand on the disk, used by nobody."""
    for name in (file, f"{file}-wal"):
        shutil.copy(name, folder)
    return str(folder / Path(file).name)


async def test_the_log_is_truncated_once_its_reader_has_gone(writer: Writer, file: str) -> None:
    log = Path(f"{file}-wal")
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM note").fetchall()
        await writer.submit(note("in the log"))
        assert await writer.submit(lambda _: True, scrub=True)
        assert size(log) > 0
        reader.execute("COMMIT")
    await asyncio.to_thread(_until, lambda: size(log) == 0)
    assert notes(file) == ["in the log"]


async def test_the_log_of_a_process_that_died_is_truncated_at_the_start(
    db: sqlite3.Connection, file: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It may hold what was being erased."""
    with closing(db):
        note("in the log")(db)
        died = copy_of_a_process_that_died(file, tmp_path_factory.mktemp("died"))
    log = Path(f"{died}-wal")
    assert size(log) > 0
    writer = Writer(await asyncio.to_thread(open_file, died), asyncio.get_running_loop())
    await asyncio.to_thread(_until, lambda: size(log) == 0)
    await asyncio.to_thread(writer.finish)
    assert notes(died) == ["in the log"]


def _until(true: Callable[[], bool]) -> None:
    """For a thread: what is waited for has no event of its own."""
    late = time.monotonic() + 10
    while not true():
        assert time.monotonic() < late
        time.sleep(0.005)

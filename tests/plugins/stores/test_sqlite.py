"""The store in a file: the contract, its URL, sharing, a bad disk, and forgetting."""

import asyncio
import random
import resource
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from backstory.errors import StoreUnavailable, VersionConflict
from backstory.model import Conversation, Owner
from backstory.spi import Store
from backstory.testing import StoreContract
from backstory.testing.samples import ADA, conversation, line, message, remember, turn
from backstory_plugins.stores import _sqlite_file
from backstory_plugins.stores.sqlite import SqliteStore


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.from_url(f"sqlite:///{file}")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def stored_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, file: Path) -> AsyncIterator[Store]:
        async with opened(file) as store:
            yield store


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///name.db", "name.db"),
        ("sqlite:///folder/name.db", "folder/name.db"),
        ("sqlite:////var/lib/name.db", "/var/lib/name.db"),
        ("sqlite:///odd%20name%3F%23%C3%A9.db", "odd name?#é.db"),
    ],
)
def test_three_slashes_are_relative_and_four_absolute(url: str, path: str) -> None:
    assert SqliteStore.from_url(url).file == path


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("memory://", "write sqlite:///name.db"),
        ("sqlite://name.db", "write sqlite:///name.db"),
        ("sqlite:///", "write sqlite:///name.db"),
        ("sqlite:", "write sqlite:///name.db"),
        ("sqlite:////folder/", "write sqlite:///name.db"),
        ("sqlite:///name.db?mode=ro", "write . as %3F"),
        ("sqlite:///name.db#x", "# as %23"),
        ("sqlite:///na%00me.db", "a path and nothing else"),
        ("sqlite:///:memory:", "memory://"),
    ],
)
def test_a_url_that_is_not_understood_is_answered_with_a_remedy(url: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        SqliteStore.from_url(url)


async def test_a_relative_file_is_made_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore.from_url("sqlite:///name.db")
    await store.open()
    await store.close()
    assert names(tmp_path) == ["name.db"]


async def test_what_was_committed_is_there_after_reopening(file: Path) -> None:
    turns = line(3)
    async with opened(file) as store:
        after = await remember(store, turns)
    async with opened(file) as store:
        assert await store.load(ADA, "c1") == after
        assert await store.path(ADA, "c1", turns[-1].id) == tuple(turns)


async def test_a_store_that_was_closed_can_be_opened_again(file: Path) -> None:
    store = SqliteStore(str(file))
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.ready()
    for _ in range(2):
        await store.open()
        await store.open()
        await store.ready()
        await store.close()


async def test_closing_answers_whatever_was_begun(file: Path) -> None:
    async with opened(file) as store:
        begun = [
            asyncio.ensure_future(work)  # noqa: TID251 - begun and not awaited on purpose
            for number in range(200)
            for work in (
                remember(store, [turn("Hello.")], to=conversation(f"c{number}")),
                store.load(ADA, f"c{number}"),
            )
        ]
        await asyncio.sleep(0)
        await store.close()
        assert names(file.parent) == ["test.db"]
        await asyncio.gather(*begun)
    async with opened(file) as store:
        assert await store.load(ADA, "c199")


async def test_two_stores_on_one_file_see_each_other(file: Path) -> None:
    async with opened(file) as one, opened(file) as two:
        said, more, late = line(3)
        first = await remember(one, [said])
        assert await two.load(ADA, "c1") == first
        second = await remember(two, [more], to=first)
        with pytest.raises(VersionConflict):
            await remember(one, [late], to=first)
        assert await one.load(ADA, "c1") == second
        assert await one.erase(ADA, "c1")
        assert await two.load(ADA, "c1") is None


async def test_what_another_store_on_the_file_did_is_never_unknown(file: Path) -> None:
    """Neither while it is done nor after: ``known`` never says what is old once somebody is told."""
    async with opened(file) as one, opened(file) as two:
        stored = conversation()
        for said in line(20):
            stored = await remember(one, [said], to=stored)
            assert one.known(ADA, "c1") == stored, "it has no need to ask"
            assert two.known(ADA, "c1") is None
            assert await two.load(ADA, "c1") == stored
            assert two.known(ADA, "c1") == stored
            one, two = two, one
        await one.touch(ADA, "c1")
        assert two.known(ADA, "c1") is None
        touched = stored._replace(single_use=False)
        assert await two.load(ADA, "c1") == touched
        assert await one.erase(ADA, "c1")
        assert (one.known(ADA, "c1"), two.known(ADA, "c1")) == (None, None)
        await remember(one, [turn("Hello.")])
        await two.load(ADA, "c1")
        assert await one.expire(2_000_000_000.0) == 1
        assert two.known(ADA, "c1") is None


async def test_a_stale_memory_of_where_the_rows_are_is_a_conflict_and_no_damage(
    file: Path,
) -> None:
    """One knows the conversation's rows; another erases it and makes one anew in the same rows."""
    async with opened(file) as one, opened(file) as two:
        said, more, late = line(3)
        first = await remember(one, [said])
        assert await two.erase(ADA, "c1")
        other = turn("Somebody else's.")
        anew = conversation()._replace(key=b"n" * 32)
        theirs = await remember(two, [other], owner=Owner("team", "bob"), to=anew)
        with pytest.raises(VersionConflict):
            await remember(one, [more], to=first)
        assert await two.load(Owner("team", "bob"), "c1") == theirs
        assert await two.path(Owner("team", "bob"), "c1", other.id) == (other,)
        again = await remember(one, [said], to=conversation()._replace(key=b"m" * 32))
        with pytest.raises(ValueError, match="parent"):
            await remember(one, [late], to=again)
        assert await one.load(ADA, "c1") == again


async def test_stamps_that_cannot_be_kept_are_said_with_the_remedy(file: Path) -> None:
    await asyncio.to_thread(Path(f"{file}-stamps").mkdir)
    store = SqliteStore(str(file))
    with pytest.raises(StoreUnavailable, match=r"test\.db-stamps.*move it away"):
        await store.open()


async def test_a_waiter_that_left_hurts_nobody(file: Path) -> None:
    async with opened(file) as store:
        names = [f"c{number}" for number in range(40)]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(remember(store, [turn("Hello.")], to=conversation(name)))
                for name in names
            ]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
        assert all([await store.load(ADA, name) for name in names[1::2]])
        await store.ready()


async def test_no_content_and_no_name_stands_in_any_file(file: Path) -> None:
    canary = "c4n4ry-c4n4ry"
    owner = Owner(f"tenant {canary}", f"subject {canary}")
    said = turn([message("user", canary, calls=(canary,))], reply=(message("assistant", canary),))
    async with opened(file) as store:
        after = conversation(f"name {canary}")
        await remember(store, [said], owner=owner, to=after, pinned=(canary.encode(),))
        assert stored_bytes(file.parent).count(canary.encode()) == 0
        assert await store.path(owner, after.id, said.id) == (said,)


async def test_erase_leaves_no_key_in_any_file(file: Path) -> None:
    """Whatever SQLite moved and rewrote meanwhile: without the key the rest is noise."""
    chance = random.Random(1)
    gone: list[bytes] = []
    async with opened(file) as store:
        kept: dict[str, Conversation] = {}
        for round_ in range(12):
            new = [conversation(f"{round_} {number}") for number in range(100)]
            new = [each._replace(key=chance.randbytes(32)) for each in new]
            old = chance.sample(list(kept.values()), len(kept) // 4)
            said = [turn("x" * chance.choice((1, 500, 5000))) for _ in new + old]
            kept |= {
                after.id: after
                for after in await asyncio.gather(
                    *(remember(store, [s], to=to) for s, to in zip(said, new + old, strict=True))
                )
            }
            names = chance.sample(list(kept), len(kept) // 3)
            assert all(await asyncio.gather(*(store.erase(ADA, name) for name in names)))
            gone += [kept.pop(name).key for name in names]
        stored = stored_bytes(file.parent)
    assert len(gone) > 500
    assert [key for key in gone if key in stored] == []
    assert [each for each in kept.values() if each.key not in stored] == []


async def test_expiry_leaves_no_key_either(file: Path) -> None:
    async with opened(file) as store:
        after = conversation()._replace(key=random.Random(1).randbytes(32))
        await remember(store, [turn("Hello.")], to=after)
        assert after.key in stored_bytes(file.parent)
        assert await store.expire(1.0) == 1
        assert after.key not in stored_bytes(file.parent)


async def test_a_flipped_bit_is_noticed(file: Path) -> None:
    said = turn("Hello.")
    async with opened(file) as store:
        await remember(store, [said])
    with closing(sqlite3.connect(file)) as db, db:
        (sealed,) = db.execute("SELECT sealed FROM turn").fetchone()
        db.execute("UPDATE turn SET sealed = ?", (sealed[:-1] + bytes([sealed[-1] ^ 1]),))
    async with opened(file) as store:
        with pytest.raises(StoreUnavailable, match="damaged"):
            await store.turn(ADA, "c1", said.id)


@contextmanager
def a_disk_that_takes_nothing() -> Iterator[None]:
    """Every write of this process to any file fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_takes_nothing_makes_it_unavailable_for_that_long(file: Path) -> None:
    said, more = line(2)
    async with opened(file) as store:
        first = await remember(store, [said])
        with a_disk_that_takes_nothing():
            with pytest.raises(StoreUnavailable, match="SQLITE_IOERR_WRITE"):
                await remember(store, [more], to=first)
            with pytest.raises(StoreUnavailable, match="SQLITE_IOERR_WRITE"):
                await store.ready()
            assert await store.load(ADA, "c1") == first
            assert await store.path(ADA, "c1", said.id) == (said,)
        await store.ready()
        second = await remember(store, [more], to=first)
        assert await store.load(ADA, "c1") == second


async def test_a_writer_elsewhere_that_never_ends_makes_it_unavailable(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_file, "BUSY_SECONDS", 0.1)
    async with opened(file) as store:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
                await remember(store, [turn("Hello.")])
            assert await store.load(ADA, "c1") is None
            other.execute("ROLLBACK")
        await remember(store, [turn("Hello.")])


async def test_two_processes_append_to_one_conversation(file: Path) -> None:
    """Both begin at once, on a file that does not exist yet; each turn is there exactly once."""
    each = 200
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, Path(__file__).with_name("appender.py"), file, name, str(each)
        )
        for name in ("one", "two")
    ]
    assert [await worker.wait() for worker in workers] == [0, 0]
    async with opened(file) as store:
        found = await store.load(ADA, "shared")
        assert found is not None
        assert found.head is not None
        path = await store.path(ADA, "shared", found.head.turn)
    assert found.version == len(path) == 2 * each
    assert {said.id for said in path} == {f"{n} {at}" for n in ("one", "two") for at in range(each)}

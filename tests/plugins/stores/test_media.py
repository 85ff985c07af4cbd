"""Images inside of messages: taken out and put back to the byte, kept once, erased with the rest."""

import base64
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.errors import StoreUnavailable
from backstory.testing.samples import ADA, KEY, conversation, line, message, remember, turn
from backstory_plugins.stores._media import LEAST_BYTES, join, split
from backstory_plugins.stores.sqlite import SqliteStore

RUN = b"A" * LEAST_BYTES
OTHER = b"b/+=_-\\" * LEAST_BYTES


def picture(seed: int, size: int = 30_000) -> bytes:
    return base64.b64encode(random.Random(seed).randbytes(size))


def stored_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def back(data: bytes, key: bytes = KEY) -> bytes:
    rest, holes, media = split(data, key)
    return join(rest, holes, media.__getitem__)


PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([RUN, OTHER, RUN + b"B", RUN[1:], b'"', b"\\/", b"\0", b" "]),
    st.builds(lambda seed, size: picture(seed, size), st.integers(0, 3), st.integers(2900, 3200)),
)


@given(st.lists(PIECES, max_size=8).map(b"".join))
def test_what_was_taken_apart_is_put_back_exactly(data: bytes) -> None:
    rest, holes, media = split(data, KEY)
    assert join(rest, holes, media.__getitem__) == data
    assert all(len(medium) >= LEAST_BYTES for medium in media.values())
    assert bool(media) == bool(holes)
    assert split(data, KEY) == (rest, holes, media), "the same each time"


@given(st.lists(PIECES, max_size=6).map(b"".join))
def test_no_long_run_stays_behind(data: bytes) -> None:
    rest, _, media = split(data, KEY)
    if not media:
        assert rest == data
    for medium in media.values():
        assert medium not in rest


@pytest.mark.parametrize(
    "data", [b"", b"short", RUN[1:], b'"' + RUN[1:] + b'"', b" ".join([RUN[1:]] * 9)]
)
def test_what_is_short_stays_where_it_is(data: bytes) -> None:
    assert split(data, KEY) == (data, b"", {})


def test_a_picture_is_found_in_its_data_url() -> None:
    for said in (picture(1), picture(1).replace(b"/", b"\\/")):
        data = b'{"url":"data:image/png;base64,%b"}, {"url":"data:;base64,%b"}' % (said, said)
        rest, holes, media = split(data, KEY)
        assert list(media.values()) == [said], "twice, and kept once"
        assert rest == b'{"url":"data:image/png;base64,"}, {"url":"data:;base64,"}'
        assert join(rest, holes, media.__getitem__) == data


def test_the_same_has_another_name_in_another_conversation() -> None:
    """Or a digest in the file would say that two people sent the same picture."""
    assert split(RUN, KEY).media.keys().isdisjoint(split(RUN, KEY[::-1]).media)
    assert back(RUN, KEY[::-1]) == RUN


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "hostile",
    [
        b"A" * 8_000_000,
        (RUN[1:] + b" ") * 2000,
        b"A " * 4_000_000,
        b" " * 8_000_000,
        (RUN + b"!") * 2000,
        b"\\" * 8_000_000,
    ],
    ids=["one run", "nearly runs", "letters", "blanks", "runs", "escapes"],
)
def test_hostile_bytes_take_no_time(hostile: bytes) -> None:
    """Eight megabytes; n² steps would be minutes."""
    assert back(hostile) == hostile


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(str(tmp_path / "test.db"))
    await store.open()
    yield store
    await store.close()


def rows(store: SqliteStore) -> int:
    with closing(sqlite3.connect(store.file)) as db:
        (count,) = db.execute("SELECT count(*) FROM media").fetchone()
    assert isinstance(count, int)
    return count


def seen(text: str, *pictures: bytes) -> list[bytes]:
    return [b'{"role":"user","content":"%b %b"}' % (text.encode(), said) for said in pictures]


async def test_the_same_picture_in_one_conversation_is_one_row(store: SqliteStore) -> None:
    """In two turns, in a branch, twice in one message; another conversation has its own."""
    first, second = picture(1), picture(2)
    root = turn([message("user", "x", raw=raw) for raw in seen("What is it?", first, first)])
    more = turn([message("user", "y", raw=raw) for raw in seen("And now?", first, second)], root)
    branch = turn([message("user", "z", raw=raw) for raw in seen("Or now?", second)], root)
    after = await remember(store, [root])
    assert rows(store) == 1
    after = await remember(store, [more], to=after)
    await remember(store, [branch], to=after)
    assert rows(store) == 2
    await remember(store, [root], to=conversation("c2")._replace(key=KEY[::-1]))
    assert rows(store) == 3
    assert await store.path(ADA, "c1", more.id) == (root, more)
    assert await store.path(ADA, "c1", branch.id) == (root, branch)
    assert await store.turn(ADA, "c2", root.id) == root


async def test_what_is_erased_takes_its_pictures_along(store: SqliteStore, tmp_path: Path) -> None:
    said = turn([message("user", "x", raw=raw) for raw in seen("What is it?", picture(1))])
    kept = turn([message("user", "x", raw=raw) for raw in seen("What is it?", picture(2))])
    key = random.Random(1).randbytes(32)
    await remember(store, [said], to=conversation()._replace(key=key))
    await remember(store, [kept], to=conversation("c2"))
    for name in ("test.db", "test.db-wal"):
        stored = (tmp_path / name).read_bytes()
        assert picture(1)[:64] not in stored, "sealed, like everything else"
    assert await store.erase(ADA, "c1")
    assert rows(store) == 1
    stored = stored_bytes(tmp_path)
    assert key not in stored, "and what SQLite left of it is noise without its key"
    assert await store.turn(ADA, "c2", kept.id) == kept


async def test_a_picture_that_is_gone_is_damage_and_no_empty_picture(store: SqliteStore) -> None:
    said = turn([message("user", "x", raw=raw) for raw in seen("What is it?", picture(1))])
    after = await remember(store, [said])
    with closing(sqlite3.connect(store.file)) as db, db:
        db.execute("DELETE FROM media")
    with pytest.raises(StoreUnavailable, match="damaged"):
        await store.turn(ADA, "c1", said.id)
    (more,) = line(1, after=said)
    await remember(store, [more], to=after)
    assert await store.path(ADA, "c1", more.id, 1) == (more,), "the others are as they were"


async def test_a_picture_in_the_place_of_another_is_damage(store: SqliteStore) -> None:
    said = turn([message("user", "x", raw=raw) for raw in seen("Which?", picture(1), picture(2))])
    await remember(store, [said])
    with closing(sqlite3.connect(store.file)) as db, db:
        (one, first), (two, second) = db.execute("SELECT row, sealed FROM media").fetchall()
        for row, sealed in ((one, second), (two, first)):
            db.execute("UPDATE media SET sealed = ? WHERE row = ?", (sealed, row))
    with pytest.raises(StoreUnavailable, match="damaged"):
        await store.turn(ADA, "c1", said.id)

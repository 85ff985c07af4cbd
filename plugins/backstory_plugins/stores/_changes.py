"""What the SQLite store changes: plain functions that run inside the writer's transaction."""

import json
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from backstory.errors import VersionConflict
from backstory.model import Conversation, Owner, Turn, made
from backstory_plugins.stores._known import Known
from backstory_plugins.stores._media import split
from backstory_plugins.stores._rows import ident, pack, pack_list
from backstory_plugins.stores._sealed import KEY_BYTES, Seal, close_turn, place, reply_mark, slot
from backstory_plugins.stores._stamps import Stamps

MOST_EXPIRED = 100
"""Conversations that expire in one transaction: the turns of others wait behind it."""

# What every commit binds is int, float, str or bytearray: for a value of any other type, bytes too,
# sqlite3 looks for an adapter first, which takes 1 µs for each (Python 3.11).
_blob = bytearray

_SEEN = """
SELECT conversation.row, key, version FROM conversation
JOIN secret ON secret.row = conversation.row
WHERE tenant = ? AND subject = ? AND id = ?
"""

_BEGIN = """
INSERT INTO conversation (
    row, tenant, subject, id, version, mode, longest_claim, cut, plain, dialects, single_use,
    created, updated, sealed
) VALUES (?, ?, ?, ?, 0, '', 0, 0, 0, '', ?, 0, 0, x'')
"""

# A row may be another conversation's by now: its key tells.
_PUT = """
UPDATE conversation SET
    version = ?, head = ?, mode = ?, longest_claim = ?, cut = ?, plain = ?, dialects = ?,
    -- once named a second time it stays so, whatever this commit was made from
    single_use = single_use AND ?,
    created = ?, updated = ?, sealed = coalesce(?, sealed)
WHERE row = ? AND version = ? AND (SELECT key FROM secret WHERE secret.row = conversation.row) = ?
"""

_ADD = """
INSERT INTO turn (
    conversation, parent, id, dialect, chain, depth, size, tokens, truncated, imported, created,
    reply, sealed
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_KNOWN = "SELECT row FROM turn WHERE conversation = ? AND id = ?"

_KEEP_MEDIUM = """
INSERT INTO media (conversation, digest, sealed) VALUES (?, ?, ?)
ON CONFLICT (conversation, digest) DO NOTHING
"""


class Addition(NamedTuple):
    """A turn, ready to be written under whatever row its parent has."""

    id: str
    parent: str | None
    columns: tuple[object, ...]
    media: tuple[tuple[bytes, bytes], ...]
    """Digest, and what is sealed."""


class Change(NamedTuple):
    """A commit with everything sealed, so that the writer's thread has little to do."""

    after: Conversation
    placed: tuple[bytes, bytes, bytes]
    columns: tuple[object, ...]
    sealed: bytes | None
    """``None``: the names and the pinned messages are those that are stored."""
    turns: tuple[Addition, ...]
    seal: Seal


def prepare(
    owner: Owner, after: Conversation, turns: Sequence[Turn], before: Known | None
) -> Change:
    """``before``: the conversation that ``after`` was made from, if that is known."""
    seal = before.seal if before else Seal(after.key)
    sealed = None
    if before is None or before.conversation.pinned != after.pinned:
        names = (ident(name) for name in (*owner, after.id))
        sealed = seal.close(pack_list([*names, pack_list(after.pinned)]), b"conversation")
    _, _, _, _, mode, longest_claim, cut, plain, _, dialects, single_use, created, updated = after
    columns = (
        mode,
        longest_claim,
        cut,
        int(plain),
        _spelled(dialects),
        int(single_use),
        created,
        updated,
    )
    added = tuple([_addition(owner, turn, after.key, seal) for turn in turns])
    return made(Change, (after, place(owner, after.id), columns, sealed, added, seal))


def commit(db: sqlite3.Connection, change: Change, before: Known | None, stamps: Stamps) -> Known:
    """See ``spi.Store``. What is known afterwards; its stamp is not set.

    Raises:
        ValueError: a turn is stored already, or its parent is not.
    """
    after, placed, columns, sealed, turns, seal = change
    rows: dict[str | None, int | None] = {None: None}
    if before is None:
        known = slot(placed)
        row = _find(db, change)
    else:
        known, row = before.slot, before.row
        if before.conversation.head is not None:
            rows[before.conversation.head.turn] = before.head_row
    stamps.change(known)
    for turn in turns:
        rows[turn.id] = _add(db, row, turn, rows)
    _, key, version, head, *_ = after
    now_at = head.turn if head is not None else None
    if now_at not in rows:
        rows[now_at] = _row(db, row, now_at)
    now_row = rows[now_at]
    values = (version, now_row, *columns, sealed, row, version - 1, _blob(key))
    if db.execute(_PUT, values).rowcount == 0:
        raise VersionConflict("the conversation was changed or erased meanwhile")
    if version > 1 and after.single_use:  # it may have been named again meanwhile
        after = after._replace(single_use=_is_single_use(db, row))
    return Known(after, row, now_row, seal, known)


def _is_single_use(db: sqlite3.Connection, row: int) -> bool:
    [found] = db.execute("SELECT single_use FROM conversation WHERE row = ?", (row,)).fetchone()
    return bool(found)


def touch(db: sqlite3.Connection, owner: Owner, conversation: str, stamps: Stamps) -> None:
    """See ``spi.Store``."""
    placed = place(owner, conversation)
    stamps.change(slot(placed))
    db.execute(
        "UPDATE conversation SET single_use = 0"
        " WHERE tenant = ? AND subject = ? AND id = ? AND single_use",
        placed,
    )


def erase(db: sqlite3.Connection, owner: Owner, conversation: str, stamps: Stamps) -> bool:
    """See ``spi.Store``."""
    placed = place(owner, conversation)
    stamps.change(slot(placed))
    found = db.execute(_SEEN, placed).fetchone()
    if found is not None:
        _forget(db, found[0])
    return found is not None


def expire(db: sqlite3.Connection, before: float, stamps: Stamps) -> int:
    """See ``spi.Store``; ``MOST_EXPIRED`` at most."""
    old = db.execute(
        "SELECT row, tenant, subject, id FROM conversation WHERE single_use AND updated < ? LIMIT ?",
        (before, MOST_EXPIRED),
    ).fetchall()
    for row, *placed in old:
        stamps.change(slot((placed[0], placed[1], placed[2])))
        _forget(db, row)
    return len(old)


def beat(db: sqlite3.Connection) -> None:
    """A write that nobody sees."""
    db.execute("UPDATE pulse SET beat = beat + 1")


@lru_cache(maxsize=64)
def _spelled(dialects: tuple[str, ...]) -> str:
    return json.dumps(dialects)


def _addition(owner: Owner, turn: Turn, key: bytes, seal: Seal) -> Addition:
    turn_id, parent, dialect, _, _, chain, depth, size, tokens, *_ = turn
    name = ident(turn_id)
    raw, facts = pack(turn)
    rest, holes, media = split(raw, key)
    content = close_turn(seal, facts, holes, rest, name)
    columns = (
        _blob(name),
        _blob(ident(dialect)),
        _blob(chain),
        depth,
        size,
        tokens,
        int(turn.truncated),
        int(turn.imported),
        turn.created,
        reply_mark(owner, turn.reply_id),
        _blob(content),
    )
    sealed: tuple[tuple[bytes, bytes], ...] = ()
    if media:
        items = media.items()
        sealed = tuple([(digest, seal.close(said, b"media" + digest)) for digest, said in items])
    return made(Addition, (turn_id, parent, columns, sealed))


def _find(db: sqlite3.Connection, change: Change) -> int:
    """The row of the conversation; made if it is new."""
    after = change.after
    found = db.execute(_SEEN, change.placed).fetchone()
    row, key, version = found or (None, after.key, 0)
    if (key, version) != (after.key, after.version - 1):
        raise VersionConflict("the conversation was changed or erased meanwhile")
    if row is None:
        row = _keep_key(db, after.key)
        db.execute(_BEGIN, (row, *change.placed, after.single_use))
    return int(row)


def _keep_key(db: sqlite3.Connection, key: bytes) -> int:
    """The row that a new conversation gets: one whose key was overwritten, or the next."""
    free = db.execute("SELECT row FROM secret WHERE free LIMIT 1").fetchone()
    if free is None:
        row = db.execute("INSERT INTO secret (free, key) VALUES (0, ?)", (key,)).lastrowid
        assert row is not None
        return row
    db.execute("UPDATE secret SET free = 0, key = ? WHERE row = ?", (key, free[0]))
    return int(free[0])


def _forget(db: sqlite3.Connection, row: int) -> None:
    # Turns go with their conversation, by the foreign key. A key that all this stood under is
    # overwritten and never deleted: only so is it certain that no copy of it stays.
    db.execute("DELETE FROM conversation WHERE row = ?", (row,))
    db.execute("UPDATE secret SET free = 1, key = ? WHERE row = ?", (bytes(KEY_BYTES), row))


def _add(
    db: sqlite3.Connection, row: int, turn: Addition, rows: dict[str | None, int | None]
) -> int | None:
    _, parent, columns, media = turn
    if parent not in rows:
        rows[parent] = _row(db, row, parent)
    try:
        added = db.execute(_ADD, (row, rows[parent], *columns)).lastrowid
    except sqlite3.IntegrityError as error:
        raise ValueError("a turn with this id is stored already") from error
    for digest, sealed in media:
        db.execute(_KEEP_MEDIUM, (row, digest, sealed))
    return added


def _row(db: sqlite3.Connection, conversation: int, turn: str | None) -> int:
    found = db.execute(_KNOWN, (conversation, ident(turn or ""))).fetchone()
    if found is None:
        raise ValueError("the parent of a turn, or the head, is not stored")
    return int(found[0])

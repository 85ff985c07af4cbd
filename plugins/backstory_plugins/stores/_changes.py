"""What the SQLite store changes: plain functions that run inside the writer's transaction."""

import json
import sqlite3
from collections.abc import Sequence

from backstory.errors import VersionConflict
from backstory.model import Conversation, Owner, Turn
from backstory_plugins.stores._rows import ident, pack, pack_list
from backstory_plugins.stores._sealed import KEY_BYTES, Seal, place

MOST_EXPIRED = 100
"""Conversations that expire in one transaction: the turns of others wait behind it."""

_SEEN = """
SELECT conversation.row, key, version FROM conversation JOIN secret ON secret.row = conversation.row
WHERE tenant = ? AND subject = ? AND id = ?
"""

_PUT = """
INSERT INTO conversation (
    row, tenant, subject, id, version, head_turn, head_chain, head_depth, head_size, head_tokens,
    mode, longest_claim, dialects, single_use, created, updated, sealed
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (row) DO UPDATE SET
    version = excluded.version,
    head_turn = excluded.head_turn,
    head_chain = excluded.head_chain,
    head_depth = excluded.head_depth,
    head_size = excluded.head_size,
    head_tokens = excluded.head_tokens,
    mode = excluded.mode,
    longest_claim = excluded.longest_claim,
    dialects = excluded.dialects,
    -- once named a second time it stays so, whatever this commit was made from
    single_use = single_use AND excluded.single_use,
    created = excluded.created,
    updated = excluded.updated,
    sealed = excluded.sealed
"""

_ADD = """
INSERT INTO turn (
    conversation, id, parent, dialect, chain, depth, size, tokens, truncated, imported, created,
    facts, raw
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def commit(
    db: sqlite3.Connection, owner: Owner, after: Conversation, turns: Sequence[Turn]
) -> None:
    """See ``spi.Store``.

    Raises:
        ValueError: a turn is stored already, or its parent is not.
    """
    seal = Seal(after.key)
    ours = place(owner, after.id)
    row, key, version = db.execute(_SEEN, ours).fetchone() or (None, after.key, 0)
    if (key, version) != (after.key, after.version - 1):
        raise VersionConflict("the conversation was changed or erased meanwhile")
    if row is None:
        row = _keep_key(db, after.key)
    db.execute(_PUT, (row, *ours, *_columns(owner, after, seal)))
    for turn in turns:
        _add(db, row, turn, seal)


def touch(db: sqlite3.Connection, owner: Owner, conversation: str) -> None:
    """See ``spi.Store``."""
    db.execute(
        "UPDATE conversation SET single_use = 0"
        " WHERE tenant = ? AND subject = ? AND id = ? AND single_use",
        place(owner, conversation),
    )


def erase(db: sqlite3.Connection, owner: Owner, conversation: str) -> bool:
    """See ``spi.Store``."""
    found = db.execute(_SEEN, place(owner, conversation)).fetchone()
    if found is not None:
        _forget(db, found[0])
    return found is not None


def expire(db: sqlite3.Connection, before: float) -> int:
    """See ``spi.Store``; ``MOST_EXPIRED`` at most."""
    old = db.execute(
        "SELECT row FROM conversation WHERE single_use AND updated < ? LIMIT ?",
        (before, MOST_EXPIRED),
    ).fetchall()
    for (row,) in old:
        _forget(db, row)
    return len(old)


def beat(db: sqlite3.Connection) -> None:
    """A write that nobody sees."""
    db.execute("UPDATE pulse SET beat = beat + 1")


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


def _columns(owner: Owner, after: Conversation, seal: Seal) -> tuple[object, ...]:
    head: tuple[object, ...] = (None,) * 5
    if after.head is not None:
        head = (ident(after.head.turn), *after.head[1:])
    names = (ident(name) for name in (*owner, after.id))
    return (
        after.version,
        *head,
        after.mode,
        after.longest_claim,
        json.dumps(after.dialects),
        after.single_use,
        after.created,
        after.updated,
        seal.close(pack_list([*names, pack_list(after.pinned)]), b"conversation"),
    )


def _add(db: sqlite3.Connection, conversation: int, turn: Turn, seal: Seal) -> None:
    name, parent = ident(turn.id), None if turn.parent is None else ident(turn.parent)
    if parent is not None:
        known = "SELECT 1 FROM turn WHERE conversation = ? AND id = ?"
        if db.execute(known, (conversation, parent)).fetchone() is None:
            raise ValueError("the parent of a turn is not stored")
    raw, facts = pack(turn)
    names = (conversation, name, parent, ident(turn.dialect), turn.chain)
    numbers = (turn.depth, turn.size, turn.tokens, turn.truncated, turn.imported, turn.created)
    blobs = (seal.close(facts, b"facts" + name), seal.close(raw, b"raw" + name))
    try:
        db.execute(_ADD, (*names, *numbers, *blobs))
    except sqlite3.IntegrityError as error:
        raise ValueError("a turn with this id is stored already") from error

"""What the SQLite store asks: plain functions of a connection, with the owner in every query."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from backstory.model import Conversation, Head, Owner, Turn
from backstory_plugins.stores._rows import first_fingerprint, ident, text, unpack, unpack_list
from backstory_plugins.stores._sealed import Seal, place

MOST_CHAINS = 500
"""Chains asked for in one statement; SQLite before 3.32 takes 999 parameters."""

_LOAD = """
SELECT secret.key, sealed, version, head_turn, head_chain, head_depth, head_size, head_tokens,
       mode, longest_claim, dialects, single_use, created, updated
FROM conversation JOIN secret ON secret.row = conversation.row
WHERE tenant = ? AND subject = ? AND id = ?
"""

_FROM = "FROM turn JOIN secret ON secret.row = turn.conversation"

_TURN = f"""
SELECT secret.key, turn.id, parent, dialect, chain, depth, size, tokens, truncated, imported,
       created, facts, raw
{_FROM}
"""

_OURS = """
turn.conversation =
    (SELECT row FROM conversation WHERE tenant = ? AND subject = ? AND conversation.id = ?)
"""

_ONE = f"{_TURN} WHERE {_OURS} AND turn.id = ?"

# The walk carries keys only; the blobs are read once it is over. A negative limit is none.
_PATH = f"""
WITH RECURSIVE path (row, conversation, parent) AS (
    SELECT row, conversation, parent FROM turn WHERE {_OURS} AND turn.id = ?
    UNION ALL
    SELECT turn.row, turn.conversation, turn.parent FROM path
    JOIN turn ON turn.conversation = path.conversation AND turn.id = path.parent
    LIMIT ?
)
{_TURN} WHERE turn.row IN (SELECT row FROM path)
"""  # noqa: S608 - made of constants only

# The index has all that is asked for; rows grow in the order of commits.
_DEEPEST = """
SELECT depth, row FROM turn WHERE {ours} AND chain IN ({marks})
ORDER BY depth DESC, row DESC LIMIT 1
"""

_BY_ROW = f"{_TURN} WHERE {_OURS} AND turn.row = ?"

_ROOTS = f"SELECT secret.key, turn.id, facts {_FROM} WHERE {_OURS} AND parent IS NULL"


def load(db: sqlite3.Connection, owner: Owner, conversation: str) -> Conversation | None:
    """See ``spi.Store``."""
    found = db.execute(_LOAD, place(owner, conversation)).fetchone()
    if found is None:
        return None
    key, sealed, version, *head, mode, longest, dialects, single_use, created, updated = found
    *_names, pinned = unpack_list(Seal(key).open(sealed, b"conversation"))
    return Conversation(
        conversation,
        key,
        version,
        None if head[0] is None else Head(text(head[0]), *head[1:]),
        mode,
        longest,
        unpack_list(pinned),
        tuple(json.loads(dialects)),
        bool(single_use),
        created,
        updated,
    )


def path(
    db: sqlite3.Connection, owner: Owner, conversation: str, turn: str, limit: int | None
) -> tuple[Turn, ...]:
    """See ``spi.Store``."""
    most = -1 if limit is None else limit
    rows = db.execute(_PATH, (*place(owner, conversation), ident(turn), most))
    return tuple(sorted(_turns(rows), key=lambda found: found.depth))


def match(
    db: sqlite3.Connection, owner: Owner, conversation: str, chains: Sequence[bytes]
) -> Turn | None:
    """See ``spi.Store``."""
    ours = place(owner, conversation)
    best = (0, 0)
    for start in range(0, len(chains), MOST_CHAINS):
        asked = chains[start : start + MOST_CHAINS]
        statement = _DEEPEST.format(ours=_OURS, marks=", ".join("?" * len(asked)))
        best = max(best, db.execute(statement, (*ours, *asked)).fetchone() or best)
    return next(_turns(db.execute(_BY_ROW, (*ours, best[1])).fetchall()), None)


def first_fingerprints(db: sqlite3.Connection, owner: Owner, conversation: str) -> frozenset[bytes]:
    """See ``spi.Store``."""
    roots = db.execute(_ROOTS, place(owner, conversation))
    found = (
        first_fingerprint(Seal(key).open(facts, b"facts" + name)) for key, name, facts in roots
    )
    return frozenset(fingerprint for fingerprint in found if fingerprint)


def turn(db: sqlite3.Connection, owner: Owner, conversation: str, turn: str) -> Turn | None:
    """See ``spi.Store``."""
    found = db.execute(_ONE, (*place(owner, conversation), ident(turn))).fetchall()
    return next(_turns(found), None)


def _turns(rows: Iterable[tuple[Any, ...]]) -> Iterator[Turn]:
    """Turns of one conversation: the rows have the same key."""
    seal: Seal | None = None
    for key, name, parent, dialect, chain, depth, size, tokens, *flags, created, facts, raw in rows:
        seal = seal or Seal(key)
        asked, reply = unpack(seal.open(raw, b"raw" + name), seal.open(facts, b"facts" + name))
        truncated, imported = map(bool, flags)
        yield Turn(
            text(name),
            None if parent is None else text(parent),
            text(dialect),
            asked,
            reply,
            chain,
            depth,
            size,
            tokens,
            truncated,
            imported,
            created,
        )

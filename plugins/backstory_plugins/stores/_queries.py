"""What the SQLite store asks: plain functions of a connection, with the owner in every query."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from backstory.model import Conversation, Head, Owner, Turn
from backstory_plugins.stores._known import Known
from backstory_plugins.stores._media import join
from backstory_plugins.stores._rows import first_fingerprint, ident, text, unpack, unpack_list
from backstory_plugins.stores._sealed import Seal, open_turn, place, reply_mark, slot

MOST_CHAINS = 500
"""Chains asked for in one statement; SQLite before 3.32 takes 999 parameters."""

_LOAD = """
SELECT conversation.row, secret.key, conversation.sealed, version, mode, longest_claim, cut, plain,
       dialects, single_use, conversation.created, updated,
       head, turn.id, turn.chain, turn.depth, turn.size, turn.tokens
FROM conversation
JOIN secret ON secret.row = conversation.row
LEFT JOIN turn ON turn.row = conversation.head
WHERE tenant = ? AND subject = ? AND conversation.id = ?
"""

_TURN = """
SELECT secret.key, turn.conversation, turn.id, before.id, turn.dialect, turn.chain, turn.depth,
       turn.size, turn.tokens, turn.truncated, turn.imported, turn.created, turn.sealed
FROM turn
JOIN secret ON secret.row = turn.conversation
LEFT JOIN turn AS before ON before.row = turn.parent
"""

_OURS = """
turn.conversation =
    (SELECT row FROM conversation WHERE tenant = ? AND subject = ? AND conversation.id = ?)
"""

_ONE = f"{_TURN} WHERE {_OURS} AND turn.id = ?"

# The walk carries keys only; the blobs are read once it is over. A negative limit is none.
_PATH = f"""
WITH RECURSIVE path (row, parent) AS (
    SELECT row, parent FROM turn WHERE {_OURS} AND turn.id = ?
    UNION ALL
    SELECT turn.row, turn.parent FROM path JOIN turn ON turn.row = path.parent
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

_ROOTS = f"{_TURN} WHERE {_OURS} AND turn.parent IS NULL"

_REPLIED = """
SELECT secret.key, conversation.sealed, turn.id
FROM turn
JOIN conversation ON conversation.row = turn.conversation
JOIN secret ON secret.row = turn.conversation
WHERE turn.reply = ? AND tenant = ? AND subject = ? ORDER BY turn.row DESC LIMIT 1
"""

_MEDIUM = "SELECT sealed FROM media WHERE conversation = ? AND digest = ?"


def load(db: sqlite3.Connection, owner: Owner, conversation: str) -> Known | None:
    """The conversation as last committed, and where it is."""
    placed = place(owner, conversation)
    found = db.execute(_LOAD, placed).fetchone()
    if found is None:
        return None
    row, key, sealed, version, mode, longest, cut, plain, dialects, *rest = found
    single_use, created, updated, head_row, *head = rest
    seal = Seal(key)
    *_names, pinned = unpack_list(seal.open(sealed, b"conversation"))
    loaded = Conversation(
        conversation,
        key,
        version,
        None if head_row is None else Head(text(head[0]), *head[1:]),
        mode,
        longest,
        cut,
        bool(plain),
        unpack_list(pinned),
        tuple(json.loads(dialects)),
        bool(single_use),
        created,
        updated,
    )
    return Known(loaded, row, head_row, seal, slot(placed))


def path(
    db: sqlite3.Connection, owner: Owner, conversation: str, turn: str, limit: int | None
) -> tuple[Turn, ...]:
    """See ``spi.Store``."""
    most = -1 if limit is None else limit
    rows = db.execute(_PATH, (*place(owner, conversation), ident(turn), most)).fetchall()
    return tuple(sorted(_turns(db, rows), key=lambda found: found.depth))


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
    return next(_turns(db, db.execute(_BY_ROW, (*ours, best[1])).fetchall()), None)


def first_fingerprints(db: sqlite3.Connection, owner: Owner, conversation: str) -> frozenset[bytes]:
    """See ``spi.Store``."""
    roots = db.execute(_ROOTS, place(owner, conversation))
    opened = (open_turn(Seal(root[0]), root[-1], root[2]) for root in roots)
    found = (first_fingerprint(facts) for facts, _, _ in opened)
    return frozenset(fingerprint for fingerprint in found if fingerprint)


def turn(db: sqlite3.Connection, owner: Owner, conversation: str, turn: str) -> Turn | None:
    """See ``spi.Store``."""
    found = db.execute(_ONE, (*place(owner, conversation), ident(turn))).fetchall()
    return next(_turns(db, found), None)


def replied(db: sqlite3.Connection, owner: Owner, reply_id: str) -> tuple[str, str] | None:
    """See ``spi.Store``."""
    tenant, subject, _ = place(owner, "")
    found = db.execute(_REPLIED, (reply_mark(owner, reply_id), tenant, subject)).fetchone()
    if found is None:
        return None
    key, sealed, name = found
    _tenant, _subject, conversation, _ = unpack_list(Seal(key).open(sealed, b"conversation"))
    return text(conversation), text(name)


def _turns(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> Iterator[Turn]:
    """Turns of one conversation: the rows have the same key."""
    seal: Seal | None = None
    for key, ours, name, parent, dialect, chain, depth, size, tokens, *flags, sealed in rows:
        seal = seal or Seal(key)
        truncated, imported, created = flags
        facts, holes, rest = open_turn(seal, sealed, name)
        asked, reply, reply_id = unpack(join(rest, holes, _medium(db, ours, seal)), facts)
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
            bool(truncated),
            bool(imported),
            created,
            reply_id,
        )


def _medium(db: sqlite3.Connection, conversation: int, seal: Seal) -> Any:
    def find(digest: bytes) -> bytes:
        found = db.execute(_MEDIUM, (conversation, digest)).fetchone()
        return seal.open(found[0] if found else b"", b"media" + digest)

    return find

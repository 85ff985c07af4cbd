"""The tables of the SQLite store, as the numbered steps that lead to them.

A step that has been released is never edited; a change is a new step at the end. What a file has
seen is its ``user_version``: ``FIRST`` after the first step, and so on.
"""

import sqlite3

from backstory.errors import StoreUnavailable

FIRST = 2
"""Version 1 was that of a layout that was given up before anything was released."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (  # 2: conversations and their trees of turns
        # The keys of the conversations, by their row; ``_sealed.py`` says why apart. Rows of one
        # size that are appended, overwritten in place and never deleted are never moved either.
        """
        CREATE TABLE secret (
            row INTEGER PRIMARY KEY,
            free INTEGER NOT NULL,
            key BLOB NOT NULL CHECK (length(key) = 32)
        )
        """,
        "CREATE INDEX secret_free ON secret (row) WHERE free",
        # Tenant, subject and id are digests; the names are sealed with the pinned messages.
        """
        CREATE TABLE conversation (
            row INTEGER PRIMARY KEY REFERENCES secret (row),
            tenant BLOB NOT NULL,
            subject BLOB NOT NULL,
            id BLOB NOT NULL,
            version INTEGER NOT NULL,
            head INTEGER, -- a row of turn
            mode TEXT NOT NULL,
            longest_claim INTEGER NOT NULL,
            cut INTEGER NOT NULL,
            plain INTEGER NOT NULL,
            dialects TEXT NOT NULL,
            single_use INTEGER NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            sealed BLOB NOT NULL,
            UNIQUE (tenant, subject, id)
        )
        """,
        "CREATE INDEX conversation_single_use ON conversation (updated) WHERE single_use",
        # Ids are BLOB because those of imported turns may hold characters that no text takes.
        # What is sealed comes last: what stands before it is read without its pages.
        """
        CREATE TABLE turn (
            row INTEGER PRIMARY KEY,
            conversation INTEGER NOT NULL REFERENCES conversation (row) ON DELETE CASCADE,
            parent INTEGER, -- a row of this table; NULL at a root
            id BLOB NOT NULL,
            dialect BLOB NOT NULL,
            chain BLOB NOT NULL,
            depth INTEGER NOT NULL,
            size INTEGER NOT NULL,
            tokens INTEGER NOT NULL,
            truncated INTEGER NOT NULL,
            imported INTEGER NOT NULL,
            created REAL NOT NULL,
            reply BLOB, -- a digest of the owner and of what the upstream called the reply
            sealed BLOB NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX turn_id ON turn (conversation, id)",
        "CREATE INDEX turn_chain ON turn (conversation, chain, depth)",
        "CREATE INDEX turn_root ON turn (conversation) WHERE parent IS NULL",
        "CREATE INDEX turn_reply ON turn (reply) WHERE reply IS NOT NULL",
        # Images and files, once in a conversation however often they were sent (``_media.py``).
        """
        CREATE TABLE media (
            row INTEGER PRIMARY KEY,
            conversation INTEGER NOT NULL REFERENCES conversation (row) ON DELETE CASCADE,
            digest BLOB NOT NULL,
            sealed BLOB NOT NULL,
            UNIQUE (conversation, digest)
        )
        """,
        # One row that ``ready`` writes to: only a write proves that writing works.
        "CREATE TABLE pulse (row INTEGER PRIMARY KEY CHECK (row = 1), beat INTEGER NOT NULL)",
        "INSERT INTO pulse VALUES (1, 0)",
    ),
)


class NewerSchema(StoreUnavailable):
    """A newer version of Backstory has written this file, or one before the first release.

    Nothing was changed.
    """


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date: wholly or not at all, and once if two processes start at once.

    Raises:
        NewerSchema: the file is ahead of this version.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (seen,) = connection.execute("PRAGMA user_version").fetchone()
        newest = FIRST - 1 + len(MIGRATIONS)
        if seen > newest:
            raise NewerSchema(
                f"the database has schema {seen}, this version knows up to {newest}: "
                "install the newer Backstory again, or name another file with --store"
            )
        if 0 < seen < FIRST:
            raise NewerSchema(
                "the database was written before the first release and cannot be read any more: "
                "move it away, or name another file with --store"
            )
        for step in MIGRATIONS[max(0, seen - FIRST + 1) :]:
            for statement in step:
                connection.execute(statement)
        # A pragma takes no parameters; the number is ours.
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

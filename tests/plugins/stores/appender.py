"""A process that appends turns to one conversation: ``appender.py FILE NAME COUNT``."""

import asyncio
import sys
from pathlib import Path

from backstory.errors import VersionConflict
from backstory.testing.samples import ADA, conversation, remember, turn
from backstory_plugins.stores.sqlite import SqliteStore


async def append(store: SqliteStore, turn_id: str) -> None:
    """One turn at the head, made again from what is stored as often as somebody else was first."""
    while True:
        before = await store.load(ADA, "shared") or conversation("shared")
        parent = await store.turn(ADA, "shared", before.head.turn) if before.head else None
        try:
            await remember(store, [turn(turn_id, parent, id=turn_id)], to=before)
        except VersionConflict:
            continue
        return


async def main(file: Path, name: str, count: int) -> None:
    """Append ``count`` turns, one after the other."""
    store = SqliteStore(str(file))
    await store.open()
    for number in range(count):
        await append(store, f"{name} {number}")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))

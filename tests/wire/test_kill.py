"""Who has seen the end of an answer will be remembered, whenever the server is killed.

Set ``BACKSTORY_KILLS`` for more kills; a failure says its ``BACKSTORY_KILL_SEED``.
"""

import logging
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from tests.wire.durability import Ledger
from tests.wire.killing import CLIENTS, Traffic
from tests.wire.server import ForkedServer, reserved_port
from tests.wire.upstreams import RecordingUpstream

log = logging.getLogger(__name__)

KILLS = int(os.environ.get("BACKSTORY_KILLS", "200"))
SEED = int(os.environ.get("BACKSTORY_KILL_SEED", secrets.randbits(32)))

A_LOOK_AFTER = 10
"""Kills between two looks at what is stored."""
CONTROL_KILLS = 100
"""A server without the hold-back loses a turn long before."""


@asynccontextmanager
async def traffic(directory: Path, *, hold_back: bool = True) -> AsyncIterator[Traffic]:
    """Clients, and a server that keeps its memory in ``directory``."""
    env = {"BACKSTORY_MAX_HISTORY_TURNS": "6"}  # what is told again is not what is tested here
    with reserved_port() as port:
        async with (
            RecordingUpstream() as upstream,
            ForkedServer(directory, port, upstream.url, env, hold_back=hold_back) as server,
        ):
            yield Traffic(server, upstream, SEED)


def rows(directory: Path) -> int:
    """How many turns there are in the file, whether a path leads to them or not."""
    with closing(sqlite3.connect(directory / "backstory.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        count: int = db.execute("SELECT count(*) FROM turn").fetchone()[0]
        return count


@pytest.mark.timeout(120 + KILLS)
async def test_a_killed_server_forgets_no_turn_whose_end_was_seen(tmp_path: Path) -> None:
    async with traffic(tmp_path) as clients:
        while clients.kills < KILLS:
            await clients.run(min(A_LOOK_AFTER, KILLS - clients.kills))
            some = await clients.stored(clients.conversations[-len(CLIENTS) :])
            assert clients.problems(some) == [], f"seed {SEED}"
        stored = await clients.stored(clients.conversations)
        assert clients.problems(stored) == [], f"seed {SEED}"
    count = sum(map(len, stored.values()))
    assert rows(tmp_path) == count, "something is stored that no path leads to"
    attempts, acknowledged = len(clients.ledger.attempts), clients.ledger.acknowledged
    log.info("kills %d, turns %d, seen %d, stored %d", KILLS, attempts, acknowledged, count)
    assert KILLS < acknowledged <= count < attempts, "not much was at stake"


async def test_the_oracle_sees_a_missing_hold_back(tmp_path: Path) -> None:
    async with traffic(tmp_path, hold_back=False) as clients:
        lost: list[str] = []
        while not lost and clients.kills < CONTROL_KILLS:
            await clients.run(A_LOOK_AFTER)
            found = clients.problems(await clients.stored(clients.conversations))
            lost = [problem for problem in found if problem.startswith("lost:")]
    assert lost, f"seed {SEED}"
    log.info("%d turns are lost after %d kills", len(lost), clients.kills)


STORED = [("question 1", "one"), ("question 2", "two")]


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        (STORED, None),
        ([*STORED, ("question 3", "three")], None),
        (STORED[:1], "lost"),
        ([*STORED, STORED[1]], "twice"),
        ([STORED[0], ("question 2", "tw")], "half"),
        ([("question", "one"), *STORED], "foreign"),
        (STORED[::-1], "order"),
        ([("question 3", "three"), *STORED], "order"),
    ],
)
def test_the_oracle_names_what_is_wrong(stored: list[tuple[str, str]], kind: str | None) -> None:
    ledger = Ledger()
    for question, answer in STORED:
        ledger.end(ledger.begin("c", question, answer), acknowledged=True)
    ledger.end(ledger.begin("c", "question 3", "three"), acknowledged=False)
    assert {problem.partition(":")[0] for problem in ledger.problems({"c": stored})} == (
        {kind} if kind else set()
    )

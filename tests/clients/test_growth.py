"""Nothing is ever doubled: what goes upstream grows by one turn with each turn, whoever keeps it."""

from itertools import pairwise
from pathlib import Path

import pytest
from tests.clients.client import Asked, Client, Way, talk
from tests.clients.conftest import Town
from tests.clients.names import Named, new_name, session_for
from tests.clients.suite import CLIENTS, REWRITING, param
from tests.clients.table import Seen
from tests.wire.conftest import token

from backstory.demo_upstream.answers import HELP

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTIONS = [f"Question {number:02}: what comes next?" for number in range(1, 13)]


def ways(client: Client) -> set[Way]:
    """The usual one, and its API's own; who sends a transcript may carry a session cookie as well."""
    more = client.ways[-1:] if client.transcript else ()
    return {client.ways[0], *more, *(way for way in client.ways if way == "response")}


@pytest.mark.parametrize(
    ("client", "way"),
    [param(c, w) for c in (*CLIENTS, REWRITING) for w in sorted(ways(c))],
)
async def test_twelve_turns_grow_by_one_turn_each(
    client: Client, way: str, town: Town, seen: Seen, tmp_path: Path
) -> None:
    proxy = await town.proxy(town.recording.url, session_for(client, way))
    name = Named(way, new_name())
    town.recording.take()
    turns = [Asked(token(), text) for text in QUESTIONS]
    done = await talk(
        client,
        tmp_path,
        proxy.url,
        turns,
        stream=True,
        headers=name.headers,
        prefix=name.prefix,
        chain=name.chain,
    )
    assert done.texts == [HELP] * len(QUESTIONS), "always as long"

    requests = town.recording.take()
    sizes = [len(request.body) for request in requests]
    steps = [later - earlier for earlier, later in pairwise(sizes)]
    assert len(steps) == len(QUESTIONS) - 1
    later_steps = steps[1:]  # with the first of them a text that stood alone becomes a list
    assert {abs(after - before) <= 2 for before, after in pairwise(later_steps)} == {True}, steps
    turn_bytes = len(QUESTIONS[0]) + len(HELP)
    assert turn_bytes < max(steps) <= turn_bytes + client.spelling_bytes

    for number, request in enumerate(requests, 1):
        asked = [each.text.partition("\n")[0] for each in request.told if each.kind == "user"]
        assert asked == QUESTIONS[:number]
        assert len(request.told) == 2 * number - 1
    seen.grew(client, sizes)

"""What each client sends by itself, without the proxy: what the rows of the suite say."""

from pathlib import Path

import pytest
from tests.clients.client import Asked, Client, talk
from tests.clients.conftest import Town
from tests.clients.recording import Request
from tests.clients.suite import CLIENTS, param
from tests.clients.table import Seen

pytestmark = pytest.mark.asyncio(loop_scope="session")

TURNS = [Asked("key-1", "one"), Asked("key-1", "two"), Asked("key-2", "three")]
JARS = {
    "none": [False, False, False],
    "key": [False, True, False],
    "process": [False, True, True],
}


@pytest.mark.parametrize("client", [param(client) for client in CLIENTS])
async def test_a_client_does_what_its_row_says(
    client: Client, town: Town, seen: Seen, tmp_path: Path
) -> None:
    town.recording.take()
    done = await talk(client, tmp_path, town.recording.url, TURNS)
    requests = town.recording.take()
    sent = [len(request.told) for request in requests]
    assert sent == [1, 1 + 2 * client.transcript, 1]
    assert ["cookie" in request.headers for request in requests] == JARS[client.jar]
    keys = [request.headers["authorization"] for request in requests]
    assert keys == [f"Bearer {turn.token}" for turn in TURNS]
    seen.version(client, done.version)
    seen.looks_like(client, look(requests[0]))


def look(request: Request) -> str:
    """What a request says of its sender."""
    language = request.headers.get("x-stainless-lang")
    return (
        f"`X-Stainless-*` ({language})"
        if language
        else f"`User-Agent: {request.headers['user-agent']}`"
    )

"""Two users behind one client object, with two tokens, never see each other's memory."""

from pathlib import Path

import pytest
from tests.clients.client import Asked, Client, talk
from tests.clients.conftest import Town
from tests.clients.names import Named, new_name
from tests.clients.suite import CLIENTS, param
from tests.wire.conftest import token

pytestmark = pytest.mark.asyncio(loop_scope="session")

WHO = "Who am I?"
UNKNOWN = "I don't know: no name stands in what I was sent."

ADA, BOB = token("ada"), token("bob")
TURNS = [
    Asked(ADA, "My name is Ada."),
    Asked(BOB, WHO),
    Asked(BOB, "My name is Bob."),
    Asked(ADA, WHO),
    Asked(BOB, WHO),
]
KNOWN = ["Hello, Ada!", UNKNOWN, "Hello, Bob!", "Your name is Ada.", "Your name is Bob."]


@pytest.mark.parametrize("client", [param(client) for client in CLIENTS])
async def test_one_name_is_two_conversations(client: Client, town: Town, tmp_path: Path) -> None:
    proxy = await town.proxy(town.demo)
    headers = Named("header", new_name()).headers
    done = await talk(client, tmp_path, proxy.url, TURNS, stream=True, headers=headers)
    assert done.texts == KNOWN


@pytest.mark.parametrize("client", [param(client) for client in CLIENTS])
async def test_one_cookie_jar_is_nobody_elses_memory(
    client: Client, town: Town, tmp_path: Path
) -> None:
    """With ``--session always``, where an SDK gets a cookie that its user knows nothing of."""
    proxy = await town.proxy(town.demo, "always")
    done = await talk(client, tmp_path, proxy.url, TURNS)
    jar = "none" if client.raw else client.jar  # for a raw prompt nobody sets a cookie
    if client.transcript or jar == "key":
        assert done.texts == KNOWN  # each has a transcript, or a jar
        return
    assert done.texts == ["Hello, Ada!", UNKNOWN, "Hello, Bob!", UNKNOWN, UNKNOWN]
    foreign = [(said.receipt or "").endswith(";reason=foreign_cookie") for said in done.said]
    assert foreign == [False, True, False, True, True] if jar == "process" else [False] * 5

"""An SDK that names no conversation gets no memory: all is as it is without the proxy."""

from pathlib import Path

import pytest
from tests.clients.client import Asked, Client, talk
from tests.clients.conftest import Town
from tests.clients.suite import CLIENTS, REWRITING, param
from tests.wire.conftest import token

pytestmark = pytest.mark.asyncio(loop_scope="session")

TURNS = [
    Asked(token("ada"), "My name is Ada."),
    Asked(token("ada"), "Who am I?"),
    Asked(token("bob"), "Who am I?"),
]
NAMELESS = [param(c) for c in (*CLIENTS, REWRITING) if c.sdk or c.jar == "none"]


@pytest.mark.parametrize("client", NAMELESS)
async def test_answers_are_those_of_the_upstream(
    client: Client, town: Town, tmp_path: Path
) -> None:
    proxy = await town.proxy(town.demo)
    through, directly = folders(tmp_path)
    done = await talk(client, through, proxy.url, TURNS)
    plain = await talk(client, directly, town.demo, TURNS)
    assert done.texts == plain.texts
    knows = "Your name is Ada." in done.texts
    assert knows == client.transcript, "what is known stands in what the client sent"
    if not client.sdk or not client.shows_headers:
        return
    conversations = {said.conversation for said in done.said}
    if client.chains:
        assert len(conversations - {None}) == len(TURNS), "each can be named by the next"
        assert {said.receipt.partition(";")[0] for said in done.said if said.receipt} == {"new"}
    else:
        assert {said.receipt for said in done.said} == {"off;reason=no_conversation"}
        assert conversations == {None}


@pytest.mark.parametrize("client", NAMELESS)
async def test_requests_are_those_of_the_client(client: Client, town: Town, tmp_path: Path) -> None:
    proxy = await town.proxy(town.recording.url)
    through, directly = folders(tmp_path)
    town.recording.take()
    await talk(client, through, proxy.url, TURNS, stream=True)
    bodies = [request.body for request in town.recording.take()]
    await talk(client, directly, town.recording.url, TURNS, stream=True)
    assert bodies == [request.body for request in town.recording.take()]
    assert len(bodies) == len(TURNS)


def folders(parent: Path) -> tuple[Path, Path]:
    """Two empty ones."""
    pair = parent / "through", parent / "directly"
    for folder in pair:
        folder.mkdir()
    return pair

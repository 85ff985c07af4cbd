"""A client with tools: the call, its result and the reply are part of the conversation, each once."""

from pathlib import Path

import pytest
from tests.clients.client import Asked, Client, talk
from tests.clients.conftest import Town
from tests.clients.names import Named, new_name
from tests.clients.suite import CLIENTS, NAMING, param
from tests.clients.table import Seen
from tests.clients.told import Told, stored
from tests.wire.conftest import token

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTIONS = [
    "What is the weather in Paris?",
    "What number did the tool say?",
    "How many messages do you see?",
]
ANSWERS = ["The tool says: 12 degrees in Paris", "The number is 12.", "I see 7 messages."]
TURNS = [
    [("user", QUESTIONS[0]), ("call", 'get_weather {"city": "Paris"}')],
    [("result", "12 degrees in Paris"), ("assistant", ANSWERS[0])],
    [("user", QUESTIONS[1]), ("assistant", ANSWERS[1])],
    [("user", QUESTIONS[2]), ("assistant", ANSWERS[2])],
]
ASKED = [said for turn in TURNS for said in turn][:-1]
"""All that the last request tells; each of the others the beginning of it."""


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("client", "way"), [param(c, way) for c in (*CLIENTS, NAMING) for way in c.tool_ways]
)
async def test_a_tool_loop_is_part_of_the_conversation(
    client: Client, way: str, stream: bool, town: Town, seen: Seen, tmp_path: Path
) -> None:
    proxy = await town.proxy(town.recording.url)
    name = Named(way, new_name())
    town.recording.take()
    turns = [Asked(token(), text) for text in QUESTIONS]
    done = await talk(
        client,
        tmp_path,
        proxy.url,
        turns,
        stream=stream,
        tool=True,
        headers=name.headers,
        chain=name.chain,
    )
    assert done.texts == ANSWERS

    asked = [request.told for request in town.recording.take()]
    assert [plain(each) for each in asked] == [ASKED[:size] for size in (1, 3, 5, 7)]
    assert all(paired(each) for each in asked)
    conversation = name.conversation or done.said[-1].conversation
    assert conversation is not None
    kept = await stored(proxy.url, conversation)
    assert [plain(turn) for turn in kept] == TURNS
    assert paired([each for turn in kept for each in turn])
    seen.called(client)


def plain(messages: list[Told]) -> list[tuple[str, str]]:
    """Without the ids of calls."""
    return [(each.kind, each.text) for each in messages]


def paired(messages: list[Told]) -> bool:
    """Each call has its result right behind it, and each result its call."""
    calls = [at for at, each in enumerate(messages) if each.kind == "call"]
    results = [at for at, each in enumerate(messages) if each.kind == "result"]
    return results == [at + 1 for at in calls] and all(
        messages[at].call == messages[at + 1].call for at in calls
    )

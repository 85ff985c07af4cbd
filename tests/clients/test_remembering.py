"""Every client of the suite remembers: three turns are one conversation, stored once, in order."""

from pathlib import Path

import pytest
from tests.clients.client import Asked, Client, talk
from tests.clients.conftest import Town
from tests.clients.names import Named, new_name, session_for
from tests.clients.suite import CLIENTS, NAMING, REWRITING, param
from tests.clients.table import Seen
from tests.clients.told import Told, stored
from tests.wire.conftest import token

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTIONS = [
    "Repeat the number '94572'.",
    "What number did you repeat?",
    "How many messages do you see?",
]
ANSWERS = ["94572", "The number is 94572.", "I see 5 messages."]

STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@STREAMED
@pytest.mark.parametrize(
    ("client", "way"), [param(client, way) for client in CLIENTS for way in client.ways]
)
async def test_three_turns_are_one_conversation(
    client: Client, way: str, stream: bool, town: Town, seen: Seen, tmp_path: Path
) -> None:
    proxy = await town.proxy(town.demo, session_for(client, way))
    name = Named(way, new_name())
    turns = [Asked(token(), text) for text in QUESTIONS]
    done = await talk(
        client,
        tmp_path,
        proxy.url,
        turns,
        stream=stream,
        headers=name.headers,
        prefix=name.prefix,
        chain=name.chain,
    )
    assert done.texts == ANSWERS
    conversation = name.conversation or done.said[0].conversation
    assert conversation is not None
    if client.shows_headers:
        assert {said.conversation for said in done.said} == {conversation}
        receipts = [(said.receipt or "").partition(";")[0] for said in done.said]
        assert receipts == ["new", "hit", "hit"]
    assert await stored(proxy.url, conversation) == [
        [Told("user", asked), Told("assistant", said)]
        for asked, said in zip(QUESTIONS, ANSWERS, strict=True)
    ]
    seen.version(client, done.version)
    seen.remembered(client, way)


@STREAMED
async def test_a_transcript_that_is_rewritten_is_one_conversation(
    stream: bool, town: Town, tmp_path: Path
) -> None:
    proxy = await town.proxy(town.demo)
    name = Named("header", new_name())
    turns = [Asked(token(), text) for text in QUESTIONS]
    done = await talk(REWRITING, tmp_path, proxy.url, turns, stream=stream, headers=name.headers)
    assert done.texts == ANSWERS
    asked, replies = zip(*await stored(proxy.url, name.text), strict=True)
    assert [said.text for said in replies] == ANSWERS
    assert [each.text for each in asked[:2]] == QUESTIONS[:2], "as the client tells it now"
    assert asked[2].text.startswith(QUESTIONS[2])


@STREAMED
@pytest.mark.parametrize(("client", "way"), [param(NAMING, way) for way in NAMING.ways])
async def test_a_transcript_that_names_its_replies_by_id_is_one_conversation(
    client: Client, way: str, stream: bool, town: Town, tmp_path: Path
) -> None:
    turns = [Asked(token(), text) for text in QUESTIONS]
    with pytest.raises(AssertionError, match="keeps nothing between requests: no item 'msg_"):
        await talk(client, tmp_path, town.demo, turns, stream=stream)
    proxy = await town.proxy(town.demo)
    name = Named(way, new_name())
    done = await talk(
        *(client, tmp_path, proxy.url, turns),
        stream=stream,
        headers=name.headers,
        prefix=name.prefix,
    )
    assert done.texts == ANSWERS
    assert await stored(proxy.url, str(name.conversation)) == [
        [Told("user", asked), Told("assistant", said)]
        for asked, said in zip(QUESTIONS, ANSWERS, strict=True)
    ]

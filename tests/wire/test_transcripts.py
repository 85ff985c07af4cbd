"""Clients that send everything again: what is known of it is not read again, and nobody can tell."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.wire.answers import chat_json
from tests.wire.clients import Received
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.talking import AUTHORIZATION, CHAT, NAMED, ask, head, one, say, stored
from tests.wire.upstreams import RecordingUpstream

from backstory.model import Beginning, Prompt
from backstory_plugins.dialects.openai_chat import OpenAIChat

BOB = ("Authorization", f"Bearer {token('bob')}")
LONG = "words " * 60_000
"""More than is read on the event loop."""

Reading = tuple[int, int, bool]
"""How many bytes were known, how many there are, and whether it was read on the event loop."""


class Client:
    """Keeps a transcript."""

    def __init__(self, proxy: Proxy, upstream: RecordingUpstream, *fields: tuple[str, str]) -> None:
        self.said: list[dict[str, Any]] = []
        self._proxy, self._upstream, self._fields = proxy, upstream, fields

    async def ask(self, question: str, reply: str, **more: object) -> Received:
        """A turn; the upstream is told exactly what was sent."""
        self.said.append({"role": "user", "content": question})
        body = json.dumps({"model": "m", "messages": self.said, **more}).encode()
        self._upstream.script = chat_json(reply)
        answer = await ask(self._proxy, CHAT.target, body, NAMED, *self._fields)
        assert answer.complete
        assert self._upstream.requests[-1].body == body
        self.said.append({"role": "assistant", "content": reply})
        return answer

    async def asked_as(self, question: str, reply: str) -> str:
        """How the turn's request was read."""
        receipt = one(await self.ask(question, reply), b"Backstory-Memory")
        assert receipt is not None
        return receipt.partition("as=")[2]


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Reading]:
    """Of every prompt in Chat Completions."""
    found: list[Reading] = []
    read: Callable[..., Prompt | None] = OpenAIChat.read_prompt

    def noted(self: OpenAIChat, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        is_here = threading.current_thread() is threading.main_thread()
        found.append((begun.end if begun else 0, len(body), is_here))
        return read(self, body, begun)

    monkeypatch.setattr(OpenAIChat, "read_prompt", noted)
    return found


async def test_a_long_transcript_is_read_once(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, readings: list[Reading]
) -> None:
    client = Client(await start_proxy(recording_upstream.url), recording_upstream)
    await client.ask("Hi, I am Ada.", "Hello!")
    assert await client.asked_as(LONG, "I see.") == "transcript"
    for number in range(3):
        assert await client.asked_as(f"question {number}", "Yes.") == "transcript"
    assert [(known > 0, here) for known, _, here in readings] == [
        (False, True),
        (False, False),
        (True, True),
        (True, True),
        (True, True),
    ]
    assert all(unread < 300 for unread in [size - known for known, size, _ in readings[2:]])


async def test_a_changed_transcript_is_a_branch(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, readings: list[Reading]
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    client = Client(proxy, recording_upstream)
    for number in range(4):
        await client.ask(f"question {number}", f"answer {number}")
    client.said[4:] = []
    assert await client.asked_as("another", "branch") == "fork"
    assert await stored(proxy) == ["answer 0", "answer 1", "branch"]
    assert readings[-1][0] > 0, "its beginning is known"
    client.said[0]["content"] = "never asked"
    await client.ask("and so on", "yes")
    assert readings[-1][0] == 0, "nothing of it is"


async def test_what_one_has_sent_is_not_known_of_another(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, readings: list[Reading]
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    ada, bob = Client(proxy, recording_upstream), Client(proxy, recording_upstream, BOB)
    for number in range(3):
        await ada.ask(f"question {number}", f"answer {number}")
    bob.said = [*ada.said]
    await bob.ask("And?", "No.")
    assert [known > 0 for known, _, _ in readings] == [False, False, True, False]


async def test_what_is_erased_is_not_known(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream, readings: list[Reading]
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    client = Client(proxy, recording_upstream)
    for number in range(3):
        await client.ask(f"question {number}", f"answer {number}")
    erased = head("DELETE /-/v1/conversations/c HTTP/1.1", ("Host", "x"), AUTHORIZATION)
    assert (await say(proxy.url, erased)).status == 204
    await client.ask("And?", "No.")
    assert readings[-1][0] == 0
    assert await stored(proxy) == ["answer 0", "answer 1", "answer 2", "No."]

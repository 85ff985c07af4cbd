"""What most tests over sockets have to say: who asks, one request and its answer, what is kept."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.wire.answers import chat_json, falcon_answer
from tests.wire.clients import RawClient, Received, request
from tests.wire.conftest import Proxy, token
from tests.wire.messages import Field, Head
from tests.wire.upstreams import RecordingUpstream

AUTHORIZATION = ("Authorization", f"Bearer {token()}")
NAMED = ("Backstory-Conversation", "c")

HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding", b"content-length")


@dataclass(frozen=True)
class Api:
    """A memory route."""

    name: str
    target: str
    good: bytes
    """A question that is understood."""
    answer: Callable[[str], bytes]
    """The upstream's answer with this reply."""

    def __str__(self) -> str:
        """For the names of tests."""
        return self.name


FALCON = Api("falcon", "/conversation/falcon", b'{"text": "Hi", "top_p": 0.90}', falcon_answer)
CHAT = Api(
    "openai.chat",
    "/v1/chat/completions",
    b'{"messages": [{"role": "user", "content": "Hi"}], "top_p": 0.90}',
    chat_json,
)
APIS = (FALCON, CHAT)


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def head(start: str, *fields: tuple[str, str]) -> bytes:
    """A start line and exactly these fields."""
    return "\r\n".join([start, *(f"{name}: {value}" for name, value in fields), "", ""]).encode()


async def ask(proxy: Proxy, target: str, body: object, *headers: tuple[str, str]) -> Received:
    """The answer to a POST on a connection of its own, as ``ada`` unless ``headers`` say."""
    if not any(name.lower() == "authorization" for name, _ in headers):
        headers = (AUTHORIZATION, *headers)
    return await say(proxy.url, request("POST", target, body, *headers))


async def say(url: str, *pieces: bytes) -> Received:
    """The answer to these bytes, on a connection of its own."""
    async with RawClient(url) as client:
        await client.send(*pieces)
        return await client.read_answer()


async def stored(proxy: Proxy, conversation: str = "c") -> list[str]:
    """The replies that are remembered for ``ada``."""
    target = f"/-/v1/conversations/{conversation}/turns"
    answer = await say(proxy.url, head(f"GET {target} HTTP/1.1", ("Host", "x"), AUTHORIZATION))
    turns = json.loads(answer.content)["turns"] if answer.status == 200 else []
    return [turn["messages"][-1]["content"] for turn in turns]


def one(answer: Received | Head, name: bytes) -> str | None:
    """The only value of a field; ``None`` without one."""
    found = (answer.head if isinstance(answer, Received) else answer).values(name)
    assert len(found) <= 1, found
    return found[0].decode() if found else None


def end_to_end(fields: list[Field], *but: bytes) -> list[Field]:
    """The fields that are no framing, and not among ``but``."""
    return [(name, value) for name, value in fields if name.lower() not in (*HOP_BY_HOP, *but)]


def nothing_broke(caplog: pytest.LogCaptureFixture, *, but: type[Exception] | None = None) -> None:
    """No error and no traceback was logged so far, but of this type."""
    for phase in ("setup", "call", "teardown"):
        for record in caplog.get_records(phase):
            if but and record.exc_info and isinstance(record.exc_info[1], but):
                continue
            assert record.levelno < logging.ERROR, record.getMessage()
            assert record.exc_info is None, record.getMessage()


class Scene:
    """A proxy that remembers one turn of the conversation ``c``."""

    def __init__(self, api: Api, upstream: RecordingUpstream, proxy: Proxy) -> None:
        self.api, self.upstream, self.proxy = api, upstream, proxy

    async def begin(self) -> None:
        """The one turn."""
        self.upstream.script = self.api.answer("one")
        assert (await self.ask(self.api.good)).status == 200
        assert await stored(self.proxy) == ["one"]

    async def ask(self, body: object, *headers: tuple[str, str]) -> Received:
        """One request in the conversation."""
        return await ask(self.proxy, self.api.target, body, NAMED, *headers)

    async def is_intact(self, *, asked: int) -> None:
        """Memory is as it was: ``asked`` requests went upstream so far."""
        assert len(self.upstream.requests) == asked
        assert await stored(self.proxy) == ["one"]
        self.upstream.script = self.api.answer("two")
        assert (await self.ask(self.api.good)).complete
        assert b"one" in self.upstream.requests[-1].body
        assert await stored(self.proxy) == ["one", "two"]


def refused(api: Api | None, answer: Received, status: int, code: str) -> None:
    """An error of ours, in the shape of the API that was asked."""
    assert (answer.status, one(answer, b"Backstory-Error")) == (status, code)
    assert answer.complete
    kind = one(answer, b"Content-Type") or ""
    if api is FALCON:
        assert kind.startswith("text/plain")
        assert answer.content.strip()
    elif api is CHAT:
        assert kind.startswith("application/json")
        assert json.loads(answer.content)["error"]["code"] == code
    else:
        assert kind.startswith("application/problem+json")
        assert json.loads(answer.content)["status"] == status

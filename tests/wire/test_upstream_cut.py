"""An answer that is cut anywhere is never remembered, and never looks complete to the client.

Every answer is cut at every offset, head included, by FIN and by RST, in each framing. The oracle
is the answer itself: it is complete if its framing has ended, or, where only the connection's close
delimits it, if its end marker is whole.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest
from tests.wire.answers import FALCON_END, Framing, chat_json, chat_stream, falcon_answer
from tests.wire.clients import RawClient, Received
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.connection import Ended
from tests.wire.upstreams import Answer, RecordingUpstream

TEXT = "Grüße, 94572"  # a letter of two bytes: cut in its middle as well
AT_ONCE = 16


@dataclass(frozen=True)
class Case:
    """A whole answer, and what of it proves its end."""

    name: str
    target: str
    question: Mapping[str, object]
    answer: bytes
    framing: Framing
    marker: bytes | None
    """Proves the end of a body that only the connection's close delimits."""

    @property
    def head_size(self) -> int:
        """Up to and with the empty line."""
        return self.answer.index(b"\r\n\r\n") + 4

    def is_complete(self, size: int, how: Literal["fin", "rst"]) -> bool:
        """Whether the first ``size`` bytes are a complete answer."""
        if self.framing != "close":
            return size == len(self.answer)
        if self.name == "chat-json-close" and how == "rst":
            return False  # a closing brace is no marker that a server sets
        return self.marker is not None and self.marker in self.answer[self.head_size : size]

    def shows_its_cut(self, size: int, how: Literal["fin", "rst"]) -> bool:
        """Whether anybody can tell that it is not complete."""
        if self.framing != "close" or how == "rst":
            return True
        return "falcon" not in self.name  # Falcon's servers may end without a marker


def cases() -> list[Case]:
    """Both dialects, streamed and not, in each framing."""
    falcon: Mapping[str, object] = {"text": "Hi"}
    chat: dict[str, object] = {"messages": [{"role": "user", "content": "Hi"}]}
    conversation, completions = "/conversation/falcon", "/v1/chat/completions"
    framings: tuple[Framing, ...] = ("chunked", "length", "close")
    found = []
    for framing in framings:
        found += [
            Case(
                f"falcon-{framing}",
                conversation,
                falcon,
                falcon_answer(TEXT, framing),
                framing,
                FALCON_END,
            ),
            Case(
                f"falcon-without-marker-{framing}",
                conversation,
                falcon,
                falcon_answer(TEXT, framing, marker=False),
                framing,
                None,
            ),
            Case(
                f"chat-stream-{framing}",
                completions,
                chat | {"stream": True},
                chat_stream(TEXT, framing),
                framing,
                b"data: [DONE]",
            ),
            Case(
                f"chat-json-{framing}",
                completions,
                chat,
                chat_json(TEXT, framing),
                framing,
                b"}]}" if framing == "close" else None,
            ),
        ]
    return found


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
async def test_a_cut_answer_is_not_remembered_and_does_not_look_complete(
    case: Case, how: Literal["fin", "rst"], start_proxy: StartProxy
) -> None:
    sizes = iter(range(len(case.answer) + 1))

    async def some(upstream: RecordingUpstream, proxy: Proxy) -> None:
        for size in sizes:
            await cut_once(case, how, size, upstream, proxy)

    # The upstream is told by the path's query how far to go, so many can run at once.
    def script(request: object) -> Answer:
        target = getattr(request, "target")  # noqa: B009
        size = int(target.rpartition(b"=")[2])
        return Answer([case.answer[:size]] if size else [], how)

    async with RecordingUpstream(script) as upstream:
        proxy = await start_proxy(upstream.url, store="memory://")
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(some(upstream, proxy))


async def cut_once(
    case: Case, how: Literal["fin", "rst"], size: int, upstream: RecordingUpstream, proxy: Proxy
) -> None:
    conversation = f"{case.name}-{how}-{size}"
    authorization = ("Authorization", f"Bearer {token()}")
    async with RawClient(proxy.url) as client:
        named = ("Backstory-Conversation", conversation)
        await client.post(f"{case.target}?cut={size}", case.question, authorization, named)
        seen, ending = await until_the_end(client)
    at = f"{case.name} {how} at {size} of {len(case.answer)}"

    complete = case.is_complete(size, how)
    stored = await stored_replies(proxy, conversation, authorization)
    assert stored == ([TEXT] if complete else []), at
    if size < case.head_size:
        assert seen is not None, at
        assert seen.status == 502, at
        assert b"backstory-error" in seen.head.raw.lower(), at
        return
    assert seen is not None, at
    assert seen.status == 200, at
    content = seen.content
    if not complete and case.shows_its_cut(size, how):
        assert not seen.complete, at
        assert ending == "rst" or case.framing != "close", at
        content = content.partition(b'data: {"error"')[0]
    elif case.framing != "close":
        assert seen.complete, at
    # What arrived upstream is what the client got; of a cut, nothing beyond it.
    whole = body_of(case)
    arrived = content.removesuffix(b"\n\n") if not complete else content
    assert whole.startswith(arrived), at
    if complete:
        assert content == whole[: len(content)], at
        assert case.framing == "close" or content == whole, at


async def until_the_end(client: RawClient) -> tuple[Received | None, str]:
    """The answer, and how the connection ended; it may stay open after a complete one."""
    try:
        answer = await client.read_answer()
    except Ended as ended:
        return None, ended.ending
    if answer.complete:
        return answer, "open"
    return answer, await client.ended()


async def stored_replies(
    proxy: Proxy, conversation: str, authorization: tuple[str, str]
) -> list[str]:
    """What the proxy says that it remembers."""
    async with RawClient(proxy.url) as client:
        target = f"/-/v1/conversations/{conversation}/turns"
        name, value = authorization
        await client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n".encode())
        answer = await client.read_answer()
    if answer.status == 404:
        return []
    turns = json.loads(answer.content)["turns"]
    assert [message["role"] for turn in turns for message in turn["messages"]] == [
        "user",
        "assistant",
    ] * len(turns)
    return [turn["messages"][-1]["content"] for turn in turns]


def body_of(case: Case) -> bytes:
    """The whole body, framing undone."""
    raw = case.answer[case.head_size :]
    if case.framing != "chunked":
        return raw
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return body

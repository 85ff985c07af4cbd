"""A history that is too long for the upstream: asked once more with half of it, and never again."""

import asyncio
import json

import pytest
from tests.wire.answers import respond
from tests.wire.clients import RawClient
from tests.wire.conftest import StartProxy
from tests.wire.talking import APIS, CHAT, NAMED, Api, one
from tests.wire.upstreams import Answer, RecordingUpstream, Request
from tests.wire.users import User, forwarded

from backstory.upstream import UpstreamAnswer


class Narrow:
    """A script: an upstream that takes so many messages and refuses more, each time in other words."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.refusals: list[bytes] = []

    def __call__(self, request: Request) -> bytes:
        said = forwarded(request.body)
        if len(said) <= self.most:
            api = CHAT if b"chat" in request.target else APIS[0]
            return api.answer(f"to {said[-1]}")
        words = f"this model's maximum context length is {self.most}, not {len(said)}"
        body = json.dumps({"error": {"message": words}}).encode()
        self.refusals.append(body)
        return respond([body], "application/json", "length", status="400 Bad Request")


async def four_turns(api: Api, user: User, upstream: RecordingUpstream) -> None:
    upstream.script = Narrow(100)
    for number in range(1, 5):
        assert (await user.ask(f"q{number}", NAMED, api=api)).complete
    upstream.requests.clear()


def said(*numbers: int) -> list[str]:
    return [text for number in numbers for text in (f"q{number}", f"to q{number}")]


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_half_of_it_is_told_and_that_stands(
    api: Api, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    user = User((await start_proxy(recording_upstream.url)).url)
    await four_turns(api, user, recording_upstream)
    recording_upstream.script = Narrow(6)
    answer = await user.ask("q5", NAMED, api=api)
    assert (answer.status, answer.complete) == (200, True)
    assert (one(answer, b"Backstory-Memory") or "").startswith("hit;turns=2;omitted=2;")
    told = [forwarded(request.body) for request in recording_upstream.requests]
    assert told == [[*said(1, 2, 3, 4), "q5"], [*said(3, 4), "q5"]]
    assert await user.turns("c") == [[f"q{n}", f"to q{n}"] for n in range(1, 6)]
    recording_upstream.script = Narrow(7)
    after = await user.ask("q6", NAMED, api=api)
    assert (one(after, b"Backstory-Memory") or "").startswith("hit;turns=3;omitted=2;")
    assert forwarded(recording_upstream.requests[-1].body) == [*said(3, 4, 5), "q6"]
    assert len(recording_upstream.requests) == 3


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_a_second_refusal_is_the_answer(
    api: Api, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    user = User((await start_proxy(recording_upstream.url)).url)
    await four_turns(api, user, recording_upstream)
    recording_upstream.script = narrow = Narrow(1)
    answer = await user.ask("q5", NAMED, api=api)
    assert (answer.status, answer.complete) == (400, True)
    assert len(set(narrow.refusals)) == len(recording_upstream.requests) == 2
    assert answer.content == narrow.refusals[-1]
    assert await user.turns("c") == [[f"q{n}", f"to q{n}"] for n in range(1, 5)]
    recording_upstream.script = Narrow(100)
    await user.ask("q6", NAMED, api=api)
    assert forwarded(recording_upstream.requests[-1].body) == [*said(1, 2, 3, 4), "q6"]


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_it_may_be_forbidden(
    api: Api, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, retry_on_overflow=False)
    user = User(proxy.url)
    await four_turns(api, user, recording_upstream)
    recording_upstream.script = narrow = Narrow(6)
    answer = await user.ask("q5", NAMED, api=api)
    assert (answer.status, answer.content) == (400, narrow.refusals[0])
    assert len(recording_upstream.requests) == 1


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_what_the_client_said_itself_is_not_shortened(
    api: Api, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    user = User((await start_proxy(recording_upstream.url)).url)
    recording_upstream.script = narrow = Narrow(0)
    answer = await user.ask("q1", NAMED, api=api)
    assert (answer.status, answer.content) == (400, narrow.refusals[0])
    assert len(recording_upstream.requests) == 1


LONG = b'{"error":{"message":"no such model"}}' + b" " * 1_000_000


@pytest.mark.parametrize("api", APIS, ids=str)
@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_another_refusal_arrives_as_it_came(
    api: Api, framing: str, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """All of it, although only its beginning was looked at."""
    user = User((await start_proxy(recording_upstream.url)).url)
    await four_turns(api, user, recording_upstream)
    recording_upstream.script = respond(
        [LONG],
        "application/json",
        "chunked" if framing == "chunked" else "length",
        status="400 Bad Request",
    )
    answer = await user.ask("q5", NAMED, api=api)
    assert (answer.status, answer.complete) == (400, True)
    assert answer.content == LONG
    assert len(recording_upstream.requests) == 1


async def test_a_refusal_that_is_cut_is_cut_for_the_client(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    user = User((await start_proxy(recording_upstream.url)).url)
    await four_turns(CHAT, user, recording_upstream)
    whole = respond(
        [b'{"error":{"message":"maximum context length"}}'],
        "application/json",
        "length",
        status="400 Bad Request",
    )
    recording_upstream.script = Answer([whole[:-20]], "rst")  # nobody can tell what it says
    answer = await user.ask("q5", NAMED, api=CHAT)
    assert (answer.status, answer.complete) == (400, False)
    assert answer.content
    assert whole[:-20].endswith(answer.content)
    assert len(recording_upstream.requests) == 1


async def test_who_leaves_while_a_refusal_arrives_closes_the_upstream(
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it says is not known yet, so nothing of it was sent on."""
    looked, peek = asyncio.Event(), UpstreamAnswer.peek

    async def peeking(answer: UpstreamAnswer, most_bytes: int) -> bytes:
        looked.set()
        return await peek(answer, most_bytes)

    monkeypatch.setattr(UpstreamAnswer, "peek", peeking)
    user = User((await start_proxy(recording_upstream.url)).url)
    await four_turns(CHAT, user, recording_upstream)
    whole = respond([b'{"error":{}}'], "application/json", "length", status="400 Bad Request")
    recording_upstream.script = Answer([whole[:-2]], "hold")
    async with RawClient(user.url) as client:
        await client.send(user.question("q5", NAMED, api=CHAT))
        await looked.wait()
        client.reset()
        await recording_upstream.closed(recording_upstream.requests[-1].connection)
    recording_upstream.script = Narrow(100)
    assert (await user.ask("q6", NAMED, api=CHAT)).complete
    assert await user.turns("c") == [[f"q{n}", f"to q{n}"] for n in (1, 2, 3, 4, 6)]

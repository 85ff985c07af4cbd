"""nginx in front: answers arrive at once, and look complete only if they are.

What ``docs/deploy/nginx.md`` promises and warns of: with its configuration, and with nginx's defaults.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from tests.wire.answers import FALCON_END, Framing, chat_json, chat_stream, falcon_answer, respond
from tests.wire.clients import RawClient, request
from tests.wire.conftest import StartProxy
from tests.wire.nginx import DOCUMENTED, NginxConfig, Start, both, starting
from tests.wire.talking import AUTHORIZATION, CHAT, FALCON, NAMED, chunk, head, one, say, stored
from tests.wire.upstreams import Answer, RecordingUpstream, Step, nobody_listens

from backstory import RUN_APP, Config

FRAMINGS: tuple[Framing, ...] = ("chunked", "length", "close")
STREAM = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
HEADS = {
    kind: head(
        "HTTP/1.1 200 OK", ("Content-Type", f"text/{kind}"), ("Transfer-Encoding", "chunked")
    )
    for kind in ("plain", "event-stream")
}


@pytest.fixture
async def start(
    tmp_path: Path, recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> AsyncIterator[Start]:
    """Starts a place; its nginx is stopped when the test ends."""
    async with starting(tmp_path, recording_upstream, start_proxy) as start:
        yield start


def event(text: str) -> bytes:
    """One event of a Chat Completions stream."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % text.encode()


@both
async def test_memory_is_exact(config: NginxConfig, start: Start) -> None:
    place = await start(config)
    place.upstream.script = [falcon_answer("one"), falcon_answer("two", "close")]
    for said in ("one", "two"):
        answer = await say(
            place.nginx.url, request("POST", FALCON.target, FALCON.good, AUTHORIZATION, NAMED)
        )
        assert (answer.complete, answer.content) == (True, said.encode() + FALCON_END)
        assert await stored(place.proxy) == ["one", "two"][: 1 + (said == "two")]
    assert b"AI: one" in place.upstream.requests[1].body


STREAMS = [("documented", "plain"), ("documented", "event-stream"), ("defaults", "event-stream")]


@pytest.mark.parametrize(("config", "kind"), STREAMS)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_every_token_arrives_at_once(
    config: NginxConfig, kind: str, framing: Framing, start: Start
) -> None:
    place = await start(config)
    chat = kind == "event-stream"
    pieces = [event("Hel"), event("lo"), event("!")] if chat else [b"Hel", b"lo", b"!"]
    gates = [asyncio.Event() for _ in pieces]
    steps: list[Step] = [respond(pieces, f"text/{kind}", framing).partition(b"\r\n\r\n")[0]]
    steps.append(b"\r\n\r\n")
    for piece, gate in zip(pieces, gates, strict=True):
        steps += [chunk(piece) if framing == "chunked" else piece, gate]
    place.upstream.script = Answer(steps, "fin")
    async with RawClient(place.nginx.url) as client:
        api, question = (CHAT, STREAM) if chat else (FALCON, FALCON.good)
        await client.post(api.target, question, AUTHORIZATION)
        assert (await client.read_head()).status == 200
        for piece, gate in zip(pieces[:-1], gates, strict=False):  # the end is held back
            assert await client.connection.read_until(piece)
            gate.set()
        gates[-1].set()


async def test_by_default_text_is_late(start: Start) -> None:
    gate = asyncio.Event()
    end = chunk(FALCON_END) + b"0\r\n\r\n"
    place = await start("defaults")
    place.upstream.script = Answer([HEADS["plain"], chunk(b"Hello"), gate, end])
    async with RawClient(place.nginx.url) as client:
        await client.post(FALCON.target, FALCON.good, AUTHORIZATION)
        with pytest.raises(TimeoutError):  # that nothing comes has no event
            async with asyncio.timeout(0.3):
                await client.connection.read_until(b"Hello")
        gate.set()
        assert await client.connection.read_until(b"Hello")


@both
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_cut_answer_is_seen_as_cut(
    config: NginxConfig, how: Literal["fin", "rst"], start: Start
) -> None:
    place = await start(config)
    for framing in FRAMINGS:
        for target, question, whole in (
            (FALCON.target, FALCON.good, falcon_answer("Hello you", framing)),
            (CHAT.target, CHAT.good, chat_json("Hello you", framing)),
            (CHAT.target, STREAM, chat_stream("Hello you", framing)),
            ("/x", b"?", respond([b"Hello", b" you"], "text/plain", framing)),
        ):
            if framing == "close" and how == "fin" and b"text/plain" in whole:
                continue  # nobody can tell: see the next test
            place.upstream.script = Answer([whole[: whole.index(b"you") + 1]], how)
            async with RawClient(place.nginx.url) as client:
                await client.post(target, question, AUTHORIZATION, NAMED)
                answer = await client.read_answer()
            assert (answer.status, answer.complete) == (200, False), (framing, target)
            assert b"[DONE]" not in answer.content
    assert await stored(place.proxy) == []


@both
async def test_what_only_the_connection_ends_gets_chunks(config: NginxConfig, start: Start) -> None:
    place = await start(config)
    place.upstream.script = Answer([respond([b"Hel"], "text/plain", "close")], "fin")
    answer = await say(place.nginx.url, request("POST", "/x", b"?", AUTHORIZATION))
    assert (one(answer, b"Transfer-Encoding"), answer.complete) == ("chunked", True)


@both
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_client_that_leaves_is_noticed(config: NginxConfig, how: str, start: Start) -> None:
    place = await start(config)
    place.upstream.script = Answer([HEADS["plain"], chunk(b"Hel")], "hold")
    async with RawClient(place.nginx.url) as client:
        await client.post(FALCON.target, FALCON.good, AUTHORIZATION, NAMED)
        await place.upstream.wait_for_request()
        (client.reset if how == "rst" else client.close)()
        await place.upstream.closed()
    assert await stored(place.proxy) == []


@both
async def test_a_client_that_hangs_up_at_done_is_remembered(
    config: NginxConfig, start: Start
) -> None:
    place = await start(config)
    place.upstream.script = chat_stream("Hello")
    async with RawClient(place.nginx.url) as client:
        await client.post(CHAT.target, STREAM, AUTHORIZATION, NAMED)
        await client.connection.read_until(b"[DONE]")
        client.reset()
    assert await stored(place.proxy) == ["Hello"]


REFUSALS = {"missing_token": 401, "body_too_large": 413, "invalid_conversation": 400}


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("size", [10, 4 << 20])
async def test_a_refusal_of_ours_arrives_whatever_is_still_on_its_way(
    code: str, size: int, start: Start
) -> None:
    place = await start(max_body_bytes=9)
    fields = [] if code == "missing_token" else [AUTHORIZATION]
    fields += [("Backstory-Conversation", "a b")] * (code == "invalid_conversation")
    async with RawClient(place.nginx.url) as client:
        await client.post(FALCON.target, b"x" * size, *fields)
        answer = await client.read_answer()
    assert (answer.status, one(answer, b"Backstory-Error")) == (REFUSALS[code], code)
    assert answer.complete
    assert place.upstream.requests == []


@both
async def test_errors_arrive_as_they_are(config: NginxConfig, start: Start) -> None:
    with nobody_listens() as nowhere:
        place = await start(config, upstream=nowhere)
        question = request("POST", CHAT.target, CHAT.good, AUTHORIZATION)
        answer = await say(place.nginx.url, question)
    assert (answer.status, one(answer, b"Backstory-Error")) == (502, "upstream_unreachable")
    assert b'"code"' in answer.content


def test_nginx_is_more_patient_than_the_proxy_and_lets_go_first() -> None:
    config = DOCUMENTED.read_text()
    found = re.search(r"proxy_read_timeout (\d+)s;", config)
    assert found is not None
    ours = Config()
    patience = ours.connect_seconds + ours.queue_seconds + ours.store_seconds
    assert int(found[1]) > patience + max(ours.first_byte_seconds, ours.silence_seconds)
    assert "keepalive_timeout" not in config  # so that it is 60 s, to clients 75 s
    assert RUN_APP["keepalive_timeout"] > 60


def test_every_row_of_the_document_has_its_tests() -> None:
    table = DOCUMENTED.with_name("nginx.md").read_text()
    rows = re.findall(r"^\| [^|\n]+ \|(?: [^|\n]+ \|){2} (.+) \|$", table, re.MULTILINE)
    assert len(rows) > 10
    here = Path(__file__).parent.glob("test_nginx*.py")
    tests = set(re.findall(r"def test_(\w+)", "".join(path.read_text() for path in here)))
    for row in rows:
        named = re.findall(r"`(\w+)`", row)
        assert named
        assert tests.issuperset(named), row

"""The instruments of the tests over sockets see what happens, and not what should happen."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from tests.wire.answers import FALCON_END, Framing, chat_json, chat_stream, falcon_answer
from tests.wire.clients import RawClient, post_chunked, request
from tests.wire.connection import Ended
from tests.wire.messages import Malformed
from tests.wire.upstreams import Answer, RecordingUpstream, nobody_listens

REPOSITORY = Path(__file__).parents[2]
ASK = request("POST", "/a%20b?q=1", {"text": "hi"}, ("X-Twice", "1"), ("x-twice", "2"))


async def test_a_request_is_recorded_as_its_bytes(recording_upstream: RecordingUpstream) -> None:
    async with RawClient(recording_upstream.url) as client:
        await client.send(ASK)
        answer = await client.read_answer()
    [seen] = recording_upstream.requests
    assert seen.raw_head + seen.framed.raw == ASK
    assert (seen.method, seen.target, seen.body) == (b"POST", b"/a%20b?q=1", b'{"text": "hi"}')
    assert seen.headers[2:4] == [(b"X-Twice", b"1"), (b"x-twice", b"2")]
    assert seen.values(b"X-TWICE") == [b"1", b"2"]
    assert answer.complete
    assert answer.body.chunks == [b"ok", FALCON_END]


async def test_chunks_are_recorded_with_and_without_their_framing(
    recording_upstream: RecordingUpstream,
) -> None:
    head, *framed = post_chunked("/", b"one", b"two")
    async with RawClient(recording_upstream.url) as client:
        await client.send(head, *framed)
        seen = await recording_upstream.wait_for_request()
    assert seen.body == b"onetwo"
    assert seen.framed.chunks == [b"one", b"two"]
    assert seen.framed.raw == b"".join(framed)


async def test_requests_on_one_connection_have_its_number_and_get_their_answers(
    recording_upstream: RecordingUpstream,
) -> None:
    recording_upstream.script = [falcon_answer("one"), chat_json("two"), falcon_answer("three")]
    async with (
        RawClient(recording_upstream.url) as first,
        RawClient(recording_upstream.url) as other,
    ):
        await first.send(ASK)
        assert b"one" in (await first.read_answer()).content
        await first.send(ASK)
        assert b"two" in (await first.read_answer()).content
        await other.send(ASK)
        assert b"three" in (await other.read_answer()).content
    assert [seen.connection for seen in recording_upstream.requests] == [0, 0, 1]


async def test_a_script_can_look_at_the_request(recording_upstream: RecordingUpstream) -> None:
    recording_upstream.script = lambda seen: falcon_answer(seen.target.decode())
    async with RawClient(recording_upstream.url) as client:
        await client.send(ASK)
        assert b"/a%20b?q=1" in (await client.read_answer()).content


async def test_a_gate_holds_the_next_piece_back(recording_upstream: RecordingUpstream) -> None:
    gate, whole = asyncio.Event(), chat_stream("hello")
    recording_upstream.script = Answer([whole[:-5], gate, whole[-5:]])
    async with RawClient(recording_upstream.url) as client:
        await client.send(ASK)
        assert await client.connection.read_exactly(len(whole) - 5) == whole[:-5]
        assert not client.connection.buffer
        gate.set()
        assert await client.connection.read_exactly(5) == whole[-5:]


@pytest.mark.parametrize("ending", ["fin", "rst"])
async def test_a_cut_answer_is_seen_as_cut_and_how(
    recording_upstream: RecordingUpstream, ending: str
) -> None:
    whole = falcon_answer("hello world")
    arrived = asyncio.Event()
    cut = whole.index(b" world") + 3
    recording_upstream.script = Answer([whole[:cut], arrived], "fin" if ending == "fin" else "rst")
    async with RawClient(recording_upstream.url) as client:
        await client.send(ASK)
        head = await client.read_head()
        arrived.set()
        body = await client.read_body(head)
        assert await client.ended() == ending
    assert not body.complete
    assert body.content == b"hello wo"
    assert head.raw + body.raw == whole[:cut]


async def test_a_held_connection_stays_open(recording_upstream: RecordingUpstream) -> None:
    whole = falcon_answer("hello")
    recording_upstream.script = Answer([whole[:-5]], "hold")
    async with RawClient(recording_upstream.url) as client:
        await client.send(ASK)
        await client.connection.read_exactly(len(whole) - 5)
        assert client.connection.ending is None
        client.finish()
        assert await recording_upstream.closed() == "fin"


@pytest.mark.parametrize("leave", ["close", "reset"])
async def test_the_upstream_sees_how_it_was_left_while_it_waits(
    recording_upstream: RecordingUpstream, leave: str
) -> None:
    recording_upstream.script = Answer([asyncio.Event()])
    async with RawClient(recording_upstream.url) as client:
        await client.send(ASK)
        await recording_upstream.wait_for_request()
        getattr(client, leave)()
        assert await recording_upstream.closed() == {"close": "fin", "reset": "rst"}[leave]


@pytest.mark.parametrize("sent", [ASK[:40], ASK[:-3], b"".join(post_chunked("/", b"x")[:2])])
async def test_a_request_that_is_not_finished_is_not_a_request(
    recording_upstream: RecordingUpstream, sent: bytes
) -> None:
    async with RawClient(recording_upstream.url) as client:
        await client.send(sent)
        client.finish()
        assert await client.ended() == "fin"
    assert recording_upstream.requests == []
    assert recording_upstream.cut == [sent]


async def test_what_is_done_at_the_head_comes_before_the_body() -> None:
    gate = asyncio.Event()
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    async with (
        RecordingUpstream(on_head=[interim, gate]) as upstream,
        RawClient(upstream.url) as client,
    ):
        await client.send(ASK)
        assert (await client.read_head()).status == 100
        assert upstream.requests == []
        gate.set()
        assert (await client.read_answer()).status == 200


async def test_a_peer_that_does_not_read_is_a_slow_peer() -> None:
    gate, much = asyncio.Event(), b"x" * 50_000_000
    async with RecordingUpstream(on_head=[gate]) as upstream, RawClient(upstream.url) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.send(request("POST", "/", much)), 0.2)
        assert len(upstream.connections[0].buffer) < 1_000_000
        gate.set()
        assert len((await upstream.wait_for_request()).body) == len(much)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("build", [falcon_answer, chat_stream, chat_json])
async def test_every_answer_is_readable_in_every_framing(
    recording_upstream: RecordingUpstream, build: object, framing: Framing
) -> None:
    assert callable(build)
    recording_upstream.script = build("Grüße, world", framing)
    async with RawClient(recording_upstream.url) as client:
        await client.send(ASK)
        answer = await client.read_answer()
        assert answer.complete is (framing != "close")
        assert client.connection.ending == ("fin" if framing == "close" else None)
    assert "Grüße,".encode() in answer.content
    assert (len(answer.body.chunks) > 1) is (framing == "chunked" and build is not chat_json)


@pytest.mark.parametrize(
    "answer",
    [
        falcon_answer("ok").replace(b"\r\n0\r\n", b"0\r\n"),
        falcon_answer("ok").replace(b"2\r\nok", b"2 \r\nok"),
        falcon_answer("ok").replace(b"2\r\nok", b"0x2\r\nok"),
        falcon_answer("ok").replace(b"chunked", b"chunked\r\nContent-Length: 2"),
        falcon_answer("ok").replace(b"Content-Type:", b"Content-Type :"),
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_a_lenient_client_would_accept_is_malformed(
    recording_upstream: RecordingUpstream, answer: bytes
) -> None:
    recording_upstream.script = answer
    async with RawClient(recording_upstream.url) as client:
        await client.send(ASK)
        with pytest.raises(Malformed):
            await client.read_answer()


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\nHost: x\r\n\r\n", ASK.replace(b"X-Twice: 1", b"Content-Length: 1")]
)
async def test_a_malformed_request_fails_the_test(sent: bytes) -> None:
    with pytest.RaisesGroup(Malformed):
        async with RecordingUpstream() as upstream, RawClient(upstream.url) as client:
            await client.send(sent)
            await client.ended()


async def test_a_request_that_the_script_did_not_expect_fails_the_test() -> None:
    with pytest.RaisesGroup(LookupError):
        async with (
            RecordingUpstream([falcon_answer("one")]) as upstream,
            RawClient(upstream.url) as client,
        ):
            await client.send(ASK, ASK)
            await client.ended()


async def test_reading_past_the_end_says_what_had_come(
    recording_upstream: RecordingUpstream,
) -> None:
    recording_upstream.script = Answer([b"HTTP/1.1 200 OK\r\n"], "fin")
    async with RawClient(recording_upstream.url) as client:
        await client.send(ASK)
        with pytest.raises(Ended) as caught:
            await client.read_head()
    assert (caught.value.ending, caught.value.rest) == ("fin", b"HTTP/1.1 200 OK\r\n")


async def test_nobody_listens_where_nobody_listens() -> None:
    with nobody_listens() as url, pytest.raises(ConnectionRefusedError):
        async with RawClient(url):
            pass


BLOCKING = """
import asyncio
import time
from pathlib import Path
import pytest
from backstory.keys import read_or_make

async def call_back(path: Path) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # nobody hears of the error
    loop.call_soon(read_or_make, path)
    await asyncio.sleep(0)

async def test_called_by_the_loop(tmp_path: Path) -> None:
    await call_back(tmp_path / "key")

@pytest.mark.allow_blocking
async def test_allowed(tmp_path: Path) -> None:
    await call_back(tmp_path / "key")

async def test_called_by_the_test(tmp_path: Path) -> None:
    read_or_make(tmp_path / "key")

async def test_not_ours(tmp_path: Path) -> None:
    time.sleep(0)
"""


def test_code_of_ours_that_blocks_fails_its_test_even_if_the_error_is_caught(
    tmp_path: Path,
) -> None:
    file = tmp_path / "test_blocking.py"
    file.write_text(BLOCKING)
    options = ["-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "::test_called_by_the_loop - AssertionError: the event loop was blocked" in ran.stdout
    assert "keys.py:" in ran.stdout
    assert "4 passed, 1 error" in ran.stdout

"""The application in docs/plugin.md runs, as a program and under gunicorn, and remembers."""

import json
from pathlib import Path

from tests.wire.answers import chat_json
from tests.wire.clients import RawClient, request
from tests.wire.hosts import Gunicorn, Script, example
from tests.wire.server import Server, reserved_port
from tests.wire.talking import AUTHORIZATION, NAMED, say
from tests.wire.upstreams import Answer, RecordingUpstream

PAGE = "plugin.md"
CHAT = "/llm/v1/chat/completions"


def written(directory: Path, port: int) -> Path:
    """The example as a file, with this port."""
    file = directory / "service.py"
    text = example(PAGE, "python", "# service.py")
    assert text.count("port=8080") == 1
    file.write_text(text.replace("port=8080", f"port={port}"))
    return file


async def ask(url: str, text: str) -> None:
    """One question in the conversation."""
    question = {"messages": [{"role": "user", "content": text}]}
    assert (await say(url, request("POST", CHAT, question, AUTHORIZATION, NAMED))).status == 200


async def remembers(server: Server, upstream: RecordingUpstream) -> None:
    """The host answers for itself; the proxy remembers, and notices who leaves."""
    upstream.script = chat_json("one")
    assert (await say(server.url, request("GET", "/hello", b""))).content == b"hello"
    await ask(server.url, "a")
    await ask(server.url, "b")
    messages = json.loads(upstream.requests[-1].body)["messages"]
    assert [message["content"] for message in messages] == ["a", "one", "b"]


async def frees_the_upstream(server: Server, upstream: RecordingUpstream) -> None:
    """A client that leaves closes the upstream's connection."""
    upstream.script = Answer([chat_json("two")[:-5]], "hold")
    async with RawClient(server.url) as client:
        await client.post(CHAT, {"messages": []}, AUTHORIZATION)
        await client.read_head()
        client.close()
        assert await upstream.closed(len(upstream.connections) - 1) in ("fin", "rst")


def warned(server: Server) -> list[str]:
    """What was said of the runner."""
    return [line for line in server.said if "aiohttp's runner was not given" in line]


async def test_as_a_program(tmp_path: Path, recording_upstream: RecordingUpstream) -> None:
    with reserved_port() as port:
        file = written(tmp_path, port)
        async with Script(file, port, recording_upstream.url) as server:
            await remembers(server, recording_upstream)
            await frees_the_upstream(server, recording_upstream)
            assert await server.stop() == 0
    assert warned(server) == []


async def test_under_gunicorn(tmp_path: Path, recording_upstream: RecordingUpstream) -> None:
    with reserved_port() as port:
        written(tmp_path, port)
        async with Gunicorn(tmp_path, port, recording_upstream.url, PAGE) as server:
            await remembers(server, recording_upstream)
            await frees_the_upstream(server, recording_upstream)
            assert await server.stop() == 0
    assert warned(server) == []


async def test_with_a_runner_that_was_told_nothing_it_says_what_is_missing(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    with reserved_port() as port:
        written(tmp_path, port)
        async with Gunicorn(
            tmp_path, port, recording_upstream.url, PAGE, serves="service:app"
        ) as server:
            await remembers(server, recording_upstream)
            assert await server.stop() == 0
    # Once for each worker that was asked.
    assert 1 <= len(warned(server)) <= 2
    for name in ("handler_cancellation", "auto_decompress", "max_field_size", "backstory.RUN_APP"):
        assert name in warned(server)[0]

"""The server's own runner: past the router, with aiohttp's heads mended, and ended by signals."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from aiohttp import web

from backstory.runner import HANDLER, Runner


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[int]:
    """The port on which ``app`` is served."""
    runner = Runner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


def answering() -> web.Application:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text=request.raw_path)

    app = web.Application()
    app[HANDLER] = handler
    return app


async def test_every_target_has_the_one_handler_and_no_field_of_aiohttps() -> None:
    async with running(answering()) as port:
        for target in (b"/", b"/a%2Fb?c", b"*", b"/%0a"):
            request = b"OPTIONS %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % target
            head, _, body = (await ask(port, request)).partition(b"\r\n\r\n")
            assert body == target
            assert b"\r\nserver:" not in head.lower()


async def test_a_connection_ends_with_its_first_chunked_request() -> None:
    request = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    async with running(answering()) as port:
        assert b"\r\nConnection: close\r\n" in await ask(port, request)


async def test_what_starts_and_ends_with_the_application_does() -> None:
    steps: list[str] = []

    async def context(_: web.Application) -> AsyncIterator[None]:
        steps.append("begun")
        yield
        steps.append("ended")

    app = answering()
    app.cleanup_ctx.append(context)
    async with running(app):
        assert steps == ["begun"]
    assert steps == ["begun", "ended"]


PROGRAM = """
import asyncio, socket, sys
from aiohttp import web
from backstory.runner import HANDLER, run

async def never_starts(_):
    print("starting", flush=True)
    await asyncio.Event().wait()
    yield

async def never_ends(_):
    yield
    print("ending", flush=True)
    await asyncio.Event().wait()

app = web.Application()
app[HANDLER] = None
app.cleanup_ctx.append(globals()[sys.argv[1]])
listener = socket.create_server(("127.0.0.1", 0))
run(app, listener, lambda: print("ready", flush=True), shutdown_timeout=0.1)
"""


@contextmanager
def program(context: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, context],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_ends_it(number: signal.Signals) -> None:
    with program("never_starts") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        process.send_signal(number)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_a_second_signal_ends_it_at_once() -> None:
    with program("never_ends") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "ending\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1, said
    assert "Traceback" not in said

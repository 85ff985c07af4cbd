"""What the runner was told is read from a request of its own."""

import platform
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web

from backstory.run_options import RUN_APP, is_decompressed, missing, new_event_loop

Ask = Callable[..., Awaitable[tuple[list[str], bool]]]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Both answers, of a server that was told these options, for a request with these fields."""
    async with AsyncExitStack() as stack:

        async def ask(options: dict[str, Any], **fields: str) -> tuple[list[str], bool]:
            found = []

            async def handle(request: web.Request) -> web.Response:
                found.append((missing(request), is_decompressed(request)))
                return web.Response()

            app = web.Application()
            app.router.add_get("/", handle)
            runner = web.AppRunner(app, **options)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            async with session.get(f"http://127.0.0.1:{runner.addresses[0][1]}", headers=fields):
                pass
            return found[0]

        yield ask


async def test_a_runner_that_was_told_everything_misses_nothing(ask: Ask) -> None:
    assert await ask(RUN_APP) == ([], False)
    assert await ask(RUN_APP | {"max_field_size": 99_999, "keepalive_timeout": 1.0}) == ([], False)


async def test_a_runner_that_was_told_nothing_misses_what_matters(ask: Ask) -> None:
    expected = ["handler_cancellation", "auto_decompress", "max_line_size", "max_field_size"]
    assert await ask({}) == (expected, False)


LARGE_BLOCKS = """
import sys
from pathlib import Path
from backstory.run_options import give_back_large_blocks
if sys.argv[1] == "calm":
    give_back_large_blocks()
first = bytearray(b"x") * 20_000_000
del first
large = [bytearray(b"x") * 20_000_000 for _ in range(5)]
behind = bytearray(b"x") * 200_000
del large
print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
"""


@pytest.mark.allow_blocking
def test_memory_of_large_blocks_goes_back_to_the_system() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc keeps it")
    took = []
    for how in ("as it is", "calm"):
        command = (sys.executable, "-c", LARGE_BLOCKS, how)
        took.append(int(subprocess.run(command, check=True, capture_output=True).stdout))
    assert took[0] - took[1] > 80_000_000


@pytest.mark.parametrize("name", ["handler_cancellation", "auto_decompress", "max_field_size"])
async def test_one_that_is_missing_is_named(name: str, ask: Ask) -> None:
    rest = {key: value for key, value in RUN_APP.items() if key != name}
    assert (await ask(rest))[0] == [name]


async def test_only_a_body_with_a_coding_is_decompressed(ask: Ask) -> None:
    coding = {"Content-Encoding": "gzip"}
    assert (await ask({}, **coding))[1] is True
    assert (await ask(RUN_APP, **coding))[1] is False


def test_our_own_server_runs_on_uvloop() -> None:
    loop = new_event_loop()
    try:
        assert isinstance(loop, uvloop.Loop)
    finally:
        loop.close()

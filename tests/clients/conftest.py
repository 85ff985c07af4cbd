"""What a client of the suite talks to: real processes, started once for all tests."""

import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from tests.clients.recording import Recorder
from tests.clients.table import Seen
from tests.wire.server import Server, environment, reserved_port


class Town:
    """The upstreams, and ``backstory serve`` in front of them: one process for each pair of settings."""

    def __init__(self, stack: AsyncExitStack, folders: pytest.TempPathFactory) -> None:
        """``stack``: closes all of it."""
        self._stack = stack
        self._folders = folders
        self._proxies: dict[tuple[str, str], Server] = {}
        self.demo = ""
        """URL of a demo upstream, which answers from what it is sent."""
        self.recording = Recorder()
        """The same, in this process: it remembers each request."""

    async def open(self) -> None:
        """Both upstreams listen."""
        runner = await self.recording.listen()
        self._stack.push_async_callback(runner.cleanup)
        process = await create_subprocess_exec(
            *(sys.executable, "-m", "backstory", "demo-upstream"),
            *("--listen", "127.0.0.1:0", "--token-seconds", "0"),
            stdout=PIPE,
            env=environment(),
        )
        assert process.stdout is not None
        self._stack.push_async_callback(process.wait)
        self._stack.callback(process.terminate)
        line = (await process.stdout.readline()).decode()
        self.demo = line.split()[-1]
        assert self.demo.startswith("http://127.0.0.1:"), line

    async def proxy(self, upstream: str, session: str = "auto") -> Server:
        """The proxy with this upstream and this ``--session``; started when first asked for."""
        key = (upstream, session)
        if key not in self._proxies:
            folder = self._folders.mktemp("proxy")
            port = self._stack.enter_context(reserved_port())
            server = Server(folder, port, upstream, {"BACKSTORY_SESSION": session})
            self._proxies[key] = await self._stack.enter_async_context(server)
        return self._proxies[key]

    def complaints(self) -> list[str]:
        """What no healthy proxy says."""
        return [line for server in self._proxies.values() for line in server.complaints()]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Lives as long as the whole run; at its end no proxy may have complained."""
    async with AsyncExitStack() as stack:
        place = Town(stack, tmp_path_factory)
        await place.open()
        yield place
        assert place.complaints() == []


@pytest.fixture(scope="session")
def seen(request: pytest.FixtureRequest) -> Iterator[Seen]:
    """What the tests of this run saw; ``--clients-table`` writes it into ``docs/clients.md``."""
    collected = Seen()
    yield collected
    if request.config.getoption("--clients-table"):
        collected.write(Path(request.config.rootpath) / "docs/clients.md")

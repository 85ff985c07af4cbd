"""The real server as a process of its own, to be killed, stopped and started again.

It keeps its port and its directory from one start to the next, as a server does that a supervisor
starts again.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.wire.conftest import SECRET
from tests.wire.connection import DEADLINE_SECONDS

from backstory.tasks import Tasks

LAUNCHER = Path(__file__).with_name("forking_launcher.py")


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port of 127.0.0.1 that a server can listen on again and again, and that nobody else gets.

    Bound with SO_REUSEADDR and never listening: so Linux lets a server bind it as well, and does
    not give it to an outgoing connection while the server is down.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        yield port


class Server:
    """``backstory serve`` in a new interpreter. An async context manager: entered, it listens."""

    READY = "listening on "
    """What it says, and then its address."""

    def __init__(
        self, directory: Path, port: int, upstream: str, env: Mapping[str, str] | None = None
    ) -> None:
        """Not running yet.

        Args:
            directory: where it runs, and where its database and its keys are.
            port: where it listens, after every start.
            upstream: scheme, host and port.
            env: more of its environment.
        """
        self.directory = directory
        self.url = f"http://127.0.0.1:{port}"
        self.said: list[str] = []
        """Each line on standard error, of all starts."""
        self.options = ("--listen", f"127.0.0.1:{port}", "--upstream", upstream)
        self._env = environment(BACKSTORY_JWT_SECRET=SECRET) | dict(env or {})
        self._process: Process | None = None
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._says_more = asyncio.Event()
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        """Listens now."""
        await self.start()
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """Killed, if it still runs."""
        if self._process is not None:
            await self.kill()

    async def start(self) -> None:
        """Start it, and return as soon as it says that it listens."""
        self._process = await self._spawn(*self.program(), stdin=DEVNULL)
        await self._listening()

    def program(self) -> tuple[str, ...]:
        """What is run, with its arguments."""
        return (sys.executable, "-m", "backstory", "serve", *self.options)

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    async def kill(self) -> int:
        """End it by SIGKILL; the exit status, which is -9."""
        return await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """End it by SIGTERM; the exit status."""
        return await self._end(signal.SIGTERM)

    async def says(self, what: str, times: int = 1) -> None:
        """Wait until it has said this so often, in all."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while sum(what in line for line in self.said) < times:
                self._says_more.clear()
                await self._says_more.wait()

    async def ended(self) -> int:
        """Wait until it ends by itself; the exit status."""
        return await self._end(None)

    @property
    def is_running(self) -> bool:
        """Whether nobody has ended it."""
        return self._process is not None

    def complaints(self) -> list[str]:
        """Lines that no healthy server writes: errors, and what is no log line at all."""
        return [line for line in self.said if self.READY not in line and self.is_bad(line)]

    def is_bad(self, line: str) -> bool:
        """Whether no healthy server writes this."""
        try:
            entry = json.loads(line)
        except ValueError:
            return True
        return "exception" in entry or entry["level"] not in ("info", "warning")

    async def _spawn(self, *command: str, stdin: int, stdout: int = DEVNULL) -> Process:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.directory, env=self._env, stdin=stdin, stdout=stdout, stderr=PIPE
        )
        assert process.stderr is not None
        _ = self._tasks.spawn(self._listen_to(process.stderr), name="stderr")  # held by _tasks
        return process

    async def _listen_to(self, stderr: asyncio.StreamReader) -> None:
        while line := (await stderr.readline()).decode().rstrip("\n"):
            self.said.append(line)
            self._says_more.set()
            _, ready, rest = line.partition(self.READY)
            if ready:
                self._ready.put_nowait(rest.split()[0])
        self._ready.put_nowait("")  # it ended, or said an empty line, which it never does

    async def _listening(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            url = await self._ready.get()
        assert url == self.url, "the server does not start:\n" + "\n".join(self.said[-20:])

    async def _end(self, number: signal.Signals | None) -> int:
        process, self._process = self._process, None
        assert process is not None, "it does not run"
        if process.returncode is None and number is not None:
            process.send_signal(number)
        async with asyncio.timeout(3 * DEADLINE_SECONDS):
            status = await process.wait()
            assert await self._ready.get() == ""  # all that it said has been read
        return status


class ForkedServer(Server):
    """The same, a fork of a process that has imported everything: it starts ten times as fast."""

    _launcher: Process | None = None

    def __init__(
        self,
        directory: Path,
        port: int,
        upstream: str,
        env: Mapping[str, str] | None = None,
        *,
        hold_back: bool = True,
    ) -> None:
        """``hold_back``: without it the server has the bug that this whole test is about."""
        super().__init__(directory, port, upstream, env)
        self._bugs = () if hold_back else ("--without-hold-back",)

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """Killed, and so is the process that it was forked from."""
        if self._launcher is not None:
            assert self._launcher.stdin is not None
            self._launcher.stdin.close()  # it kills its child, and leaves
            await self._launcher.wait()
            await self._tasks.settle(DEADLINE_SECONDS)

    async def start(self) -> None:
        """See ``Server``."""
        if self._launcher is None:
            # -P: the instruments beside the script must not hide modules of the same name
            command = (sys.executable, "-P", str(LAUNCHER), *self._bugs, *self.options)
            self._launcher = await self._spawn(*command, stdin=PIPE, stdout=PIPE)
        self._command("start")
        await self._listening()

    async def _end(self, number: signal.Signals | None) -> int:
        assert number is not None
        assert self._launcher is not None
        assert self._launcher.stdout is not None
        self._command(number.name)
        async with asyncio.timeout(3 * DEADLINE_SECONDS):
            return int(await self._launcher.stdout.readline())

    def _command(self, word: str) -> None:
        assert self._launcher is not None
        assert self._launcher.stdin is not None
        self._launcher.stdin.write(f"{word}\n".encode())


def environment(**more: str) -> dict[str, str]:
    """This process's environment without any setting of the server's, and ``more``."""
    ours = ("BACKSTORY_", "JWT_", "FLASK_SECRET", "TT_API_JWT")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | more

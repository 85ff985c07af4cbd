"""A server as a process of its own: started on its core, awaited, and stopped by its process id."""

import ctypes
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.failure import Failure
from scripts.bench.machine import on

START_SECONDS, STOP_SECONDS = 120, 60
_C, _PR_SET_PDEATHSIG = ctypes.CDLL(None), 1
LISTENING = re.compile(r"^listening on http://127\.0\.0\.1:([0-9]+)$", re.MULTILINE)


_through: tuple[str, ...] = ()


@contextmanager
def through(*words: str) -> Iterator[None]:
    """Servers that are started in here are run by another program: ``words``, and then the command."""
    global _through
    before, _through = _through, words
    try:
        yield
    finally:
        _through = before


@dataclass(frozen=True)
class Server:
    """One that listens."""

    name: str
    pid: int
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running(
    name: str,
    command: list[str],
    folder: Path,
    cores: frozenset[int],
    *,
    env: Mapping[str, str] | None = None,
    ready: re.Pattern[str] = LISTENING,
    port: int = 0,
) -> Iterator[Server]:
    """The server, once its output matches ``ready``; its port is the match's group, or ``port``."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name.replace(' ', '-').replace('/', '-')}.log"
    with log.open("wb") as output, on(cores):
        process = subprocess.Popen(  # noqa: S603 - our own commands
            [*_through, *command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_end_with_us,
        )
    with process:
        try:
            found = _wait(name, process, log, ready)
            yield Server(name, process.pid, port or int(found.group(1)), log)
            if process.poll() is not None:
                raise Failure(f"{name} died while it was measured:\n{_last_lines(log)}")
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _end_with_us() -> None:
    """Run in the child: it is told to stop when we die, even if we are killed (prctl(2))."""
    _C.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(
    name: str, process: subprocess.Popen[bytes], log: Path, ready: re.Pattern[str]
) -> re.Match[str]:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        found = ready.search(log.read_text(errors="replace"))
        if found:
            return found
        time.sleep(0.02)
    raise Failure(f"{name} did not start:\n{_last_lines(log)}")


def _last_lines(log: Path) -> str:
    return "\n".join("  " + line for line in log.read_text(errors="replace").splitlines()[-15:])

"""Several workers behind one listening socket, and the process that keeps them running.

The supervisor binds the socket, forks the workers, which inherit it, and starts a dead one again.
It runs no event loop, no thread and no request, so there is little that could end it; and if
something does, the workers notice and stop in order.
"""

import asyncio
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from backstory.log import JsonLines

Work = Callable[[int, Callable[[], None]], int]
"""What a worker does: gets its number and what to call when it is ready; its exit status."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

SHORT_LIFE_SECONDS = 1.0
"""A worker that lived no longer than this is started again only after as long a pause."""


class Supervisor:
    """Keeps ``count`` workers running until it is told to stop."""

    def __init__(self, count: int, work: Work) -> None:
        """``work``: runs in a process of its own."""
        self._count = count
        self._work = work
        self._workers: dict[int, tuple[int, float]] = {}  # process id: number, start
        self._due: dict[int, float] = {}  # number: when to start it again
        self._unready = set(range(count))
        self._status: int | None = None  # once it is to stop
        self._ready_read, self._ready_write = os.pipe()
        self.lifeline, self._held = os.pipe()
        """Ends when the supervisor does."""

    def run(self, ready: Callable[[], None]) -> int:
        """Start the workers and watch; ``ready`` is called when all of them are. The exit status.

        A worker that ends before it was ever ready ends everything, with its status.
        """
        waker, woken = socket.socketpair()
        woken.setblocking(False)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        for name in _SIGNALS:
            signal.signal(name, self._signalled)
        selector = selectors.DefaultSelector()
        selector.register(self._ready_read, selectors.EVENT_READ)
        selector.register(waker, selectors.EVENT_READ)
        for number in range(self._count):
            self._start(number)
        while self._workers or self._due:
            for key, _ in selector.select(self._pause()):
                if key.fileobj is waker:
                    waker.recv(4096)
                    continue
                were_unready = bool(self._unready)
                self._unready -= set(os.read(self._ready_read, 4096))
                if were_unready and not self._unready:
                    ready()
            self._reap()
            self._start_due()
        return self._status or 0

    async def follow(self, _: web.Application) -> AsyncIterator[None]:
        """A worker's context that stops it, in order, when the supervisor is gone."""
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(self.lifeline)
            os.kill(os.getpid(), signal.SIGTERM)

        loop.add_reader(self.lifeline, gone)
        yield
        loop.remove_reader(self.lifeline)

    def _start(self, number: int) -> None:
        child = os.fork()
        if child:
            self._workers[child] = (number, time.monotonic())
            return
        status = 1
        try:
            # Ctrl-C in a terminal is for the supervisor, which tells the workers in its own way.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for name in _SIGNALS:
                signal.signal(name, signal.SIG_DFL)
            os.close(self._held)  # or the lifeline would never end
            status = self._work(number, lambda: self._is_ready(number))
        except Exception:  # noqa: BLE001 - the last frame of a process: say it, and end
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # whatever the parent was about to do is not this process's business

    def _is_ready(self, number: int) -> None:
        os.write(self._ready_write, bytes([number]))

    def _signalled(self, number: int, _: object) -> None:
        """Runs between two steps of ``run``: SIGCHLD only wakes it."""
        if number != signal.SIGCHLD:
            self._stop(0)

    def _stop(self, status: int) -> None:
        if self._status is None:
            self._status = status
        self._due.clear()
        for worker in self._workers:
            os.kill(worker, signal.SIGTERM)  # a second one ends it at once

    def _reap(self) -> None:
        while self._workers:
            worker, wait_status = os.waitpid(-1, os.WNOHANG)
            if not worker:
                return
            number, started = self._workers.pop(worker)
            if self._status is not None:
                continue
            status = os.waitstatus_to_exitcode(wait_status)
            if number in self._unready:
                self._stop(max(1, status))
                continue
            _say(f"worker {number} ended with status {status} and is started again")
            now = time.monotonic()
            self._due[number] = (
                now if now - started > SHORT_LIFE_SECONDS else now + SHORT_LIFE_SECONDS
            )

    def _start_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            self._start(number)

    def _pause(self) -> float | None:
        if not self._due:
            return None
        return max(0.0, min(self._due.values()) - time.monotonic())


def _say(message: str) -> None:
    """A log line, without a logger: the workers set up their own after the fork."""
    facts = {"name": __name__, "levelname": "WARNING", "msg": message}
    sys.stderr.write(JsonLines().format(logging.makeLogRecord(facts)) + "\n")
    sys.stderr.flush()

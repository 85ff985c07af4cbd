"""Tasks that nobody loses: each has a name, and somebody holds it until it ends."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")


class Tasks:
    """The tasks of one server that outlive the request that began them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._running)

    def loop(self) -> asyncio.AbstractEventLoop:
        """In which they run. To ask for it anew is a system call each time (Python 3.11)."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Begin ``work``; an error that nobody awaits is logged by its type, never by its text."""
        task = self.loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("task %s ended with %s", task.get_name(), type(error).__name__)

    async def settle(self, seconds: float) -> None:
        """Wait until all have ended, ``seconds`` at most; cancel the rest."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=seconds)
            for task in late:
                task.cancel()

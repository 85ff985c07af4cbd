"""A timer that costs nothing to move: it looks at its deadline only when it rings."""

import asyncio
from collections.abc import Callable


def _nobody() -> None:
    """Stands in for whom a cancelled alarm would have called."""


class Alarm:
    """Calls ``ring`` once the time set is over.

    A wait for each chunk of an answer would otherwise make and cancel a timer of the event loop.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._deadline: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Ring in ``seconds`` from now, and not at the time set before."""
        self._deadline = self._loop.time() + seconds
        if self._handle is not None and self._handle.when() > self._deadline:
            self._handle.cancel()
            self._handle = None
        if self._handle is None:
            self._handle = self._loop.call_at(self._deadline, self._look)

    def unset(self) -> None:
        """Do not ring until it is set again."""
        self._deadline = None

    def cancel(self) -> None:
        """Let go of the event loop's timer, and of whom it would call. It cannot be set again."""
        self._deadline = None
        self._ring = _nobody
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        self._handle = None
        if self._deadline is None:
            return
        if self._deadline > self._loop.time():
            self._handle = self._loop.call_at(self._deadline, self._look)
        else:
            self._deadline = None
            self._ring()

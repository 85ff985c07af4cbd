"""Many deadlines of one length behind one timer of the event loop.

A request waits several times, and nearly never for as long as it may. A timer for each wait is made
and cancelled a hundred thousand times before one of them rings; to note a deadline takes a tenth.
"""

import asyncio
from typing import Protocol


class Waiting(Protocol):
    """Who may wait too long. Noted as the object that it is."""

    def overdue(self) -> None:
        """The deadline has passed. Called from the event loop."""


class Deadlines:
    """Deadlines that are each the same time away when they are set. Used from one event loop."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: how far away."""
        self.seconds = seconds
        # All are equally far when they are set: in the order of setting is in the order of time.
        self._due: dict[Waiting, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many are set."""
        return len(self._due)

    def set(self, who: Waiting) -> None:
        """Call ``who`` in ``seconds`` from now, and not at the time set before."""
        self._due.pop(who, None)
        loop = asyncio.get_running_loop()
        when = self._due[who] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_at(when, self._look)

    def unset(self, who: Waiting) -> None:
        """Do not call ``who``."""
        self._due.pop(who, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer, now = None, loop.time()
        while self._due:
            who, when = next(iter(self._due.items()))
            if when > now:
                self._timer = loop.call_at(when, self._look)
                return
            del self._due[who]
            who.overdue()

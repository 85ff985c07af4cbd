"""Many deadlines of one length behind one timer of the event loop.

A request waits several times, and nearly never for as long as it may. A timer for each wait is made
and cancelled a hundred thousand times before one of them rings; to note a deadline takes a tenth.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")

LATE_SECONDS = 0.2
"""A timer that rings so late says that the loop stood still: the process was stopped, or its machine."""
GRACE_SECONDS = 1.0
"""How much longer everybody may wait then."""


class Waiting(Protocol):
    """Who may wait too long. Noted as the object that it is."""

    def overdue(self) -> None:
        """The deadline has passed. Called from the event loop."""


class Deadlines:
    """Deadlines that are each the same time away when they are set. Used from one event loop.

    Loops look at their timers before they look at what has come. So after the loop stood still
    everybody is given a moment more: what is waited for may be here.
    """

    def __init__(self, seconds: float) -> None:
        """``seconds``: how far away."""
        self.seconds = seconds
        # All are equally far when they are set: in the order of setting is in the order of time.
        self._due: dict[Waiting, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings = 0.0
        self._is_grace = False

    def __len__(self) -> int:
        """How many are set."""
        return len(self._due)

    def set(self, who: Waiting) -> None:
        """Call ``who`` in ``seconds`` from now, and not at the time set before."""
        self._due.pop(who, None)
        if self._loop is None:  # kept: to ask for it is a system call each time (Python 3.11)
            self._loop = asyncio.get_running_loop()
        when = self._due[who] = self._loop.time() + self.seconds
        if self._timer is None:
            self._ring_at(when)

    def unset(self, who: Waiting) -> None:
        """Do not call ``who``."""
        self._due.pop(who, None)

    async def within(self, work: Awaitable[T], late: Callable[[], Exception] = TimeoutError) -> T:
        """The result of ``work``, if it comes in time; else it is cancelled, as by ``asyncio.timeout``.

        Raises:
            Exception: what ``late`` makes: it did not.
        """
        patience = _Patience(self._loop)
        self.set(patience)
        try:
            return await work
        except BaseException as exc:
            if patience.is_over() and isinstance(exc, asyncio.CancelledError):
                raise late() from None
            raise
        finally:
            self.unset(patience)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        self._timer = None
        # Once: a loop that is always late would else have no deadlines.
        if self._due and now - self._rings > LATE_SECONDS and not self._is_grace:
            self._is_grace = True
            self._ring_at(now + min(self.seconds, GRACE_SECONDS))
            return
        self._is_grace = False
        while self._due:
            who, when = next(iter(self._due.items()))
            if when > now:
                self._ring_at(when)
                return
            del self._due[who]
            who.overdue()

    def _ring_at(self, when: float) -> None:
        self._rings = when
        self._timer = asyncio.get_running_loop().call_at(when, self._look)


class _Patience:
    """Cancels the task that made it once it has waited for too long."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        task = asyncio.current_task(loop)
        assert task is not None
        self._task = task
        self._cancelled_before = task.cancelling()
        self._ran_out = False

    def overdue(self) -> None:
        """See Waiting."""
        self._ran_out = True
        self._task.cancel()

    def is_over(self) -> bool:
        """Whether this was the reason for a cancellation, and nobody else wanted one. Ask once."""
        return self._ran_out and self._task.uncancel() <= self._cancelled_before

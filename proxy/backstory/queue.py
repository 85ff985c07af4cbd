"""One exchange at a time in each conversation: first come, first served, and not for ever."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial

from backstory.errors import BackstoryError


class ConversationQueue:
    """Serialises the exchanges of a conversation within this process."""

    def __init__(self, *, depth: int, wait_seconds: float) -> None:
        """``depth``: how many may wait; ``wait_seconds``: how long each."""
        self._depth = depth
        self._wait_seconds = wait_seconds
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        """How many conversations are busy."""
        return len(self._waiting)

    def enter_at_once(self, key: Hashable) -> Callable[[], None] | None:
        """As ``enter``, if nobody else is in the conversation."""
        if key in self._waiting:
            return None
        self._waiting[key] = deque()
        return partial(self._leave, key)

    async def enter(self, key: Hashable) -> Callable[[], None]:
        """Wait for the turn of this exchange; call the result when it is over.

        Raises:
            BackstoryError: 409 ``conversation_busy``; nothing was run.
        """
        if leave := self.enter_at_once(key):
            return leave
        waiting = self._waiting[key]
        if len(waiting) >= self._depth:
            raise _busy(f"{self._depth} requests are waiting for this conversation already")
        place = asyncio.get_running_loop().create_future()
        waiting.append(place)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await place
        except BaseException as exc:
            if place.done() and not place.cancelled():
                self._leave(key)  # it was called in the same moment: the next one's turn
            elif place in waiting:
                waiting.remove(place)
            if isinstance(exc, TimeoutError):
                seconds = f"{self._wait_seconds:g} s"
                raise _busy(f"another request held this conversation for {seconds}") from None
            raise
        return partial(self._leave, key)

    def _leave(self, key: Hashable) -> None:
        waiting = self._waiting[key]
        while waiting:
            place = waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        del self._waiting[key]


def _busy(reason: str) -> BackstoryError:
    return BackstoryError(
        409,
        "conversation_busy",
        f"{reason}; nothing was run, try again in a moment",
        headers=(("Retry-After", "1"),),
    )

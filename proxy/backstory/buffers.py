"""How much memory bodies take at once, in all of this process: an account that is exact.

A share of it is charged for every byte of a request that memory reads, of the history in front of it,
and of the copy of an answer, until its exchange is over. What passes through is never held, so it
is never charged. A large body waits, unread, until there is room, and is refused if there is none in
time; a large answer goes on without its copy. Small ones are charged and never refused: however
many large ones are under way, people can talk.
"""

import asyncio
from collections import deque

from backstory.errors import BackstoryError

COST = 6
"""Bytes of memory for each byte of a body, with all that is made of it until it is stored (measured)."""
SMALL_BYTES = 65536
"""A body, and a copy of an answer, up to here are never refused."""


class NoRoom(BackstoryError):
    """Other bodies took all the room for as long as one may wait. Nothing was run."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: how long it waited."""
        super().__init__(
            503,
            "memory_unavailable",
            f"the bodies of other requests left no room for this one for {seconds:g} s"
            " (max_buffered_bytes); nothing was run, try again in a moment",
            headers=(("Retry-After", "2"),),
        )


class Buffers:
    """The account. Used from one event loop."""

    def __init__(
        self,
        limit_bytes: int,
        *,
        wait_seconds: float,
        balance: "list[int] | memoryview[int] | None" = None,
    ) -> None:
        """An empty account.

        Args:
            limit_bytes: of memory.
            wait_seconds: how long a large body waits for room.
            balance: where its one number is kept, if others are to see it.
        """
        self.balance = [0] if balance is None else balance
        """Bytes of memory, one number: the sum of all shares."""
        self._limit = limit_bytes
        self._wait_seconds = wait_seconds
        self._waiting: deque[tuple[Share, int, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        """Bytes of memory: the sum of all shares."""
        return self.balance[0]

    @property
    def waiting(self) -> int:
        """How many bodies wait for room."""
        return len(self._waiting)

    def share(self) -> "Share":
        """A share of one exchange, empty yet."""
        return Share(self)

    def has_room(self, cost: int) -> bool:
        """Whether so much more memory may be taken."""
        return self.balance[0] + cost <= self._limit

    async def wait(self, share: "Share", cost: int) -> None:
        """See ``Share.wait``. First come, first served."""
        place = asyncio.get_running_loop().create_future()
        entry = (share, cost, place)
        self._waiting.append(entry)
        self.call()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await place
        except TimeoutError:
            if not place.done() or place.cancelled():
                raise NoRoom(self._wait_seconds) from None
        finally:  # whoever was called has been charged, and gives it back with all else
            if entry in self._waiting:
                self._waiting.remove(entry)
                self.call()

    def call(self) -> None:
        """Charge those who wait for whom there is room now, and let them go on."""
        while self._waiting and self.has_room(self._waiting[0][1]):
            share, cost, place = self._waiting.popleft()
            if not place.done():
                share.charge(cost)
                place.set_result(None)


class Share:
    """What one exchange has taken."""

    __slots__ = ("_buffers", "taken")

    def __init__(self, buffers: Buffers) -> None:
        """``buffers``: the account that it is a share of."""
        self._buffers = buffers
        self.taken = 0
        """Bytes of memory."""

    def take(self, size: int) -> bool:
        """Charge for so many bytes of a body; ``False``: there is no room, ``wait`` for it."""
        cost = COST * size
        buffers = self._buffers
        if self.taken + cost > COST * SMALL_BYTES and (
            buffers.waiting or not buffers.has_room(cost)
        ):
            return False
        self.taken += cost
        buffers.balance[0] += cost
        return True

    def grow(self, size: int, more: int) -> bool:
        """Charge for ``more`` bytes of a copy that has ``size`` then, before those who wait.

        ``False``: there is no room.
        """
        if size > SMALL_BYTES and not self._buffers.has_room(COST * more):
            return False
        self.charge(COST * more)
        return True

    async def wait(self, size: int) -> None:
        """Charge for so many bytes of a body as soon as there is room.

        Raises:
            NoRoom: there was none in time.
        """
        await self._buffers.wait(self, COST * size)

    def give_back(self, size: int) -> None:
        """So many bytes of it are not kept any more."""
        self.charge(-COST * size)
        self._buffers.call()

    def release(self) -> None:
        """Give back everything: the exchange is over."""
        buffers, self.taken, taken = self._buffers, 0, self.taken
        buffers.balance[0] -= taken
        if buffers.waiting:
            buffers.call()

    def charge(self, cost: int) -> None:
        """Take memory, whether there is room or not; less than zero gives it back."""
        self.taken += cost
        self._buffers.balance[0] += cost

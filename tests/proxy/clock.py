"""A loop whose time passes when a test says so."""

import asyncio
from collections.abc import Coroutine


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time moves when it is told to; timers that are due run at once."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead

    async def pass_by(self, seconds: float) -> None:
        """Nothing happens for that long, but what is due, in steps of a second."""
        for _ in range(int(seconds)):
            self.ahead += 1.0
            reached = self.create_future()
            self.call_soon(self.call_soon, reached.set_result, None)  # behind what is due
            await reached


def on_a_clock(play: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=Clock) as runner:
        runner.run(play)


def ticking() -> Clock:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Clock)
    return loop

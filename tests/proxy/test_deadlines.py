"""Many deadlines, one timer: each is called once, in time, and only if nobody has moved it."""

import asyncio

import pytest
from tests.proxy.clock import Clock, on_a_clock, ticking

from backstory.deadlines import Deadlines


class Waiter:
    """Notes when it was called."""

    def __init__(self) -> None:
        self.called: list[float] = []
        self.once = asyncio.Event()

    def overdue(self) -> None:
        """See Waiting."""
        self.called.append(asyncio.get_running_loop().time())
        self.once.set()


async def test_who_waits_too_long_is_called_once_and_in_time() -> None:
    deadlines, waiter = Deadlines(0.05), Waiter()
    began = asyncio.get_running_loop().time()
    deadlines.set(waiter)
    await asyncio.wait_for(waiter.once.wait(), 2)
    after = Waiter()
    deadlines.set(after)
    await asyncio.wait_for(after.once.wait(), 2)
    (at,) = waiter.called
    assert 0.04 < at - began < 1
    assert len(deadlines) == 0


async def test_a_deadline_that_is_moved_counts_from_then() -> None:
    deadlines, moved, kept = Deadlines(0.05), Waiter(), Waiter()
    deadlines.set(moved)
    deadlines.set(kept)
    deadlines.set(moved)
    await asyncio.wait_for(moved.once.wait(), 2)
    assert kept.called <= moved.called
    assert (len(kept.called), len(moved.called)) == (1, 1)


async def test_who_has_stopped_waiting_is_not_called() -> None:
    deadlines, unset, last = Deadlines(0.02), Waiter(), Waiter()
    deadlines.set(unset)
    deadlines.set(last)
    deadlines.unset(unset)
    deadlines.unset(unset)
    await asyncio.wait_for(last.once.wait(), 2)
    assert unset.called == []


async def test_one_that_sets_another_when_it_is_called() -> None:
    deadlines, second = Deadlines(0.02), Waiter()

    class First:
        def overdue(self) -> None:
            deadlines.set(second)

    deadlines.set(First())
    await asyncio.wait_for(second.once.wait(), 2)
    assert len(second.called) == 1


@pytest.mark.parametrize("stood_still_before", [False, True])
def test_what_came_while_the_loop_stood_still_came_in_time(*, stood_still_before: bool) -> None:
    async def play() -> None:
        clock, deadlines, waiter, other = ticking(), Deadlines(5), Waiter(), Waiter()
        if stood_still_before:  # when nobody waited
            deadlines.set(other)
            deadlines.unset(other)
            await stand_still(clock)
        came = clock.create_future()

        async def wait() -> None:
            deadlines.set(waiter)
            await came
            deadlines.unset(waiter)

        async with asyncio.TaskGroup() as group:
            _ = group.create_task(wait())
            deadlines.set(other)
            await asyncio.sleep(0)
            clock.call_soon(came.set_result, None)
            await stand_still(clock)
        assert waiter.called == []
        await clock.pass_by(2)
        assert len(other.called) == 1, "who got nothing is told a little later"

    on_a_clock(play())


def test_a_loop_that_is_always_late_has_deadlines_all_the_same() -> None:
    async def play() -> None:
        clock, deadlines, waiter = ticking(), Deadlines(5), Waiter()
        deadlines.set(waiter)
        for _ in range(3):
            await stand_still(clock)
        assert len(waiter.called) == 1

    on_a_clock(play())


async def stand_still(clock: Clock) -> None:
    """As a process that is stopped does, or one whose machine is moved: first come the timers, then the rest."""
    clock.ahead += 6.5
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_thousand_deadlines_have_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    real = loop.call_at

    def call_at(when: float, *args: object) -> asyncio.TimerHandle:
        timers.append(when)
        return real(when, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", call_at)
    deadlines = Deadlines(60)
    for _ in range(1000):
        waiter = Waiter()
        deadlines.set(waiter)
        deadlines.unset(waiter)
    assert (len(deadlines), len(timers)) == (0, 1)

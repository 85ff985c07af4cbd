"""A timer that is moved often and rings once."""

import asyncio

from backstory.upstream.alarm import Alarm


async def test_it_rings_at_the_time_set_last() -> None:
    loop = asyncio.get_running_loop()
    rung = asyncio.Event()
    alarm = Alarm(rung.set)
    begin = loop.time()
    for seconds in (0.01, 60.0, 0.05):
        alarm.set(seconds)
    await asyncio.wait_for(rung.wait(), 2)
    assert 0.04 < loop.time() - begin < 1


async def test_it_does_not_ring_when_unset_or_cancelled() -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    rung: list[str] = []
    unset = Alarm(lambda: rung.append("unset"))
    cancelled = Alarm(lambda: rung.append("cancelled"))
    again = Alarm(lambda: rung.append("again"))
    for alarm in (unset, cancelled, again):
        alarm.set(0.01)
    unset.unset()
    cancelled.cancel()
    again.unset()
    again.set(0.02)
    loop.call_later(0.06, over.set)
    await over.wait()
    assert rung == ["again"]

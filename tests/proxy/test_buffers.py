"""The account is exact: never over its limit for large bodies, first come first served, zero at the end."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.buffers import COST, SMALL_BYTES, Buffers, NoRoom, Share

LARGE = SMALL_BYTES + 1
LIMIT = 10 * COST * LARGE


def account(large: float = 10, *, wait_seconds: float = 30) -> Buffers:
    """With room for so many large bodies."""
    return Buffers(int(large * COST * LARGE), wait_seconds=wait_seconds)


async def turn_of_the_loop() -> None:
    """Everything that was ready has run, and what it made ready too."""
    for _ in range(5):
        await asyncio.sleep(0)


async def read(buffers: Buffers, size: int = LARGE) -> Share:
    """What reading a body does."""
    share = buffers.share()
    if not share.take(size):
        await share.wait(size)
    return share


async def test_a_body_is_charged_until_it_is_over() -> None:
    buffers = account()
    share = await read(buffers)
    assert buffers.taken == share.taken == COST * LARGE
    share.give_back(100)
    assert buffers.taken == COST * (LARGE - 100)
    share.release()
    share.release()
    assert buffers.taken == share.taken == 0


async def test_small_ones_are_charged_and_never_refused() -> None:
    buffers = account(1)
    large = await read(buffers)
    shares = [await read(buffers, SMALL_BYTES) for _ in range(50)]
    assert buffers.taken == COST * (LARGE + 50 * SMALL_BYTES)
    assert not buffers.share().take(LARGE)
    assert not shares[0].take(1), "small ones together are large"
    for share in (large, *shares):
        share.release()
    assert buffers.taken == 0


async def test_a_large_one_waits_until_there_is_room() -> None:
    buffers = account(2.5)
    first, second = await read(buffers), await read(buffers)
    async with asyncio.TaskGroup() as group:
        third = group.create_task(read(buffers))
        await turn_of_the_loop()
        assert (third.done(), buffers.waiting) == (False, 1)
        first.release()
        assert buffers.taken == 2 * COST * LARGE, "it is charged before anybody else can be"
    second.release()
    (await third).release()
    assert (buffers.taken, buffers.waiting) == (0, 0)


async def test_who_came_first_is_read_first() -> None:
    buffers, served = account(1.5), list[int]()

    async def body(number: int) -> None:
        share = await read(buffers)
        served.append(number)
        await turn_of_the_loop()
        share.release()

    await asyncio.gather(*(body(number) for number in range(9)))
    assert served == list(range(9))
    assert buffers.taken == 0


async def test_nobody_overtakes_a_larger_one_that_waits_but_small_ones_and_copies() -> None:
    buffers = account(3)
    first = await read(buffers, 2 * LARGE)
    async with asyncio.TaskGroup() as group:
        larger = group.create_task(read(buffers, 2 * LARGE))
        await turn_of_the_loop()
        assert not buffers.share().take(LARGE), "there would be room, but somebody waits for it"
        small, copy = buffers.share(), buffers.share()
        assert small.take(100)
        assert copy.grow(LARGE // 2, LARGE // 2)
        for share in (small, copy, first):
            share.release()
    (await larger).release()
    assert buffers.taken == 0


async def test_a_copy_grows_only_where_there_is_room() -> None:
    buffers = account(1)
    body, copy = await read(buffers, LARGE - 100), buffers.share()
    assert copy.grow(SMALL_BYTES, SMALL_BYTES), "a small one always"
    assert not copy.grow(SMALL_BYTES + 1, 1)
    body.release()
    assert copy.grow(SMALL_BYTES + 1, 1)
    assert buffers.taken == COST * LARGE


async def test_who_waits_too_long_is_refused_and_is_gone() -> None:
    buffers = account(1.5, wait_seconds=0.01)
    first = await read(buffers)
    with pytest.raises(NoRoom) as refused:
        await read(buffers)
    assert (refused.value.status, refused.value.code) == (503, "memory_unavailable")
    assert dict(refused.value.headers) == {"Retry-After": "2"}
    assert "max_buffered_bytes" in refused.value.message
    assert (buffers.waiting, buffers.taken) == (0, COST * LARGE)
    first.release()


async def test_when_a_larger_one_gives_up_who_waits_behind_it_is_served() -> None:
    buffers = account(3)
    first = await read(buffers, 2 * LARGE)
    async with asyncio.TaskGroup() as group:
        larger = group.create_task(read(buffers, 3 * LARGE))
        await turn_of_the_loop()
        behind = group.create_task(read(buffers))
        await turn_of_the_loop()
        assert not behind.done()
        larger.cancel()
        (await behind).release()
    first.release()
    assert (buffers.taken, buffers.waiting) == (0, 0)


async def test_who_leaves_in_the_moment_of_being_called_gives_it_back() -> None:
    buffers = account(1.5)
    first, share = await read(buffers), buffers.share()

    async def wait() -> None:
        try:
            await share.wait(LARGE)
        finally:
            share.release()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await turn_of_the_loop()
        first.release()
        task.cancel()
    assert (buffers.taken, buffers.waiting) == (0, 0)


@given(st.integers(0, 2**32), st.integers(1, 30), st.sampled_from([0.0, 0.001, 30.0]))
def test_whatever_happens_the_account_is_exact(seed: int, count: int, wait_seconds: float) -> None:
    """Bodies of every size, copies, refusals, and departures at every moment."""
    drawn = random.Random(seed)

    async def exchange(buffers: Buffers, shares: set[Share]) -> None:
        share = buffers.share()
        shares.add(share)
        try:
            for _ in range(drawn.randrange(4)):
                size = drawn.choice([0, 1, SMALL_BYTES, LARGE, drawn.randrange(4 * LARGE)])
                if not share.take(size):
                    await share.wait(size)
                if share.taken > COST * SMALL_BYTES:
                    smalls = sum(min(s.taken, COST * SMALL_BYTES) for s in shares)
                    assert buffers.taken <= LIMIT + smalls
                if drawn.random() < 0.3:
                    share.give_back(drawn.randrange(size + 1))
                for _ in range(drawn.randrange(4)):
                    await asyncio.sleep(0)
            size = 0
            while drawn.random() < 0.7:
                more = drawn.randrange(LARGE)
                size += more
                if not share.grow(size, more):
                    break
                await asyncio.sleep(0)
        except NoRoom:
            pass
        finally:
            share.release()
            shares.remove(share)

    async def everything() -> None:
        buffers, shares = Buffers(LIMIT, wait_seconds=wait_seconds), set[Share]()
        tasks = [asyncio.Task(exchange(buffers, shares)) for _ in range(count)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            if drawn.random() < 0.1:
                drawn.choice(tasks).cancel()
            assert buffers.taken == sum(share.taken for share in shares)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ended} <= {type(None), asyncio.CancelledError}
        assert (buffers.taken, buffers.waiting) == (0, 0)

    asyncio.run(everything())

"""One exchange at a time: in order, not too many, not for ever, and nothing stays behind."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.errors import BackstoryError
from backstory.queue import ConversationQueue

Leave = Callable[[], None]


def queue_of(depth: int = 8, wait_seconds: float = 30) -> ConversationQueue:
    return ConversationQueue(depth=depth, wait_seconds=wait_seconds)


async def waiting(
    queue: ConversationQueue, count: int, group: asyncio.TaskGroup
) -> list[asyncio.Task[Leave]]:
    """``count`` exchanges that have taken their place in the queue for ``c``."""
    tasks = [group.create_task(queue.enter("c")) for _ in range(count)]
    await turn_of_the_loop()
    assert not any(task.done() for task in tasks)
    return tasks


async def turn_of_the_loop() -> None:
    """Everything that was ready has run, and what it made ready too."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_does_not_wait() -> None:
    queue = queue_of(depth=0)
    leave = await queue.enter("c")
    assert len(queue) == 1
    leave()
    assert len(queue) == 0


async def test_conversations_do_not_wait_for_each_other() -> None:
    queue = queue_of(depth=0)
    leaves = [await queue.enter(("acme", name)) for name in "abc"]
    assert len(queue) == 3
    for leave in leaves:
        leave()
    assert len(queue) == 0


async def test_who_came_first_is_served_first() -> None:
    queue, served = queue_of(), list[int]()
    running = 0

    async def exchange(number: int) -> None:
        nonlocal running
        leave = await queue.enter("c")
        running += 1
        assert running == 1
        served.append(number)
        await turn_of_the_loop()
        running -= 1
        leave()

    await asyncio.gather(*(exchange(number) for number in range(9)))
    assert served == list(range(9))
    assert len(queue) == 0


async def test_nobody_overtakes_who_was_called_but_has_not_run_yet() -> None:
    queue = queue_of()
    leave = await queue.enter("c")
    async with asyncio.TaskGroup() as group:
        (second,) = await waiting(queue, 1, group)
        leave()
        third = group.create_task(queue.enter("c"))
        (await second)()
        (await third)()
    assert len(queue) == 0


async def test_only_so_many_may_wait() -> None:
    queue = queue_of(depth=2)
    leave = await queue.enter("c")
    async with asyncio.TaskGroup() as group:
        tasks = await waiting(queue, 2, group)
        with pytest.raises(BackstoryError, match="2 requests are waiting") as refused:
            await queue.enter("c")
        assert is_busy(refused.value)
        leave()
        for task in tasks:
            (await task)()
    assert len(queue) == 0
    (await queue.enter("c"))()


def is_busy(error: BackstoryError) -> bool:
    assert "nothing was run" in error.message
    return (error.status, error.code, error.headers) == (
        409,
        "conversation_busy",
        (("Retry-After", "1"),),
    )


async def test_nobody_waits_for_ever_and_the_place_is_free_again() -> None:
    queue = queue_of(depth=1, wait_seconds=0.01)
    leave = await queue.enter("c")
    for _ in range(3):
        with pytest.raises(BackstoryError, match=r"held this conversation for 0\.01 s") as refused:
            await queue.enter("c")
        assert is_busy(refused.value)
    leave()
    assert len(queue) == 0


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_who_leaves_the_queue_is_not_waited_for(gone: int) -> None:
    queue = queue_of(depth=3)
    leave = await queue.enter("c")
    async with asyncio.TaskGroup() as group:
        tasks = await waiting(queue, 3, group)
        tasks.pop(gone).cancel()
        await turn_of_the_loop()
        await waiting(queue, 1, group)  # the place is free
        leave()
        for task in tasks:
            (await task)()
        await turn_of_the_loop()
        assert len(queue) == 1, "the one that took the free place"
    assert len(queue) == 1


@pytest.mark.parametrize("first", ["called", "cancelled"])
async def test_who_is_called_and_cancelled_at_once_hands_the_turn_on(first: str) -> None:
    queue = queue_of()
    leave = await queue.enter("c")
    async with asyncio.TaskGroup() as group:
        second, third = await waiting(queue, 2, group)
        steps: list[Callable[[], object]] = [leave, second.cancel]
        for step in steps if first == "called" else reversed(steps):
            step()
        (await third)()
    assert second.cancelled()
    assert len(queue) == 0


async def test_the_last_who_is_called_and_cancelled_at_once_frees_the_conversation() -> None:
    queue = queue_of()
    leave = await queue.enter("c")
    async with asyncio.TaskGroup() as group:
        (second,) = await waiting(queue, 1, group)
        leave()
        second.cancel()
    assert len(queue) == 0
    (await queue.enter("c"))()


async def test_a_cancelled_one_does_not_disturb_who_came_after_the_queue_was_empty() -> None:
    queue = queue_of()
    leave = await queue.enter("c")
    async with asyncio.TaskGroup() as group:
        (second,) = await waiting(queue, 1, group)
        second.cancel()
        leave()  # nobody is left: the conversation is free before the cancelled one has run
        leave = await queue.enter("c")
        await turn_of_the_loop()
        assert len(queue) == 1
        (third,) = await waiting(queue, 1, group)
        leave()
        (await third)()
    assert len(queue) == 0


async def test_everybody_may_be_cancelled() -> None:
    queue = queue_of()
    leave = await queue.enter("c")
    async with asyncio.TaskGroup() as group:
        for task in await waiting(queue, 5, group):
            task.cancel()
    assert len(queue) == 1
    leave()
    assert len(queue) == 0


@given(st.lists(st.sampled_from(["enter", "leave", "cancel", "tick"]), max_size=40), st.data())
def test_whatever_happens_one_runs_and_nothing_stays(steps: list[str], data: st.DataObject) -> None:
    async def story() -> None:
        queue, running, served = queue_of(depth=4), list[int](), list[int]()
        ends: dict[int, asyncio.Event] = {}

        async def exchange(number: int) -> None:
            async with AsyncExitStack() as stack:
                try:
                    stack.callback(await queue.enter("c"))
                except BackstoryError:
                    return
                assert not running
                running.append(number)
                served.append(number)
                stack.callback(running.remove, number)
                await ends[number].wait()

        tasks: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as group:
            for step in steps:
                if step == "enter":
                    ends[len(tasks)] = asyncio.Event()
                    tasks.append(group.create_task(exchange(len(tasks))))
                elif step == "leave" and running:
                    ends[running[0]].set()
                elif step == "cancel" and tasks:
                    data.draw(st.sampled_from(tasks)).cancel()
                elif step == "tick":
                    await turn_of_the_loop()
            for end in ends.values():
                end.set()
        assert served == sorted(served)
        assert len(queue) == 0

    asyncio.run(story())

"""Tasks that outlive their request: held while they run, logged when they fail, ended in time."""

import asyncio
import gc
import logging

import pytest

from backstory.tasks import Tasks


async def test_a_task_has_a_name_and_a_result() -> None:
    tasks = Tasks()

    async def work() -> str:
        return "done"

    task = tasks.spawn(work(), name="finish")
    assert (task.get_name(), len(tasks)) == ("finish", 1)
    assert await task == "done"
    await asyncio.wait([task])
    assert len(tasks) == 0


async def test_a_task_that_nobody_else_holds_is_held_here() -> None:
    tasks, ended = Tasks(), asyncio.Event()
    door: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def work() -> None:
        # Only the future holds the task, and only the task the future: a cycle to be collected.
        waits = asyncio.get_running_loop().create_future()
        door.put_nowait(waits)
        await waits
        ended.set()

    _ = tasks.spawn(work(), name="waits")
    opener = await door.get()
    gc.collect()
    assert len(tasks) == 1
    opener.set_result(None)
    async with asyncio.timeout(5):
        await ended.wait()


@pytest.mark.allow_blocking  # pytest's own log handler writes to the null device
async def test_an_error_is_logged_by_its_type_and_never_by_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = Tasks()

    async def fails() -> None:
        raise ValueError("the prompt was: secret")

    with caplog.at_level(logging.DEBUG):
        task = tasks.spawn(fails(), name="finish")
        await tasks.settle(5)
        assert task.done()
        del task
        gc.collect()  # an error that was never retrieved is logged whole when its task is collected
    assert "finish ended with ValueError" in caplog.text
    assert "secret" not in caplog.text


async def test_settling_waits_for_what_ends_in_time() -> None:
    tasks, begun, go = Tasks(), asyncio.Event(), asyncio.Event()

    async def work() -> str:
        begun.set()
        await go.wait()
        return "done"

    task = tasks.spawn(work(), name="finish")
    await begun.wait()
    asyncio.get_running_loop().call_soon(go.set)
    await tasks.settle(5)
    assert task.done()
    assert task.result() == "done"
    assert len(tasks) == 0


async def test_settling_cancels_what_does_not(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()
    with caplog.at_level(logging.DEBUG, logger="backstory"):
        task = tasks.spawn(asyncio.Event().wait(), name="hangs")
        await tasks.settle(0.01)
        await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert len(tasks) == 0
    assert not caplog.records


async def test_with_nothing_under_way_there_is_nothing_to_settle() -> None:
    await Tasks().settle(0)

"""What is kept at hand: no more than the bound, the oldest forgotten first, and nothing for long."""

import asyncio
import gc
import weakref
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.proxy.clock import on_a_clock, ticking

from backstory import warm
from backstory.warm import SILENCE_SECONDS, Warm


class Value:
    """Something of which can be said whether it is still alive."""


async def test_what_was_put_is_at_hand_until_it_is_replaced_or_dropped() -> None:
    kept = Warm[str, str](10)
    assert kept.get("a") is None
    kept.put("a", "one", 3)
    kept.put("b", "two", 3)
    assert (kept.get("a"), kept.get("b"), len(kept)) == ("one", "two", 2)
    kept.put("a", "three", 3)
    assert (kept.get("a"), len(kept)) == ("three", 2)
    kept.drop("a")
    kept.drop("never there")
    assert (kept.get("a"), kept.get("b"), len(kept)) == (None, "two", 1)
    kept.clear()
    assert (kept.get("b"), len(kept)) == (None, 0)


async def test_the_first_to_go_is_the_one_that_was_put_longest_ago() -> None:
    kept = Warm[str, int](3)
    for key in "abc":
        kept.put(key, 0, 1)
    kept.put("a", 1, 1)
    kept.put("d", 0, 1)
    assert [kept.get(key) for key in "abcd"] == [1, None, 0, 0]
    kept.clear()


async def test_what_alone_is_over_the_bound_is_not_kept_and_pushes_nothing_out() -> None:
    kept = Warm[str, int](3)
    kept.put("a", 1, 1)
    kept.put("b", 1, 2)
    kept.put("b", 2, 4)
    assert (kept.get("a"), kept.get("b")) == (1, None), "and the old one is not true any more"
    kept.put("c", 1, 2)
    assert (kept.get("a"), kept.get("c")) == (1, 1), "its weight went with it"
    kept.clear()


STEPS = st.lists(
    st.tuples(st.sampled_from("pdc"), st.sampled_from("abcdef"), st.integers(0, 7)), max_size=60
)


@given(STEPS)
def test_it_is_a_dictionary_that_forgets_the_oldest_while_it_is_too_heavy(
    steps: list[tuple[str, str, int]],
) -> None:
    async def play() -> None:
        kept = Warm[str, int](10)
        expected: OrderedDict[str, int] = OrderedDict()
        for what, key, weight in steps:
            if what == "c":
                kept.clear()
                expected.clear()
                continue
            expected.pop(key, None)
            if what == "d":
                kept.drop(key)
                continue
            kept.put(key, weight, weight)
            expected[key] = weight
            while sum(expected.values()) > 10:
                expected.popitem(last=False)
            assert {k: kept.get(k) for k in "abcdef"} == {k: expected.get(k) for k in "abcdef"}
            assert len(kept) == len(expected)
        kept.clear()

    asyncio.run(play())


def test_within_a_minute_of_silence_it_is_gone() -> None:
    async def play() -> None:
        kept = Warm[str, Value](10)
        quiet, busy = Value(), Value()
        gone, stays = weakref.ref(quiet), weakref.ref(busy)
        kept.put("quiet", quiet, 1)
        kept.put("busy", busy, 1)
        del quiet, busy
        for _ in range(3):
            await ticking().pass_by(19)
            again = kept.get("busy")
            assert again is not None
            kept.put("busy", again, 1)
            del again
        gc.collect()
        assert (kept.get("quiet"), gone()) == (None, None)
        assert stays() is not None, "what was put again a moment ago is not silent"
        await ticking().pass_by(60)
        gc.collect()
        assert (len(kept), stays()) == (0, None)

    on_a_clock(play())


def test_what_is_only_asked_for_is_forgotten_too() -> None:
    """Erased elsewhere, it must go however often somebody still asks for it."""

    async def play() -> None:
        kept = Warm[str, int](10)
        kept.put("a", 1, 1)
        await ticking().pass_by(SILENCE_SECONDS - 5)
        assert kept.get("a") == 1
        for _ in range(25):
            await ticking().pass_by(1)
            kept.get("a")
        assert kept.get("a") is None

    on_a_clock(play())


def test_nothing_ticks_while_nothing_is_kept() -> None:
    """Neither after clearing nor once everything was forgotten; and the next one is swept again."""

    async def play() -> None:
        loop, swept = ticking(), 0
        kept = Warm[str, int](10)
        sweep = kept._sweep

        def counted() -> None:
            nonlocal swept
            swept += 1
            sweep()

        kept._sweep = counted  # type: ignore[method-assign]  # to count
        kept.put("a", 1, 1)
        kept.clear()
        await loop.pass_by(200)
        assert swept == 0
        for _ in range(2):
            kept.put("a", 1, 1)
            before = swept
            await loop.pass_by(200)
            assert 0 < swept - before <= 1 + SILENCE_SECONDS / warm._SWEEP_SECONDS
            assert len(kept) == 0

    on_a_clock(play())


def test_the_silence_and_the_sweep_together_are_less_than_a_minute() -> None:
    """What the module promises of data that was erased in another process."""
    assert SILENCE_SECONDS + warm._SWEEP_SECONDS < 60


@pytest.mark.parametrize("weight", [0, 1])
async def test_a_bound_of_nothing_keeps_nothing_that_weighs(weight: int) -> None:
    kept = Warm[str, int](0)
    kept.put("a", 1, weight)
    assert len(kept) == 1 - weight
    kept.clear()

"""The cut stands still as long as everything fits, and then goes far."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.proxy.test_trim import path_of

from backstory.model import Budget
from backstory_plugins.policies.tokens import Tokens

TURN_TOKENS = 20


def cuts(turns: int, budget: Budget) -> list[int]:
    """The cut after each turn of a conversation that grows."""
    path, found, cut = path_of(*["u1 a1"] * turns), list[int](), 0
    for depth in range(1, turns + 1):
        cut = Tokens().cut(path[:depth], cut, budget)
        found.append(cut)
    return found


def test_tokens_over_the_budget_leave_half_of_it() -> None:
    found = cuts(40, Budget(1000, 10 * TURN_TOKENS))
    assert found[:10] == [0] * 10
    assert found[10:16] == [6] * 5 + [12 - 0] * 0 + [6]
    told = [depth - cut for depth, cut in enumerate(found, 1)]
    assert max(told) == 10
    assert min(told[10:]) == 5
    assert len(set(found)) == 1 + 5, "five epochs in thirty turns"


def test_turns_over_the_bound_leave_nine_tenths_of_it() -> None:
    told = [depth - cut for depth, cut in enumerate(cuts(300, Budget(100, None)), 1)]
    assert (max(told), min(told[100:])) == (100, 90)
    assert len(set(cuts(300, Budget(100, None)))) == 1 + 19


@pytest.mark.parametrize("most", range(10))
def test_few_turns_are_exactly_the_last(most: int) -> None:
    found = cuts(20, Budget(most, None))
    assert found == [max(0, depth - most) for depth in range(1, 21)]


def test_a_turn_that_alone_does_not_fit_is_not_told_and_the_next_one_is() -> None:
    found = cuts(3, Budget(100, TURN_TOKENS - 1))
    assert found == [1, 2, 3]
    assert Tokens().cut(path_of("u1 a1", "u2"), 1, Budget(100, TURN_TOKENS - 1)) == 1


@given(st.lists(st.integers(1, 6), min_size=1, max_size=40), st.integers(0, 9), st.integers(0, 200))
def test_whatever_was_said_it_fits_and_the_cut_never_goes_back(
    sizes: list[int], turns: int, tokens: int
) -> None:
    path = path_of(*(" ".join(["u1"] * size) for size in sizes))
    cut = 0
    for depth in range(1, len(path) + 1):
        before, cut = cut, Tokens().cut(path[:depth], cut, Budget(turns, tokens))
        assert before <= cut <= depth
        assert depth - cut <= turns
        assert 10 * sum(sizes[cut:depth]) <= tokens

"""Exactly the last turns."""

from tests.proxy.test_trim import path_of

from backstory.model import Budget
from backstory_plugins.policies.turns import Turns


def test_the_last_turns_are_told_and_no_others() -> None:
    path = path_of(*["u1 a1"] * 12)
    cuts = [Turns().cut(path[:depth], 0, Budget(5, 1)) for depth in range(1, 13)]
    assert cuts == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]

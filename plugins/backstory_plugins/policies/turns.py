"""The last turns, and no others: exact, and never found in an upstream's prompt cache once full."""

from collections.abc import Sequence

from backstory.model import Budget, Turn
from backstory.spi import Policy


class Turns:
    """See ``spi.Policy``. The budget's tokens do not count."""

    name = "turns"

    def cut(self, path: Sequence[Turn], cut: int, budget: Budget) -> int:
        """See ``spi.Policy``."""
        return max(cut, path[-1].depth - budget.turns)


_: type[Policy] = Turns

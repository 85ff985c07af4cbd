"""As much as fits, and when it does not fit any more, much less at once. The default.

Between two such moments the history only grows at its end, so that what goes upstream begins with
what went upstream before: upstreams find it in their prompt cache, and reasoning that is bound to
what stands before it stays valid (``docs/alignment.md``).
"""

from collections.abc import Sequence

from backstory.model import Budget, Turn
from backstory.spi import Policy

KEPT_TOKENS = 0.5
"""Share of the tokens that is told after something had to go."""
LEFT_OUT_TURNS = 10
"""A tenth of the turns goes at once, where there are too many of them."""


class Tokens:
    """See ``spi.Policy``."""

    name = "tokens"

    def cut(self, path: Sequence[Turn], cut: int, budget: Budget) -> int:
        """See ``spi.Policy``."""
        head, first = path[-1], path[0].depth - 1

        def told_tokens(cut: int) -> int:
            turn = path[cut - first]
            return head.tokens - turn.tokens + sum([m.tokens for m in turn.messages])

        most_turns, most_tokens = budget
        if cut >= head.depth or (
            head.depth - cut <= most_turns
            and (most_tokens is None or told_tokens(cut) <= most_tokens)
        ):
            return cut
        if head.depth - cut > most_turns:
            cut = head.depth - (most_turns - most_turns // LEFT_OUT_TURNS)
        if most_tokens is not None and cut < head.depth and told_tokens(cut) > most_tokens:
            target = most_tokens * KEPT_TOKENS
            while cut < head.depth and told_tokens(cut) > target:
                cut += 1
        return cut


_: type[Policy] = Tokens

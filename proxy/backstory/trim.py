"""How much history fits: the budget of a request, and the cut that keeps to it (``docs/alignment.md``).

The cut is stored with the conversation and stands still for as long as everything behind it fits:
a history whose beginning moves with every turn is never found in an upstream's prompt cache. How far
it moves when something has to go is the policy's to say; here it is only seen to that no result is
told without its call.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from backstory.model import Budget, Prompt, Turn
from backstory.settings import MemorySettings
from backstory.spi import Policy

REQUEST_TOKENS = 3
"""What a request costs beside its messages."""
ESTIMATED, COUNTED = 0.85, 0.95
"""Share of a context that is filled: by our own estimate, or where tokens are counted as the model
does, or the upstream has told its count."""


class Budgets:
    """The budget of each request, from the settings and from what upstreams have counted."""

    def __init__(
        self, settings: MemorySettings, is_counted: Callable[[str], bool] | None = None
    ) -> None:
        """Budgets within the windows of ``settings``.

        Args:
            settings: the windows, and what is reserved.
            is_counted: whether tokens are counted as the model of this name does; ``None``: they
                are estimated for every model.
        """
        self._settings = settings
        self._is_counted = is_counted or (lambda _: False)
        self._least_ratio = 1.0 if is_counted else 0.0
        self._windows = [
            (pattern, int(tokens))
            for pattern, _, tokens in (entry.rpartition("=") for entry in settings.context_windows)
        ]
        self._unlimited = Budget(settings.max_history_turns, None)
        self._ratios: dict[str, float] = {}

    def of(self, prompt: Prompt, current_tokens: int, *, in_loop: bool) -> Budget:
        """What may be told in front of ``prompt``.

        Args:
            prompt: names the model and the longest reply.
            current_tokens: estimate of everything that goes out besides the history.
            in_loop: it continues a tool loop, in which nothing may move.
        """
        settings = self._settings
        most = settings.max_history_tokens or None
        if most is None and not self._windows:
            return self._unlimited
        window = 0 if in_loop else self._window(prompt.model)
        if window:
            reply = prompt.reply_tokens or settings.reserved_reply_tokens
            ratio = self._ratios.get(prompt.model)
            is_known = ratio is not None or self._is_counted(prompt.model)
            usable = window * (COUNTED if is_known else ESTIMATED) - reply
            left = max(0, int(usable / (ratio or 1.0)) - current_tokens)
            most = left if most is None else min(most, left)
        return Budget(settings.max_history_turns, None if in_loop else most)

    def learn(self, model: str, estimate: int, counted: int | None) -> None:
        """The upstream counted so many tokens in a request that we had estimated.

        An exponentially weighted mean over the last few, within bounds: one odd count must not
        empty or burst a window. Less than half of an estimate that is never far below the truth is
        the count of what an upstream's cache or its own cutting had left (Ollama). Nor may messages
        that were stored with an estimate speak against a tokenizer's counts.
        """
        if counted and estimate > 0 and 2 * counted >= estimate:
            seen = max(self._least_ratio, min(2.0, counted / estimate))
            before = self._ratios.pop(model, seen)
            self._ratios[model] = before + 0.3 * (seen - before)
            if len(self._ratios) > 256:  # models are named by clients
                del self._ratios[next(iter(self._ratios))]

    def _window(self, model: str) -> int:
        return next((size for name, size in self._windows if fnmatchcase(model, name)), 0)


def cut_of(path: Sequence[Turn], cut: int, budget: Budget, policy: Policy) -> int:
    """How many of the oldest turns are not told: ``cut``, unless that is too many to tell.

    ``path``: the newest turns that may be told, oldest first.
    """
    if not path:
        return cut
    first = path[0].depth - 1
    before = min(max(cut, first), path[-1].depth)
    after = policy.cut(path, before, budget)
    if after == cut:
        return cut
    begins = (turn.depth - 1 for turn in path[after - first :] if _begins(turn))
    return next(begins, after)


def _begins(turn: Turn) -> bool:
    """Whether a history may begin with ``turn``: it does not answer calls of the turn before."""
    messages = turn.asked or turn.reply
    return not (messages and messages[0].answers)

"""What was used a moment ago, kept at hand: bounded by weight, and forgotten after a short silence.

Nothing depends on it but speed. The silence is short because what is erased, in another process too,
must be gone from here as well within a minute.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SILENCE_SECONDS = 40.0
_SWEEP_SECONDS = 10.0
_SILENT_SWEEPS = int(SILENCE_SECONDS / _SWEEP_SECONDS)
"""That have passed by; the one before which something was put may have come at once."""


class Warm(Generic[K, V]):
    """Values by key, the least recently used forgotten first. Used from one event loop."""

    def __init__(self, most_weight: int) -> None:
        """``most_weight``: of all values together, in whatever unit ``put`` is told."""
        self._most = most_weight
        self._weight = 0
        self._kept: OrderedDict[K, tuple[V, int, int]] = OrderedDict()
        # Sweeps so far: a clock that costs an entry nothing, for all of a time share its number.
        self._sweeps = 0
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """The value, if it is still at hand."""
        kept = self._kept.get(key)
        return None if kept is None else kept[0]

    def put(self, key: K, value: V, weight: int) -> None:
        """Keep ``value`` in the place of what was there; not if it alone is over the bound."""
        before = self._kept.pop(key, None)
        if before is not None:
            self._weight -= before[1]
        if weight > self._most:
            return
        self._kept[key] = value, weight, self._sweeps
        self._weight += weight
        while self._weight > self._most:
            _, (_, lighter, _) = self._kept.popitem(last=False)
            self._weight -= lighter
        if self._sweeper is None:
            self._sweep_later()

    def drop(self, key: K) -> None:
        """Forget it."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._weight -= kept[1]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._weight = 0
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _sweep(self) -> None:
        self._sweeper = None
        self._sweeps += 1
        silent = self._sweeps - _SILENT_SWEEPS
        while self._kept:
            key, (_, _, since) = next(iter(self._kept.items()))
            if since >= silent:
                self._sweep_later()
                return
            self.drop(key)

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

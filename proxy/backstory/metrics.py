"""What all workers together have done, as numbers: what Prometheus is told (``docs/metrics.md``).

Each worker adds to a row of its own in memory that they share, so counting is an addition and a page
is a sum. A row belongs to the worker's place and not to its process: a worker that is started
again goes on where the last one ended. No label says who asked, or what.
"""

import math
import mmap
from collections.abc import Iterable
from typing import NamedTuple, get_args

from backstory.exchange import Exchange
from backstory.model import Verdict
from backstory.receipt import Outcome
from backstory.reuse import reuse

DISCARDED = (
    *[verdict.value for verdict in Verdict if not verdict.kept],
    *("no_answer", "status", "cut", "client_left"),
    *("no_copy", "no_room", "store_unavailable", "erased", "rolled_back", "other"),
)
"""Why turns are not remembered: ``Exchange.outcome``."""
NONE = "none"
"""The dialect of what passes through, and the receipt of what got none."""
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NUMBER_BYTES = 8
_PER_CACHE_LINE = 8
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class _Family(NamedTuple):
    """The numbers of one name: where each stands in a row, by its labels."""

    name: str
    kind: str
    meaning: str
    places: dict[str, int]


class Metrics:
    """The rows of all workers. Made before they are forked."""

    def __init__(self, dialects: Iterable[str], workers: int = 1) -> None:
        """``dialects``: the names of all that may be counted."""
        self._families: list[_Family] = []
        self._width = 0
        self.requests = {
            (dialect, outcome): f'{{dialect="{dialect.translate(_ESCAPED)}",memory="{outcome}"}}'
            for dialect in (*sorted(set(dialects) - {NONE}), NONE)
            for outcome in (*get_args(Outcome), NONE)
        }
        self._add("requests_total", "Requests, by dialect and receipt.", self.requests.values())
        self._add("turns_committed_total", "Turns that were remembered.")
        reasons = [f'{{reason="{reason}"}}' for reason in DISCARDED]
        self._add("turns_discarded_total", "Turns that were not remembered, and why.", reasons)
        self._add("injected_messages_total", "Messages put in front of requests.")
        self._add("injected_tokens_total", "Tokens put in front of requests, an estimate.")
        self._add("prefix_told_bytes_total", "Bytes of history told with the turn before.")
        self._add(
            "prefix_reused_bytes_total", "Those of them with which the next request began, too."
        )
        self._add("trim_epochs_total", "Requests at which the beginning of a history moved.")
        self._add(
            "buffered_bytes", "Memory charged for bodies now, of max_buffered_bytes.", kind="gauge"
        )
        rest = -self._width % _PER_CACHE_LINE  # or two workers would write to one cache line
        self._pitch = self._width + rest
        shared = mmap.mmap(-1, workers * self._pitch * _NUMBER_BYTES)
        self._numbers = memoryview(shared).cast("q")

    def tally(self, worker: int = 0) -> "Tally":
        """What the worker in this place adds to."""
        row = self._numbers[worker * self._pitch : (worker + 1) * self._pitch]
        return Tally(self, row)

    def place(self, name: str, labels: str = "") -> int:
        """Where a number stands in a row."""
        [found] = [family for family in self._families if family.name == f"backstory_{name}"]
        return found.places[labels]

    def value(self, name: str, labels: str = "") -> int:
        """A number of all workers."""
        return sum(self._numbers[self.place(name, labels) :: self._pitch])

    def page(self) -> str:
        """Everything, in Prometheus's text format."""
        lines: list[str] = []
        for family in self._families:
            lines += _head(family.name, family.kind, family.meaning)
            for labels, place in family.places.items():
                lines.append(f"{family.name}{labels} {sum(self._numbers[place :: self._pitch])}")
        told, reused = (
            self.value("prefix_told_bytes_total"),
            self.value("prefix_reused_bytes_total"),
        )
        ratio = reused / told if told else math.nan
        meaning = "Reused bytes of told bytes, since the start."
        lines += _head("backstory_prefix_reuse_ratio", "gauge", meaning)
        lines.append(f"backstory_prefix_reuse_ratio {ratio}".replace("nan", "NaN"))
        return "\n".join([*lines, ""])

    def _add(
        self, name: str, meaning: str, labels: Iterable[str] = ("",), *, kind: str = "counter"
    ) -> None:
        places = {label: self._width + at for at, label in enumerate(labels)}
        self._families.append(_Family(f"backstory_{name}", kind, meaning, places))
        self._width += len(places)


class Tally:
    """What one worker counts. Its row outlives it."""

    def __init__(self, metrics: Metrics, row: "memoryview[int]") -> None:
        """``row``: a part of the shared memory."""
        place = metrics.place
        self._row = row
        self._requests = {
            key: place("requests_total", labels) for key, labels in metrics.requests.items()
        }
        self._unknown = self._requests[NONE, NONE]
        self._turns = {
            f"discarded({reason})": place("turns_discarded_total", f'{{reason="{reason}"}}')
            for reason in DISCARDED
        }
        self._turns["committed"] = place("turns_committed_total")
        self._other = self._turns["discarded(other)"]
        self._messages = place("injected_messages_total")
        self._tokens = place("injected_tokens_total")
        self._told = place("prefix_told_bytes_total")
        self._reused = place("prefix_reused_bytes_total")
        self._epochs = place("trim_epochs_total")
        at = place("buffered_bytes")
        self.buffered = row[at : at + 1]
        """One number: the balance of ``Buffers``."""
        self.buffered[0] = 0  # of a process that is gone

    def count(self, exchange: Exchange) -> None:
        """Add an exchange that is over."""
        row, route, receipt = self._row, exchange.route, exchange.receipt
        key = (route.dialect.name if route else NONE, receipt.outcome if receipt else NONE)
        row[self._requests.get(key, self._unknown)] += 1
        if exchange.outcome != "passed":
            row[self._turns.get(exchange.outcome, self._other)] += 1
        recalled = exchange.told
        if recalled is None or not recalled.history or exchange.asked is None:
            return
        row[self._messages] += len(recalled.history)
        row[self._tokens] += recalled.receipt.tokens or 0
        found = reuse(recalled)
        if found is not None:
            before, same, epoch = found
            row[self._told] += before
            row[self._reused] += same
            if epoch:
                row[self._epochs] += 1


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]

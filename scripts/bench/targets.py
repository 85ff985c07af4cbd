"""What the figures shall be. A target is what was asked for; a goal is what we want beyond it."""

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.bench.rounds import Round
from scripts.bench.spread import Spread, of_figure, of_ratio


@dataclass(frozen=True)
class Target:
    """At most ``limit`` times the peer ``versus``, or at most ``limit`` if there is none."""

    kind: str
    figure: str
    versus: str | None
    limit: float


@dataclass(frozen=True)
class Outcome:
    """A target, what was measured, and whether the median keeps it; None where nothing was."""

    target: Target
    peer: str
    measured: Spread | None

    @property
    def met(self) -> bool | None:
        """Whether the median is within the limit."""
        return None if self.measured is None else self.measured.median <= self.target.limit


TARGETS = (
    Target("target", "cpu_us_per_request", "naive", 2.0),
    Target("target", "cpu_us_per_event_5k", "naive", 1.3),
    Target("target", "cpu_us_per_event_20k", "naive", 1.3),
    Target("target", "rss_kb_per_idle_connection", "naive", 1.5),
    Target("target", "rss_kb_per_stream", "naive", 1.5),
    Target("goal", "cpu_us_per_request", "naive", 0.75),
    Target("goal", "cpu_us_per_request", "nginx", 7.0),
    Target("goal", "cpu_us_per_event_5k", "naive", 0.7),
    Target("goal", "cpu_us_per_event_20k", "naive", 0.7),
    Target("goal", "cpu_us_per_event_5k", "nginx", 1.4),
    Target("goal", "cpu_us_per_event_20k", "nginx", 1.4),
    Target("goal", "added_first_byte_ms", None, 1.2),
    Target("goal", "rss_kb_per_idle_connection", None, 12),
    Target("goal", "rss_kb_per_stream", None, 35),
)


def outcomes(rounds: Sequence[Round], peer: str) -> list[Outcome]:
    """Every target, for one peer."""
    return [Outcome(target, peer, _measured(rounds, peer, target)) for target in TARGETS]


def _measured(rounds: Sequence[Round], peer: str, target: Target) -> Spread | None:
    if target.versus is None:
        return of_figure(rounds, peer, target.figure)
    return of_ratio(rounds, peer, target.versus, target.figure)

"""Several values of one figure: their median and their range."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from scripts.bench.rounds import Round


@dataclass(frozen=True)
class Spread:
    """The middle and the ends."""

    median: float
    low: float
    high: float
    values: tuple[float, ...]


def spread(values: Sequence[float]) -> Spread | None:
    """None if there is no value."""
    if not values:
        return None
    return Spread(median(values), min(values), max(values), tuple(values))


def of_figure(rounds: Sequence[Round], peer: str, figure: str) -> Spread | None:
    """A peer's figure over all rounds."""
    return spread([found[peer][figure] for found in rounds if figure in found.get(peer, {})])


def of_ratio(rounds: Sequence[Round], peer: str, versus: str, figure: str) -> Spread | None:
    """The ratio of two peers *within each round*; a round whose divisor is not positive has none."""
    ratios = []
    for found in rounds:
        over, under = found.get(peer, {}).get(figure), found.get(versus, {}).get(figure)
        if over is not None and under is not None and under > 0:
            ratios.append(over / under)
    return spread(ratios)

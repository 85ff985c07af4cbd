"""Curves as SVG, written by hand: one panel below the other, over the same axis."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT, _LEFT, _GAP, _TOP = 760, 130, 60, 60, 60


class Line(NamedTuple):
    """A panel with one curve."""

    title: str
    values: Sequence[float]
    """At 1, 2, 3 and so on."""


def draw(title: str, axis: str, lines: Sequence[Line]) -> str:
    """The whole picture; ``axis`` says what is counted to the right."""
    height = _TOP + len(lines) * (_HEIGHT + _GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + _LEFT + 20} {height}">',
        "<style>text{font:12px sans-serif}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for number, line in enumerate(lines):
        parts += _panel(line, _TOP + number * (_HEIGHT + _GAP), axis)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(line: Line, top: int, axis: str) -> list[str]:
    most, count = max(*line.values, 1e-9), len(line.values)
    points = " ".join(
        f"{_LEFT + _WIDTH * at / max(1, count - 1):.1f},{top + _HEIGHT * (1 - value / most):.1f}"
        for at, value in enumerate(line.values)
    )
    bottom, right = top + _HEIGHT, _LEFT + _WIDTH
    return [
        f'<text x="{_LEFT}" y="{top - 6}">{escape(line.title)}</text>',
        f'<path d="M{_LEFT} {top}V{bottom}H{right}" fill="none" stroke="#888"/>',
        f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>',
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">{escape(axis)} {count}</text>',
        f'<polyline points="{points}" fill="none" stroke="#0b62a4"/>',
    ]

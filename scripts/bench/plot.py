"""Bars as SVG, written by hand: one panel for each figure, medians with a line for their range."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from scripts.bench.spread import Spread

WIDTH, LEFT, RIGHT = 760, 150, 130
BAR, GAP, TITLE, BETWEEN = 16, 6, 26, 18
COLOURS = ("#2563a8", "#7fb0dc", "#9a9a9a", "#3d8f5b", "#b7791f", "#8a5fa8")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.title{font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}}"
)


@dataclass(frozen=True)
class Panel:
    """A title with its unit, and a bar for each name."""

    title: str
    bars: Sequence[tuple[str, Spread]]

    @property
    def height(self) -> int:
        """In pixels."""
        return TITLE + len(self.bars) * (BAR + GAP) + BETWEEN


def draw(panels: Sequence[Panel]) -> str:
    """The picture, shorter bars being better in all panels but those of rates."""
    panels = [panel for panel in panels if panel.bars]
    names = list(dict.fromkeys(name for panel in panels for name, _ in panel.bars))
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}
    height = sum(panel.height for panel in panels) + BETWEEN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<style>{STYLE}</style>",
    ]
    top = BETWEEN
    for panel in panels:
        lines += _panel(panel, top, colours)
        top += panel.height
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, top: int, colours: dict[str, str]) -> list[str]:
    longest = max(max(found.high, 0) for _, found in panel.bars) or 1
    scale = (WIDTH - LEFT - RIGHT) / longest
    lines = [f'<text class="title" x="8" y="{top + 12}">{escape(panel.title)}</text>']
    for at, (name, found) in enumerate(panel.bars):
        y = top + TITLE + at * (BAR + GAP)
        low, middle, high = (max(v, 0) * scale for v in (found.low, found.median, found.high))
        base, text = y + BAR // 2, y + BAR - 4
        lines += [
            f'<text x="{LEFT - 8}" y="{text}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{middle:.1f}" height="{BAR}" fill="{colours[name]}"/>',
            f'<path d="M{LEFT + low:.1f} {base}H{LEFT + high:.1f}" stroke="#d33" stroke-width="2"/>',
            f'<text x="{LEFT + max(middle, high) + 6:.1f}" y="{text}">{_short(found.median)}</text>',
        ]
    return lines


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

"""The figures of all rounds: as a table to read and as JSON to keep."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.bench.peers import Peer
from scripts.bench.plot import Panel, draw
from scripts.bench.rounds import Round
from scripts.bench.scenarios import Figure, Scenario
from scripts.bench.spread import Spread, of_figure, of_ratio
from scripts.bench.targets import Outcome, outcomes

VERSUS = ("naive", "nginx")
WHAT = (
    "Proxies in front of the same mock upstream, each round one after the other. CPU is user and "
    "system time of all threads of the proxy's process. A ratio compares two peers within a round."
)


@dataclass(frozen=True)
class Report:
    """What was measured."""

    peers: Sequence[Peer]
    scenarios: Sequence[Scenario]
    rounds: Sequence[Round]

    def figures(self) -> list[Figure]:
        """Every figure once, in the order of the scenarios."""
        return list(
            dict.fromkeys(figure for scenario in self.scenarios for figure in scenario.figures)
        )

    def outcomes(self) -> list[Outcome]:
        """Every target for every peer that does the whole job."""
        whole = [peer.name for peer in self.peers if "--remembers" in peer.asks]
        measured = {figure.key for figure in self.figures()}
        return [
            outcome
            for name in whole
            for outcome in outcomes(self.rounds, name)
            if outcome.target.figure in measured
        ]

    def write(self, folder: Path, about: Mapping[str, object]) -> None:
        """``results.json`` and ``results.svg`` in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        written = json.dumps({**about, **self.as_json()}, indent=1, ensure_ascii=False)
        (folder / "results.json").write_text(written + "\n", encoding="utf-8")
        (folder / "results.svg").write_text(self.plot(), encoding="utf-8")

    def plot(self) -> str:
        """One panel for each figure, one bar for each peer."""
        panels = [Panel(f"{f.title} [{f.unit}]", self._bars(f)) for f in self.figures()]
        return draw(panels)

    def _bars(self, figure: Figure) -> list[tuple[str, Spread]]:
        found = [(p.name, of_figure(self.rounds, p.name, figure.key)) for p in self.peers]
        return [(name, spread) for name, spread in found if spread is not None]

    def as_json(self) -> dict[str, object]:
        """Everything, each figure with what it is and its unit."""
        return {
            "what": WHAT,
            "rounds": len(self.rounds),
            "errors": 0,  # one error, and there is no report
            "figures": {figure.key: self._figure(figure) for figure in self.figures()},
            "targets": [
                asdict(outcome.target)
                | {"peer": outcome.peer, "met": outcome.met, "measured": _json(outcome.measured)}
                for outcome in self.outcomes()
            ],
        }

    def _figure(self, figure: Figure) -> dict[str, object]:
        peers: dict[str, object] = {}
        for peer in self.peers:
            found = of_figure(self.rounds, peer.name, figure.key)
            if found is None:
                continue
            ratios = {
                versus: _json(of_ratio(self.rounds, peer.name, versus, figure.key))
                for versus in self._versus(peer)
            }
            peers[peer.name] = {"measured": _json(found), "ratio_within_a_round_to": ratios}
        return {"title": figure.title, "unit": figure.unit, "peers": peers}

    def _versus(self, peer: Peer) -> list[str]:
        names = [other.name for other in self.peers]
        return [versus for versus in VERSUS if versus in names and versus != peer.name]

    def lines(self) -> Iterator[str]:
        """The table, and below it the targets."""
        for figure in self.figures():
            yield f"\n{figure.title} [{figure.unit}]: median (range of {len(self.rounds)} rounds)"
            for peer in self.peers:
                found = of_figure(self.rounds, peer.name, figure.key)
                if found is None:
                    continue
                ratios = "".join(
                    f"  {shown(ratio)} x {versus}"
                    for versus in self._versus(peer)
                    if (ratio := of_ratio(self.rounds, peer.name, versus, figure.key))
                )
                yield f"  {peer.name:<24} {shown(found):<26}{ratios}"
        yield "\nTargets, by the median of the ratios within a round"
        for outcome in self.outcomes():
            target, found = outcome.target, outcome.measured
            limit = f"<= {target.limit:g}" + (f" x {target.versus}" if target.versus else "")
            word = {None: "not measured", True: "met", False: "MISSED"}[outcome.met]
            yield (
                f"  {target.kind:<7}{outcome.peer:<12} {target.figure:<28}{limit:<16}"
                f"{shown(found) if found else '-':<24}{word}"
            )


def shown(found: Spread) -> str:
    """``1.23 (1.10-1.40)``."""
    return f"{_short(found.median)} ({_short(found.low)}-{_short(found.high)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _json(found: Spread | None) -> dict[str, object] | None:
    return None if found is None else asdict(found)

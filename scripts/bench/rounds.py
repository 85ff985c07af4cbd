"""Rounds: every peer is measured in each scenario before the next round begins.

So a ratio within a round compares figures that are seconds apart, with the same neighbours on the
machine; where peers take turns, the means of many that are half a second apart. Who comes first
changes from turn to turn and from round to round.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean

from scripts.bench.machine import Cores
from scripts.bench.peers import Peer
from scripts.bench.scenarios import Place, Scenario, Values
from scripts.bench.serving import Server

Round = dict[str, Values]
"""By peer's name: figures by key."""


def measure_round(
    number: int,
    peers: Sequence[Peer],
    scenarios: Sequence[Scenario],
    place: Place,
    folder: Path,
    cores: Cores,
) -> Round:
    """One round, each peer with servers that nobody has used before."""
    found: Round = {peer.name: {} for peer in peers}
    servers: dict[str, Server] = {}
    with ExitStack() as stack:

        def measure(scenario: Scenario, peer: Peer) -> Values:
            if scenario.fresh_server:
                inside = folder / scenario.name.replace(" ", "-")
                with peer.start(place.upstream, inside, cores.proxy) as fresh:
                    return scenario.measure(place, fresh, peer)
            if peer.server not in servers:
                started = peer.start(place.upstream, folder, cores.proxy)
                servers[peer.server] = stack.enter_context(started)
            return scenario.measure(place, servers[peer.server], peer)

        for scenario in scenarios:
            theirs = [it for it in peers if it.with_memory_figures or not scenario.fresh_server]
            seen: dict[str, list[Values]] = {peer.name: [] for peer in theirs}
            for turn in range(scenario.turns(place.size)):
                for peer in _turned(theirs, number + turn):
                    seen[peer.name].append(measure(scenario, peer))
            for name, several in seen.items():
                means = _means(several)
                found[name] |= means
                _say(number, name, means)
    return found


def _turned(peers: Sequence[Peer], by: int) -> list[Peer]:
    return [*peers[by % len(peers) :], *peers[: by % len(peers)]]


def _means(several: Sequence[Values]) -> Values:
    return {key: fmean([values[key] for values in several]) for key in several[0]}


def _say(number: int, name: str, values: Values) -> None:
    shown = ", ".join(f"{key} {value:.1f}" for key, value in values.items())
    print(f"round {number + 1}: {name}: {shown}", file=sys.stderr, flush=True)

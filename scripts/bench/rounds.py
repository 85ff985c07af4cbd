"""Rounds: every peer is measured in each scenario before the next round begins.

So a ratio within a round compares figures that are seconds apart, with the same neighbours on the
machine. Who comes first changes from round to round.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

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
    turned = [*peers[number % len(peers) :], *peers[: number % len(peers)]]
    found: Round = {peer.name: {} for peer in peers}
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for scenario in scenarios:
            for peer in turned:
                if scenario.fresh_server:
                    if peer.with_memory_figures:
                        inside = folder / scenario.name.replace(" ", "-")
                        with peer.start(place.upstream, inside, cores.proxy) as fresh:
                            _measure(number, scenario, place, fresh, peer, found)
                    continue
                if peer.server not in servers:
                    started = peer.start(place.upstream, folder, cores.proxy)
                    servers[peer.server] = stack.enter_context(started)
                _measure(number, scenario, place, servers[peer.server], peer, found)
    return found


def _measure(
    number: int, scenario: Scenario, place: Place, server: Server, peer: Peer, found: Round
) -> None:
    values = scenario.measure(place, server, peer)
    found[peer.name] |= values
    shown = ", ".join(f"{key} {value:.1f}" for key, value in values.items())
    print(f"round {number + 1}: {peer.name}: {shown}", file=sys.stderr, flush=True)

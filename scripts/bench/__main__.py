"""``./scripts/bench/run``: measure Backstory side by side with a naive relay and nginx.

Exit status 0 if everything was measured, whatever came out; 1 if something could not be measured or
an answer was wrong, which makes every figure of the run worthless.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.bench.asking import Client
from scripts.bench.building import BUILD, build
from scripts.bench.failure import Failure
from scripts.bench.instructions import check, count, lines
from scripts.bench.machine import Cores, facts, on, raise_file_limit, revision
from scripts.bench.peers import ROOT, Peer, backstory, naive, nginx
from scripts.bench.profiled import profile
from scripts.bench.report import Report
from scripts.bench.rounds import measure_round
from scripts.bench.scenarios import FULL, QUICK, SCENARIOS, Place, Scenario
from scripts.bench.serving import running


def main(argv: list[str]) -> int:
    """Measure and report; the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    arguments = _parser().parse_args(argv)
    try:
        scenarios = _scenarios(arguments.only)
        if arguments.profile:
            _profile(arguments, scenarios[: None if arguments.only else 1])
        elif arguments.instructions:
            _count(arguments)
        else:
            _measure(arguments, scenarios)
    except Failure as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./scripts/bench/run", description=(__doc__ or "").split("\n\n", 1)[0]
    )
    add = parser.add_argument
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    add("--rounds", type=int, default=5, help="how often everything is measured (default: 5)")
    add("--quick", action="store_true", help="a tiny round without nginx: does it work at all?")
    add("--peers", help="only these, by name, separated by commas")
    add("--only", help=f"only these scenarios, separated by commas: {names}")
    add("--checkout", type=Path, default=ROOT, help="whose Backstory; default: this one's")
    add(
        "--also",
        action="append",
        default=[],
        metavar="NAME=CHECKOUT",
        help="another checkout's Backstory, as a peer 'backstory NAME' in the same rounds",
    )
    add(
        "--profile",
        action="store_true",
        help="no figures: where Backstory's time goes, in the scenarios of --only (default: requests)",
    )
    add(
        "--instructions",
        action="store_true",
        help="no times: how many instructions a request takes, counted by valgrind (minutes)",
    )
    add("--out", type=Path, default=Path("bench-results"), help="the folder for JSON and SVG")
    return parser


def _scenarios(only: str | None) -> list[Scenario]:
    if only is None:
        return list(SCENARIOS)
    wanted = only.split(",")
    unknown = set(wanted) - {scenario.name for scenario in SCENARIOS}
    if unknown:
        raise Failure(f"no such scenario: {', '.join(sorted(unknown))}")
    return [scenario for scenario in SCENARIOS if scenario.name in wanted]


@contextmanager
def _prepared(quick: bool) -> Iterator[tuple[Place, Path, Cores]]:
    """The programs built, the mock listening, and a folder that is on a disk and goes away."""
    raise_file_limit()
    mock, client = build("mock"), Client(build("load"))
    cores = Cores.here()
    with (
        on(cores.others),
        tempfile.TemporaryDirectory(prefix="run-", dir=BUILD) as name,
        running("mock", [str(mock)], Path(name), cores.others) as upstream,
    ):
        yield Place(client, upstream, QUICK if quick else FULL), Path(name), cores


def _profile(arguments: argparse.Namespace, scenarios: list[Scenario]) -> None:
    with _prepared(arguments.quick) as (place, folder, cores):
        for scenario in scenarios:
            print(f"\n{scenario.name}")
            inside = folder / scenario.name.replace(" ", "-")
            found = profile(arguments.checkout.resolve(), scenario, place, inside, cores)
            print("\n".join(found.lines()))


def _count(arguments: argparse.Namespace) -> None:
    check()
    peers, _ = _peers(arguments)
    with _prepared(arguments.quick) as (place, folder, cores):
        counted = []
        for peer, threads in count(peers, place, folder, cores):
            print(f"counted: {peer.name}", file=sys.stderr, flush=True)
            counted.append((peer, threads))
    print("\n".join(lines(counted)))


def _measure(arguments: argparse.Namespace, scenarios: list[Scenario]) -> None:
    peers, skipped = _peers(arguments)
    with _prepared(arguments.quick) as (place, folder, cores):
        machine = facts(folder, arguments.checkout.resolve())
        rounds = [
            measure_round(number, peers, scenarios, place, folder / f"round-{number}", cores)
            for number in range(1 if arguments.quick else arguments.rounds)
        ]
    report = Report(peers, scenarios, rounds)
    about = {"revision": revision(arguments.checkout), "machine": machine, "skipped": skipped}
    report.write(arguments.out, about)
    print("\n".join(report.lines()))
    print(f"\nWritten to {arguments.out}: results.json, results.svg")


def _peers(arguments: argparse.Namespace) -> tuple[list[Peer], dict[str, str]]:
    """Who is measured, and who is not, with the reason."""
    peers: list[Peer] = [*backstory(arguments.checkout.resolve())]
    for also in arguments.also:
        name, _, checkout = also.partition("=")
        peers += backstory(Path(checkout).resolve(), f"backstory {name}")
    peers.append(naive())
    skipped: dict[str, str] = {}
    try:
        if arguments.quick:
            raise Failure("--quick")
        peers.append(nginx())
    except Failure as exc:
        skipped["nginx"] = str(exc)
        print(f"bench: without nginx: {exc}", file=sys.stderr)
    if arguments.peers:
        wanted = arguments.peers.split(",")
        unknown = set(wanted) - {peer.name for peer in peers} - set(skipped)
        if unknown:
            raise Failure(f"no such peer: {', '.join(sorted(unknown))}")
        peers = [peer for peer in peers if peer.name in wanted]
    return peers, skipped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``./scripts/bench/run``: measure Backstory side by side with a naive relay and nginx.

Exit status 0 if everything was measured, whatever came out; 1 if something could not be measured or
an answer was wrong, which makes every figure of the run worthless.
"""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from scripts.bench.asking import Client
from scripts.bench.building import BUILD, build
from scripts.bench.failure import Failure
from scripts.bench.machine import Cores, facts, on, raise_file_limit, revision
from scripts.bench.peers import ROOT, Peer, backstory, naive, nginx
from scripts.bench.report import Report
from scripts.bench.rounds import measure_round
from scripts.bench.scenarios import QUICK, SCENARIOS, Place, Size
from scripts.bench.serving import running


def main(argv: list[str]) -> int:
    """Measure and report; the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        return _measure(_parser().parse_args(argv))
    except Failure as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./scripts/bench/run", description=(__doc__ or "").split("\n\n", 1)[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, help="length of one measurement of requests")
    parser.add_argument("--quick", action="store_true", help="a tiny round: does it work at all?")
    parser.add_argument("--peers", help="only these, by name, separated by commas")
    parser.add_argument("--only", help="only these scenarios, separated by commas")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=CHECKOUT",
        help="another installed checkout of Backstory, measured in the same rounds",
    )
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="folder of results")
    return parser


def _measure(arguments: argparse.Namespace) -> int:
    size = QUICK if arguments.quick else Size()
    if arguments.seconds:
        size = Size(seconds=arguments.seconds)
    rounds = 1 if arguments.quick else arguments.rounds
    peers, skipped = _peers(arguments)
    names = arguments.only.split(",") if arguments.only else [s.name for s in SCENARIOS]
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in names]
    if len(scenarios) != len(names):
        raise Failure(f"the scenarios are {', '.join(s.name for s in SCENARIOS)}")
    raise_file_limit()
    mock, client = build("mock"), Client(build("load"))
    cores = Cores.here()
    found = []
    with (
        on(cores.others),
        tempfile.TemporaryDirectory(prefix="run-", dir=BUILD) as folder,
        running("mock", [str(mock)], Path(folder), cores.others) as upstream,
    ):
        machine = facts(Path(folder))
        place = Place(client, upstream, size)
        for number in range(rounds):
            inside = Path(folder) / f"round-{number}"
            found.append(measure_round(number, peers, scenarios, place, inside, cores))
    report = Report(peers, scenarios, found)
    written = {
        "what": "Backstory side by side with its peers; CPU is of the proxy's process, all threads",
        "revision": revision(ROOT),
        "machine": machine,
        "skipped": skipped,
        "rounds": rounds,
        "errors": 0,  # one error and there is no report
        **report.as_json(),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.json").write_text(
        json.dumps(written, indent=1, ensure_ascii=False) + "\n"
    )
    print("\n".join(report.lines()))
    return 0


def _peers(arguments: argparse.Namespace) -> tuple[list[Peer], dict[str, str]]:
    peers: list[Peer] = [*backstory(), naive()]
    skipped: dict[str, str] = {}
    for also in arguments.also:
        name, _, checkout = also.partition("=")
        peers += backstory(Path(checkout).resolve(), f"backstory {name}")
    try:
        peers.append(nginx())
    except Failure as exc:
        skipped["nginx"] = str(exc)
        print(f"bench: without nginx: {exc}", file=sys.stderr)
    if arguments.quick:
        peers = [peer for peer in peers if peer.name != "nginx"]
    if arguments.peers:
        wanted = arguments.peers.split(",")
        unknown = set(wanted) - {peer.name for peer in peers}
        if unknown:
            raise Failure(f"no such peer: {', '.join(sorted(unknown))}")
        peers = [peer for peer in peers if peer.name in wanted]
    return peers, skipped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

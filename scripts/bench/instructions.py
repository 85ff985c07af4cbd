"""``./scripts/bench/run --instructions``: how many instructions of its own a peer takes for a request.

valgrind's callgrind counts them. That is many times slower, and repeats within one or two percent whoever
else is on the machine. What the kernel does is not counted, and one that waits for memory counts as much as
one that does not: the ratios are lower than those of CPU time.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.bench.failure import Failure
from scripts.bench.machine import Cores
from scripts.bench.peers import Peer
from scripts.bench.scenarios import Place
from scripts.bench.serving import through

REQUESTS, WARM_UP = 640, 640
_TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)

Counted = list[float]
"""Thousands of instructions for a request; of each thread, the main one first."""


def check() -> None:
    """That it can be done.

    Raises:
        Failure: valgrind is not installed.
    """
    if shutil.which("valgrind") is None:
        raise Failure("valgrind is not installed")


def count(
    peers: Sequence[Peer], place: Place, folder: Path, cores: Cores
) -> Iterator[tuple[Peer, Counted]]:
    """Each peer with a server of its own, and what it took.

    Raises:
        Failure: an answer was wrong.
    """
    for number, peer in enumerate(peers):
        inside = folder / str(number)
        inside.mkdir()
        yield peer, _count(peer, place, inside, cores)


def _count(peer: Peer, place: Place, folder: Path, cores: Cores) -> Counted:
    into = folder / "counted"
    options = ("--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={into}")
    valgrind = through("valgrind", "--quiet", "--tool=callgrind", *options)
    with valgrind, peer.start(place.upstream, folder, cores.proxy) as server:

        def ask(requests: int) -> None:
            place.client.ask(server, peer, place.size.connections, "--requests", str(requests))

        ask(WARM_UP)
        _switch(server.pid, "on")
        ask(REQUESTS)
        _switch(server.pid, "off")
    totals = [_total(part) for part in sorted(folder.glob(f"{into.name}*-*"))]
    return [total / REQUESTS / 1000 for total in totals if total]


def _switch(pid: int, state: str) -> None:
    command = ["callgrind_control", "-i", state, str(pid)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - of our own server


def _total(part: Path) -> int:
    found = _TOTALS.search(part.read_text(errors="replace"))
    return int(found[1]) if found else 0


def lines(counted: Sequence[tuple[Peer, Counted]]) -> Iterator[str]:
    """A table, with the ratio to the naive relay if that was counted as well."""
    naive = next((sum(threads) for peer, threads in counted if peer.name == "naive"), None)
    yield "instructions of a request, 1 KB of JSON [thousands]; by thread, the main one first"
    for peer, threads in counted:
        ratio = f"  {sum(threads) / naive:5.2f} x naive" if naive else ""
        parts = " + ".join(f"{each:,.0f}" for each in threads)
        yield f"  {peer.name:24} {sum(threads):8,.0f}{ratio}  = {parts}"

"""``./scripts/bench/run --profile``: where the proxy's time goes while it does the whole job.

With py-spy, which samples all threads from outside, if there is one. Threads share a core, and one that
only waits for it is sampled as well: the CPU time of each thread, from the kernel, is told beside it.
Without py-spy with cProfile inside, which sees the main thread only and makes calls look dearer than
they are.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.bench.building import BUILD
from scripts.bench.failure import Failure
from scripts.bench.machine import Cores, cpu_seconds_of_threads
from scripts.bench.peers import ROOT, Peer, backstory
from scripts.bench.scenarios import Place, Scenario
from scripts.bench.serving import Server
from scripts.bench.stacks import Stacks, read_samples, read_stats

OWN = BUILD / "py-spy"
HINT = "python3 -m venv {0} && {0}/bin/pip install py-spy".format(OWN.relative_to(ROOT))
SAMPLES_A_SECOND = 250
WRITE_SECONDS = 60


def profile(checkout: Path, scenario: Scenario, place: Place, folder: Path, cores: Cores) -> Stacks:
    """What was seen during one scenario.

    Raises:
        Failure: the profiler failed.
    """
    sampler = shutil.which("py-spy", path=str(OWN / "bin")) or shutil.which("py-spy")
    into = folder / "profile"
    if sampler is None:
        print(f"bench: with cProfile; py-spy is more exact: {HINT}", file=sys.stderr)
        whole, _ = backstory(checkout, under=("-m", "cProfile", "-o", str(into)))
        with whole.start(place.upstream, folder, cores.proxy) as server:
            _load(scenario, place, server, whole)
        return read_stats(into)
    whole, _ = backstory(checkout)
    with whole.start(place.upstream, folder, cores.proxy) as server:
        with _sampling(sampler, server, into):
            _load(scenario, place, server, whole)
        threads = cpu_seconds_of_threads(server.pid)
        print(f"\nCPU of the whole process: {sum(threads.values()):.2f} s [% by thread]")
        for thread in sorted(threads, key=lambda thread: -threads[thread]):
            name = "the event loop" if thread == server.pid else f"thread {thread}"
            print(f"  {100 * threads[thread] / sum(threads.values()):5.1f}  {name}")
    return read_samples(into)


def _load(scenario: Scenario, place: Place, server: Server, peer: Peer) -> None:
    for _ in range(scenario.turns(place.size)):
        scenario.measure(place, server, peer)


@contextmanager
def _sampling(sampler: str, server: Server, into: Path) -> Iterator[None]:
    options = ["--format", "raw", "--function", "--full-filenames"]
    options += ["--rate", str(SAMPLES_A_SECOND), "--output", str(into)]
    process = subprocess.Popen(  # noqa: S603 - found on the path; the arguments are ours
        [sampler, "record", "--pid", str(server.pid), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)  # it writes what it has
        _, said = process.communicate(timeout=WRITE_SECONDS)
    if process.returncode:
        raise Failure(f"py-spy: {said.strip()}")

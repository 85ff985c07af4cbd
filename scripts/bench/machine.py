"""What the machine says: the CPU time and memory of a process, which cores there are, what they are."""

import datetime
import json
import os
import platform
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cores:
    """Who runs where: proxies on a core of their own, if there are two."""

    proxy: frozenset[int]
    others: frozenset[int]

    @classmethod
    def here(cls) -> "Cores":
        """The last core for the proxies, the others for everybody else."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(frozenset(cores[-1:]), frozenset(cores[:-1] or cores))


@contextmanager
def on(cores: frozenset[int]) -> Iterator[None]:
    """What is started in here runs on these cores, and so does whatever it starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit() -> int:
    """As many open files as we may have, for us and what we start; the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far."""
    return _cpu_seconds(Path(f"/proc/{pid}/stat"))


def cpu_seconds_of_threads(pid: int) -> dict[int, float]:
    """The same for each thread that is alive, by its id; the main thread's is that of the process."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return {int(thread.name): _cpu_seconds(thread / "stat") for thread in threads}


def _cpu_seconds(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_kb(pid: int) -> int:
    """The memory of a process that is in RAM."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    raise ValueError("no Rss in smaps_rollup")


def cpu_model() -> str:
    """What the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def file_system(place: Path) -> str:
    """The type of the file system that holds ``place``: a store in memory costs no disk."""
    best, kind = -1, "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        if place.resolve().is_relative_to(point) and len(point) > best:
            best, kind = len(point), right.split()[0]
    return kind


def facts(store: Path, checkout: Path) -> dict[str, object]:
    """Of which machine the figures are, and of which versions."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_average": os.getloadavg(),
        "versions": _versions(checkout),
        "store_file_system": file_system(store),
    }


_VERSIONS = """
import importlib.metadata, json, platform
found = {"python": platform.python_version()}
for name in ("aiohttp", "uvloop", "httptools"):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = None
print(json.dumps(found))
"""


def _versions(checkout: Path) -> dict[str, str | None]:
    """Of what a checkout's Backstory runs on; None for what it does not have."""
    command = [str(checkout / ".venv/bin/python"), "-P", "-c", _VERSIONS]
    said = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found: dict[str, str | None] = json.loads(said.stdout)
    return found


def revision(checkout: Path) -> str:
    """The commit of a checkout, ``-dirty`` behind it if files differ; ``unknown`` without git."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return "unknown"
    return said.stdout.strip() or "unknown"

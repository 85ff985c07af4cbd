"""``./scripts/bench/run``: that there are figures, never how large they are."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from scripts.bench.asking import Client
from scripts.bench.failure import Failure
from scripts.bench.machine import Cores
from scripts.bench.peers import Peer
from scripts.bench.rounds import measure_round
from scripts.bench.scenarios import QUICK, SCENARIOS, Place, Scenario
from scripts.bench.serving import Server, running
from scripts.bench.spread import of_figure, of_ratio
from scripts.bench.stacks import read_samples
from tests.repo.bench_programs import program

RUN = Path(__file__).parents[2] / "scripts/bench/run"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it needs epoll and /proc")


def test_without_figures_there_is_a_reason_and_a_status(tmp_path: Path) -> None:
    command = [str(RUN), "--only", "no such thing", "--out", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert "no such scenario" in result.stderr
    assert not (tmp_path / "out").exists()


def test_every_figure_is_there(tmp_path: Path) -> None:
    program("load")
    result = subprocess.run(
        [RUN, "--quick", "--out", tmp_path],
        env=os.environ | {"BACKSTORY_UPSTREAM": "http://not.asked.example"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert written["errors"] == 0
    assert written["machine"]["versions"]["aiohttp"]
    for scenario in SCENARIOS:
        for figure in scenario.figures:
            found = written["figures"][figure.key]
            assert found["unit"]
            names = {"backstory", "naive"} | (set() if scenario.fresh_server else {"backstory off"})
            assert set(found["peers"]) == names
            for peer in found["peers"].values():
                assert len(peer["measured"]["values"]) == 1
            assert figure.title in result.stdout
    assert {target["figure"] for target in written["targets"]} <= set(written["figures"])
    assert ElementTree.parse(tmp_path / "results.svg").getroot().tag.endswith("svg")


def test_instructions_need_valgrind(tmp_path: Path) -> None:
    for name in ("bash", "dirname", "cat", "awk", "cksum"):
        if (found := shutil.which(name)) is not None:
            (tmp_path / name).symlink_to(found)
    result = subprocess.run(
        [RUN, "--instructions", "--peers", "naive"],
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "valgrind is not installed" in result.stderr


@pytest.mark.long("valgrind, which counts instructions, is not installed by scripts/test")
def test_instructions_are_counted_the_same_twice() -> None:
    command = [str(RUN), "--instructions", "--peers", "naive,backstory off"]
    rows = []
    for _ in range(2):
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows.append(dict(re.findall(r"^  (\S.*?) {2,}([\d,]+)  ", said, re.MULTILINE)))
    first, again = ({name: int(n.replace(",", "")) for name, n in row.items()} for row in rows)
    assert first.keys() == {"naive", "backstory off"}
    for name, count in first.items():
        assert abs(again[name] - count) < 0.03 * count


def test_peers_take_turns_and_a_value_is_the_mean_of_its_turns(tmp_path: Path) -> None:
    asked: list[str] = []

    @contextmanager
    def start(upstream: Server, folder: Path, cores: frozenset[int]) -> Iterator[Server]:
        asked.append("starts")
        yield Server("any", 0, 0, tmp_path)

    def measure(place: Place, server: Server, peer: Peer) -> dict[str, float]:
        asked.append(peer.name)
        return {"f": float(len(asked))}

    peers = [Peer("a", "same", start), Peer("b", "same", start)]
    place = Place(Client(tmp_path), Server("up", 0, 0, tmp_path), replace(QUICK, turns=3))
    scenario = Scenario("s", (), measure, in_turns=True)
    found = measure_round(0, peers, [scenario], place, tmp_path, Cores.here())
    assert asked == ["starts", "a", "b", "b", "a", "a", "b"]
    assert found == {"a": {"f": (2 + 5 + 6) / 3}, "b": {"f": (3 + 4 + 7) / 3}}


def test_a_ratio_is_that_of_a_round() -> None:
    rounds = [
        {"a": {"f": 2.0}, "b": {"f": 1.0}},
        {"a": {"f": 30.0}, "b": {"f": 10.0}},
        {"a": {"f": 1.0}, "b": {"f": 0.0}},
        {"a": {"f": 8.0}, "b": {"f": 2.0}},
    ]
    ratio = of_ratio(rounds, "a", "b", "f")
    assert ratio is not None
    assert ratio.values == (2.0, 3.0, 4.0)
    assert (ratio.median, ratio.low, ratio.high) == (3.0, 2.0, 4.0)
    assert of_figure(rounds, "c", "f") is None


def test_the_time_of_a_library_is_that_of_the_module_of_ours_that_called_it(tmp_path: Path) -> None:
    file = tmp_path / "samples"
    file.write_text(
        "main (/x/proxy/backstory/serve.py:1);relay (/x/proxy/backstory/tee.py:9);"
        "send (/v/lib/python3/site-packages/aiohttp/web.py:2) 3\n"
        "main (/x/proxy/backstory/serve.py:1);run (/usr/lib/python3/asyncio/events.py:4) 1\n"
        "work (/x/backstory.d/pool.py:1);_worker (/usr/lib/python3/concurrent/futures/thread.py:4) 9\n"
    )
    found = read_samples(file)
    assert found.by_module == {"aiohttp": 3, "asyncio/events": 1}
    assert found.on_behalf_of == {"backstory.tee": 3, "backstory.serve": 1}
    assert found.within["backstory.serve: main"] == 4
    assert "   75.0  aiohttp" in list(found.lines())


def test_a_server_that_does_not_start_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no address')"]
    with (
        pytest.raises(Failure, match=r"one did not start:\n +no address"),
        running("one", command, tmp_path, Cores.here().proxy),
    ):
        pytest.fail("it is not there")

"""``./scripts/bench/recall``: that there are figures, and that the plot has its curves."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

RECALL = Path(__file__).parents[2] / "scripts/bench/recall"


def test_every_figure_is_there(tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    command: list[str | Path] = [RECALL, "--turns", "120", "--rounds", "1", "--plot", plot]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    assert set(found["cpu_us_per_turn_warm"]) == {
        "delta, 20 stored",
        "delta, 200 stored",
        "transcript of 200",
    }
    assert all(value > 0 for value in found["cpu_us_per_turn_warm"].values())
    assert found["trim_epochs"] > 0
    assert 0.5 < found["prefix_reuse_ratio"] < 1
    assert found["read_bytes_per_turn"]["last quarter"] > 0
    curves = ElementTree.parse(plot).getroot().iter("{http://www.w3.org/2000/svg}polyline")
    assert [len(curve.attrib["points"].split()) for curve in curves] == [120] * 3

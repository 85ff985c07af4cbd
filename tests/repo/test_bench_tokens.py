"""``./scripts/bench/tokens``: that there are figures, and that the docs tell what they say."""

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_figures_in_the_docs_are_those_that_come_out() -> None:
    command: list[str | Path] = [ROOT / "scripts/bench/tokens", "--rounds", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    page = (ROOT / "docs/tokens.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| ([0-9.]+) \| ([0-9.]+) \|.* ([0-9.]+) \|$", page, re.MULTILINE)
    assert {row[0] for row in rows} == set(found["o200k_base"]) == set(found["cl100k_base"])
    for kind, o200k, cl100k, escaped in rows:
        told = (
            (float(o200k), found["o200k_base"][kind]["estimate"]),
            (float(cl100k), found["cl100k_base"][kind]["estimate"]),
            (float(escaped), found["o200k_base"][kind]["estimate, escaped"]),
        )
        for written, measured in told:
            assert abs(written / measured - 1) < 0.1, (
                f"{kind}: a page that grew may move it a little"
            )
    for kinds in found.values():
        for figures in kinds.values():
            assert all(value > 0 for value in figures["cpu_us"].values())

"""Long tests: left out by name and reason, not skipped; ``scripts/test --long`` installs and runs them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest

@pytest.mark.long("a client with many packages")
def test_that_is_long():
    pass

def test_that_is_not():
    pass
"""
CONFIG = """
[pytest]
markers = long(reason): runs with --long only
addopts = --strict-markers
"""


def run(folder: Path, *words: str) -> str:
    """What a run of pytest in CI says at its end."""
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text(CONFIG)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words],
        cwd=folder,
        env=os.environ | {"CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.parametrize("words", [[], ["--numprocesses=2"]])
def test_a_long_test_is_left_out_and_its_reason_told(words: list[str], tmp_path: Path) -> None:
    said = run(tmp_path, *words)
    assert said.count("left out without --long: a client with many packages (1 tests)") == 1
    assert "1 passed" in said


def test_with_the_option_it_runs(tmp_path: Path) -> None:
    said = run(tmp_path, "--long")
    assert "left out" not in said
    assert "2 passed" in said


@pytest.mark.parametrize("words", [[], ["-k", "cookie"], ["--long", "-x"], ["-x", "--long"]])
def test_what_is_long_is_installed_only_if_it_is_asked_for(
    words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/test", tmp_path / "scripts")
    for name in ("scripts/install", "scripts/_servers", "scripts/check", "scripts/clients"):
        (tmp_path / name).write_text('#!/bin/sh\necho "${0##*/}"\n')
        (tmp_path / name).chmod(0o755)
    python = tmp_path / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "$*"\n')
    python.chmod(0o755)
    said = subprocess.run(
        [tmp_path / "scripts/test", *words], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert ("clients" in said) == ("--long" in words)
    assert said[-1].startswith("-m pytest ")
    assert said[-1].endswith(" ".join(["", *words]))

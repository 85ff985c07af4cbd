"""What ``tests/conftest.py`` promises about servers that a test needs and does not find."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SUITE = """
import pytest

def test_in_its_body():
    pytest.skip("server missing: nginx")

@pytest.mark.skipif(True, reason="server missing: PostgreSQL")
def test_by_its_mark():
    pass

@pytest.fixture
def valkey():
    pytest.skip("server missing: Valkey")

def test_by_its_fixture(valkey):
    pass

@pytest.mark.skip(reason="not on this platform")
def test_for_another_reason():
    pass

def test_that_runs():
    pass
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder with our ``conftest.py`` and tests that skip themselves."""
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_suite.py").write_text(SUITE)
    return tmp_path


def run(suite: Path, ci: str) -> subprocess.CompletedProcess[str]:
    """Run ``suite`` in a process of its own, with ``CI`` set."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(suite), str(suite)],
        cwd=suite,
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )


def test_in_ci_a_missing_server_is_a_failure_that_names_it(suite: Path) -> None:
    result = run(suite, "true")
    assert result.returncode == 1
    assert "server missing: nginx" in result.stdout
    assert "server missing: Valkey" in result.stdout
    assert "server missing: PostgreSQL" in result.stdout


def test_in_ci_other_reasons_still_skip(suite: Path) -> None:
    assert "1 passed, 1 skipped" in run(suite, "true").stdout


def test_elsewhere_a_missing_server_is_a_skip(suite: Path) -> None:
    result = run(suite, "")
    assert result.returncode == 0
    assert "1 passed, 4 skipped" in result.stdout

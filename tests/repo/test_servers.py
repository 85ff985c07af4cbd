"""``scripts/_servers`` leaves a machine alone that has what the tests need, or is not its to change.

That it does install is shown by CI, which runs on a new machine and skips nothing.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

SERVERS = Path(__file__).parents[2] / "scripts/_servers"
TOOLS = ("bash", "env")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder for ``PATH``: root, and an ``apt-get`` that fails and leaves a trace."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(str(shutil.which(name)))
    command(folder, "id", "echo 0")
    command(folder, "apt-get", f'echo "$*" >> "{tmp_path / "asked"}"; exit 1')
    return folder


def command(folder: Path, name: str, does: str) -> None:
    """Put a command into ``folder``."""
    (folder / name).write_text(f"#!/bin/sh\n{does}\n")
    (folder / name).chmod(0o755)


def run(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the script with nothing but ``path``."""
    return subprocess.run(
        [SERVERS], env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("why", ["everything is there", "not root", "no apt-get"])
def test_nothing_is_installed_where(why: str, path: Path) -> None:
    if why == "everything is there":
        command(path, "curl", "exit 0")
        command(path, "nginx", "exit 0")
        command(path, "node", "exit 0")
    elif why == "not root":
        command(path, "id", "echo 1000")
    else:
        (path / "apt-get").unlink()
    result = run(path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not (path.parent / "asked").exists()

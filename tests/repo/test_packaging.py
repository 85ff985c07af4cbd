"""The wheel and the sdist, built without a network and opened."""

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]


def build(source: Path, target: str, into: Path) -> Path:
    """Build the ``wheel`` or ``sdist`` of ``source`` with hatchling; the one file that comes out."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    result = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = into.iterdir()
    return built


def contents(wheel: Path) -> dict[str, bytes]:
    """Name and bytes of every file in ``wheel``."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the wheel of this tree holds."""
    return contents(build(ROOT, "wheel", tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree's sdist, unpacked."""
    sdist = build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))
    into = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xzf", sdist, "-C", into], check=True)
    (root,) = into.iterdir()
    return root


def test_the_wheel_holds_both_packages_whole(wheel: dict[str, bytes]) -> None:
    for root in (ROOT / "proxy", ROOT / "plugins"):
        (package,) = (path for path in root.iterdir() if path.name.startswith("backstory"))
        source = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        missing = {p.relative_to(root).as_posix() for p in source} - wheel.keys()
        assert not missing
        assert f"{package.name}/py.typed" in wheel


def test_the_wheel_holds_nothing_else(wheel: dict[str, bytes]) -> None:
    tops = {PurePosixPath(name).parts[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "backstory",
        "backstory_plugins",
    }
    assert not [name for name in wheel if PurePosixPath(name).name.startswith("test_")]


def test_the_wheel_brings_its_licence_and_its_command(wheel: dict[str, bytes]) -> None:
    (licence,) = (name for name in wheel if name.endswith("dist-info/licenses/LICENSE"))
    (entries,) = (name for name in wheel if name.endswith("dist-info/entry_points.txt"))
    assert wheel[licence] == (ROOT / "LICENSE").read_bytes()
    assert b"backstory = backstory.__main__:main" in wheel[entries]


def test_the_sdist_holds_what_a_packager_needs(unpacked: Path) -> None:
    for name in ("scripts/install", "tests/repo", "requirements.lock", "pyproject.toml"):
        assert (unpacked / name).exists(), name


def test_the_wheel_of_the_sdist_is_the_same_wheel(
    wheel: dict[str, bytes], unpacked: Path, tmp_path: Path
) -> None:
    again = contents(build(unpacked, "wheel", tmp_path))
    assert again == wheel

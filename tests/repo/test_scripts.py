"""The scripts of ``scripts/``, run as a person runs them: from anywhere, on whatever is there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())
SHELL = [*(path for path in SCRIPTS if not path.suffix), ROOT / ".ci/run"]
JWT_UTIL = ROOT / "scripts/jwt_util.py"
SECRET = "a secret of the clients, 32 bytes and more"

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "small"
version = "1"

[project.scripts]
small = "small:main"

[tool.pytest.ini_options]
addopts = "-q"
"""

BACKEND = '''
"""The smallest backend that can make an editable install, so that no network is needed."""

import tomllib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    project = tomllib.load(open("pyproject.toml", "rb"))["project"]
    scripts = "".join(f"{k} = {v}\\n" for k, v in project["scripts"].items())
    files = {
        "METADATA": "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n",
        "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "entry_points.txt": "[console_scripts]\\n" + scripts,
    }
    name = "small-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(f"small-1.dist-info/{file}", text)
        names = [f"small-1.dist-info/{file}" for file in (*files, "RECORD")]
        wheel.writestr(names[-1], "".join(f"{name},,\\n" for name in names))
    return name
'''


def run(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end and keep what it said."""
    return subprocess.run(
        [str(word) for word in command],
        env=dict(os.environ if env is None else env),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def without_secrets() -> dict[str, str]:
    """This environment, but with no secret in it and no way to find the project by accident."""
    unwanted = ("JWT_SECRET", "BACKSTORY_JWT_SECRET", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with our install script, in a folder with blanks, installed once."""
    root = tmp_path_factory.mktemp("a folder") / "with blanks"
    (root / "scripts").mkdir(parents=True)
    for name in ("install", "_python"):
        shutil.copy(ROOT / "scripts" / name, root / "scripts")
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "backend.py").write_text(BACKEND)
    (root / "requirements.lock").touch()
    (root / "requirements-test.lock").touch()
    first = run(root / "scripts/install", cwd=Path("/"))
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    return root


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A folder for ``PATH`` that has what the scripts call, and no Python at all."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("awk", "bash", "cat", "cksum", "dirname", "env", "tail", "touch"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def python_with(path: Path, module: str, text: str) -> None:
    """Put a ``python3`` into ``path`` that finds ``text`` where it looks for ``module``."""
    (path / f"{module}.py").write_text(text)
    shim = path / "python3"
    shim.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" "$@"\n')
    shim.chmod(0o755)


@pytest.mark.parametrize("script", SHELL, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shell_script_is_short_and_bash_can_read_it(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert len(text.splitlines()) < 30
    assert run("bash", "-n", script).stderr == ""


@pytest.mark.parametrize("script", [*SCRIPTS, SHELL[-1]], ids=lambda path: str(path.name))
def test_a_script_is_executable(script: Path) -> None:
    assert os.access(script, os.X_OK)


def test_ci_runs_the_tests_and_decides_nothing(tmp_path: Path) -> None:
    for folder in (".ci", "scripts"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci")
    test = tmp_path / "scripts/test"
    test.write_text('#!/bin/sh\necho "the tests, $# arguments"\nexit 7\n')
    test.chmod(0o755)
    result = run("bash", ".ci/run", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (7, "the tests, 0 arguments\n")


def test_a_second_install_does_nothing_and_is_silent(made: Path) -> None:
    before = (made / ".venv/installed").stat()
    again = run(made / "scripts/install", cwd=Path("/"), env={"PATH": os.environ["PATH"]})
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert (made / ".venv/installed").stat().st_mtime_ns == before.st_mtime_ns


def test_an_install_that_has_nothing_to_do_needs_no_python(made: Path, bare_path: Path) -> None:
    assert run(made / "scripts/install", env={"PATH": str(bare_path)}).stderr == ""


def test_the_test_install_is_one_more_step_and_contains_the_other(made: Path) -> None:
    (made / ".venv/installed").write_text("")
    assert run(made / "scripts/install").returncode == 0
    assert run(made / "scripts/install", "--test").stderr != ""
    for kind in ((), ("--test",)):
        assert run(made / "scripts/install", *kind).stderr == ""


def test_a_new_entry_point_is_installed_and_another_section_changes_nothing(made: Path) -> None:
    pyproject = made / "pyproject.toml"
    pyproject.write_text(PYPROJECT.replace("-q", "-v"))
    assert run(made / "scripts/install").stderr == ""
    pyproject.write_text(PYPROJECT.replace("[tool", 'other = "small:main"\n\n[tool'))
    assert run(made / "scripts/install").returncode == 0
    assert (made / ".venv/bin/other").exists()


def test_an_install_that_was_killed_half_way_begins_anew(made: Path) -> None:
    (made / ".venv/unfinished").touch()
    (made / ".venv/installed").unlink()
    (made / ".venv/left over").touch()
    assert run(made / "scripts/install").returncode == 0
    assert not (made / ".venv/left over").exists()
    assert not (made / ".venv/unfinished").exists()


def test_an_environment_that_somebody_else_made_is_kept(made: Path) -> None:
    (made / ".venv/installed").unlink()
    (made / ".venv/mine").touch()
    assert run(made / "scripts/install").returncode == 0
    assert (made / ".venv/mine").exists()


def test_a_folder_that_was_moved_is_installed_anew(made: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(made, moved, symlinks=True)
    (moved / ".venv/bin/names the old place").touch()  # as every command of a package does
    assert run(moved / "scripts/install").returncode == 0
    assert not (moved / ".venv/bin/names the old place").exists()
    assert str(moved) in (moved / ".venv/bin/small").read_text()


def test_two_installs_at_once_both_succeed_and_one_does_the_work(made: Path) -> None:
    if shutil.which("flock") is None:
        pytest.skip("no flock here: two first starts at once are not promised")
    (made / ".venv/installed").unlink()
    both = [
        subprocess.Popen([made / "scripts/install"], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(map(bool, said)) == [False, True]


@pytest.mark.parametrize(
    ("module", "text", "remedy"),
    [
        ("sitecustomize", "import sys\nsys.version_info = (3, 9, 2)\n", "3.9 is too old"),
        ("ensurepip", "raise ImportError\n", "apt install python3-venv"),
        (None, "", "No Python found"),
    ],
    ids=["too old", "without venv", "none"],
)
def test_a_python_that_will_not_do_is_told_with_the_remedy(
    made: Path, tmp_path: Path, bare_path: Path, module: str | None, text: str, remedy: str
) -> None:
    fresh = tmp_path / "fresh"
    shutil.copytree(made, fresh, ignore=shutil.ignore_patterns(".venv"))
    if module:
        python_with(bare_path, module, text)
    result = run(fresh / "scripts/install", env={"PATH": str(bare_path)})
    assert (result.returncode, result.stdout) == (1, "")
    assert remedy in result.stderr
    assert not (fresh / ".venv").exists()


def test_an_unknown_option_of_install_is_refused(made: Path) -> None:
    assert run(made / "scripts/install", "--tests").returncode == 2


def test_jwt_util_prints_a_token_that_it_can_read(tmp_path: Path) -> None:
    claims = '{"team_id": "tenstorrent", "token_id":"debug-test"}'
    made = run(JWT_UTIL, "--secret", SECRET, "encode", claims, cwd=tmp_path, env=without_secrets())
    assert (made.returncode, made.stderr) == (0, "")
    read = run(JWT_UTIL, "--secret", SECRET, "decode", f"Bearer {made.stdout.strip()}")
    assert json.loads(read.stdout) == json.loads(claims)


def test_jwt_util_passes_the_exit_status_on() -> None:
    refused = run(JWT_UTIL, "--secret", SECRET, "decode", "nonsense", env=without_secrets())
    assert (refused.returncode, refused.stdout) == (1, "")
    unclear = run(JWT_UTIL, "encode", "{}", env=without_secrets())
    assert (unclear.returncode, unclear.stdout) == (2, "")
    assert "jwt_util.py: no secret" in unclear.stderr


def test_jwt_util_goes_on_in_the_projects_environment(tmp_path: Path) -> None:
    copy = tmp_path / "scripts/jwt_util.py"
    copy.parent.mkdir()
    shutil.copy(JWT_UTIL, copy)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nshift\necho "went on with: $*"\n')
    python.chmod(0o755)
    result = run(sys.executable, "-S", copy, "decode", "x", env=without_secrets())  # no packages
    assert result.stdout == "went on with: decode x\n"


@pytest.mark.parametrize("unfinished", [False, True])
def test_jwt_util_says_what_to_run_when_there_is_no_environment(
    tmp_path: Path, unfinished: bool
) -> None:
    copy = tmp_path / "scripts/jwt_util.py"
    copy.parent.mkdir()
    shutil.copy(JWT_UTIL, copy)
    if unfinished:  # a venv in which nothing is installed yet must not start itself for ever
        base = Path(sys.base_prefix) / "bin/python3"
        assert run(base, "-m", "venv", "--without-pip", tmp_path / ".venv").returncode == 0
    result = run(sys.executable, "-S", copy, "decode", "x", env=without_secrets())
    assert (result.returncode, result.stdout) == (1, "")
    assert "./scripts/install" in result.stderr

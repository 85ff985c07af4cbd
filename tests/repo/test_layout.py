"""What holds of every file: where it lies, that it is registered, that it has its test."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = {"proxy": ROOT / "proxy/backstory", "plugins": ROOT / "plugins/backstory_plugins"}

WITHOUT_TWIN = {
    "proxy/backstory/__main__.py": "run as a user does: tests/wire/test_main_job.py, test_serve.py",
    "proxy/backstory/exchange.py": "what stages tell each other: values only",
    "proxy/backstory/gunicorn.py": "run as a user does: tests/wire/test_gunicorn.py",
    "proxy/backstory/quickstart.py": "run as a user does: tests/wire/test_main_job.py",
    "proxy/backstory/stages/forward.py": "over sockets: tests/wire/test_upstream_cut.py and others",
    "proxy/backstory/stages/memory.py": "over sockets: tests/wire/test_two_at_once.py and others",
    "proxy/backstory/tunnel.py": "over sockets: tests/wire/test_websocket.py",
    "proxy/backstory/errors.py": "names and fields only; each is raised in its raiser's test",
    "proxy/backstory/model.py": "values only",
    "proxy/backstory/spi.py": "protocols; backstory.testing holds their tests",
    "proxy/backstory/testing/dialect.py": "a contract: every dialect's test inherits and runs it",
    "proxy/backstory/testing/samples.py": "what the contracts of stores are made of",
    "proxy/backstory/testing/store.py": "a contract: every store's test inherits and runs it",
}
"""Modules that have no test file of their own, each with its reason.

Besides these: ``__init__.py``, which only names what is public, and files with a leading
underscore, which are tested through the plugin or module that they serve.
"""


def tree() -> list[Path]:
    """Every file that is, or is about to be, in the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    found = [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]
    return [path for path in found if path.is_file()]


def modules() -> list[Path]:
    """Every module of both packages that should have a test file."""
    return sorted(
        path
        for package in PACKAGES.values()
        for path in package.rglob("*.py")
        if not path.name.startswith("_") or path.name == "__main__.py"
    )


def twin(module: Path) -> Path:
    """``proxy/backstory/stages/auth.py`` is tested by ``tests/proxy/stages/test_auth.py``."""
    root = "proxy" if module.is_relative_to(PACKAGES["proxy"]) else "plugins"
    place = module.relative_to(PACKAGES[root])
    return ROOT / "tests" / root / place.with_name(f"test_{place.name.strip('_')}")


def registered() -> dict[str, dict[str, str]]:
    """The entry points of ``pyproject.toml``, by group."""
    return {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}


@pytest.mark.parametrize("source_root", PACKAGES)
def test_a_source_root_is_no_package(source_root: str) -> None:
    assert not (ROOT / source_root / "__init__.py").exists(), (
        f"{source_root}/ holds one package; as a package of its own it would collide with others"
    )


def test_what_is_installed_is_what_pyproject_registers() -> None:
    installed: dict[str, dict[str, str]] = {}
    for entry in importlib.metadata.distribution("backstory").entry_points:
        installed.setdefault(entry.group, {})[entry.name] = entry.value
    assert installed == registered(), "pyproject.toml has changed: run ./scripts/install again"


def test_every_plugin_is_registered() -> None:
    named = {value.partition(":")[0] for group in registered().values() for value in group.values()}
    plugins = PACKAGES["plugins"]
    present = {
        ".".join(path.relative_to(plugins.parent).with_suffix("").parts)
        for path in modules()
        if path.is_relative_to(plugins)
    }
    assert present <= named, "a plugin needs its line in pyproject.toml; a helper, an underscore"
    missing = {name for name in named - present if name.startswith("backstory_plugins.")}
    assert not missing, "registered in pyproject.toml, but there is no such file"


def test_every_module_has_its_test() -> None:
    without = [str(m.relative_to(ROOT)) for m in modules() if not twin(m).exists()]
    missing = [name for name in without if name not in WITHOUT_TWIN]
    assert not missing, "each needs a test file in the same place below tests/, or a reason here"


def test_every_exception_is_still_one() -> None:
    stale = [n for n in WITHOUT_TWIN if not (ROOT / n).exists() or twin(ROOT / n).exists()]
    assert not stale, "these are gone, or have a test by now: take them out of WITHOUT_TWIN"


def workshop() -> list[bytes]:
    """Absolute paths that only make sense on this machine."""
    anywhere = {"/", "/app", "/home", "/opt", "/root", "/srv", "/tmp", "/usr", "/usr/local"}
    places = map(str, (ROOT, ROOT.parent, Path(sys.base_prefix), Path.home()))
    return [f"{place}/".encode() for place in places if place not in anywhere]


def test_nothing_names_a_place_on_this_machine() -> None:
    places = workshop()
    found = [
        str(path.relative_to(ROOT))
        for path in tree()
        if any(place in path.read_bytes() for place in places)
    ]
    assert not found, "an absolute path of this machine is of no use on another one"

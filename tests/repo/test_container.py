"""The container: what its two files say, and what happens to whoever does as they say.

No engine runs here. ``image.py`` obeys the ``Dockerfile`` on this machine, ``containers.py`` obeys
``compose.yml``, and ``confined.py`` takes away from the processes what an engine takes away.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from tests.repo.containers import CONFINED, Containers, filled_in, services
from tests.repo.image import ROOT, Image, build, instructions
from tests.repo.test_lock import PYPROJECT, RUNTIME, TEST, pins
from tests.wire.server import reserved_port

from backstory.settings import ServerSettings

DOCKERFILE = ROOT / "Dockerfile"
SECRETS = ("JWT_SECRET", "FLASK_SECRET", "TT_API_JWT")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image. Not below pytest's folders, which nobody but their owner may enter."""
    root = Path(tempfile.mkdtemp(prefix="image-"))
    root.chmod(0o755)
    try:
        yield build(DOCKERFILE, root)
    finally:
        shutil.rmtree(root)


@pytest.fixture
def containers(image: Image) -> Iterator[Containers]:
    """Nothing runs yet, and ``/data`` is as the image has it."""
    with reserved_port() as proxy, reserved_port() as upstream:
        yield Containers(image, proxy, upstream)
    for left in Path(image.place("/data")).iterdir():
        left.unlink()


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    command = [Path(sys.executable).with_name("hadolint"), DOCKERFILE]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_every_stage_has_one_base_that_is_named_by_its_versions() -> None:
    bases = [
        rest.split()[0] for word, rest in instructions(DOCKERFILE.read_text()) if word == "FROM"
    ]
    (base,) = set(bases)
    version = re.fullmatch(r"python:(3\.\d+)-alpine3\.\d+", base)
    assert version, "a version of Python and one of Alpine, for every stage the same"
    assert version[1] in SpecifierSet(PYPROJECT["project"]["requires-python"])


def test_every_locked_package_has_a_wheel_for_alpine() -> None:
    result = subprocess.run(
        [ROOT / "scripts/musllinux"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(f": {len(pins(RUNTIME))} wheels\n") == 2


def test_a_package_without_a_wheel_for_alpine_is_told(tmp_path: Path) -> None:
    lock = TEST.read_text()
    begin = lock.index("forbiddenfruit==")  # published as source only
    (tmp_path / "lock").write_text(re.split(r"\n(?=\S)", lock[begin:])[0] + "\n")
    command = [ROOT / "scripts/musllinux", tmp_path / "lock"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "No matching distribution found for forbiddenfruit" in result.stderr


def test_nothing_enters_the_build_but_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    copied = {
        source.rstrip("/")
        for word, rest in instructions(DOCKERFILE.read_text())
        if word == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    }
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert copied.isdisjoint({"", ".", "*"})


def test_no_secret_is_named_in_the_image() -> None:
    assert not [name for name in SECRETS if name in DOCKERFILE.read_text()]
    assert "ARG" not in dict(instructions(DOCKERFILE.read_text()))


def test_compose_starts_nothing_without_the_secret_of_the_tokens() -> None:
    environment = services()["proxy"]["environment"]
    with pytest.raises(LookupError, match="JWT_SECRET"):
        filled_in(environment["JWT_SECRET"], {"JWT_SECRET": ""})
    for name in SECRETS:
        assert filled_in(environment[name], dict.fromkeys(SECRETS, "given")) == "given"


@pytest.mark.parametrize("name", ["proxy", "upstream"])
def test_a_service_gets_no_more_than_it_needs(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert not service.keys() & {"cap_add", "privileged", "user", "network_mode", "pid", "devices"}


def test_compose_gives_running_answers_the_time_that_the_proxy_gives_them() -> None:
    grace = float(services()["proxy"]["stop_grace_period"].removesuffix("s"))
    assert grace > ServerSettings().drain_timeout_seconds


def test_the_image_holds_what_is_locked_and_no_tool_that_builds(image: Image) -> None:
    packages = next(Path(image.place("/opt/backstory/lib")).glob("python*/site-packages"))
    found: dict[str, str] = {
        canonicalize_name(d.name): d.version for d in distributions(path=[str(packages)])
    }
    assert found.pop("backstory") == PYPROJECT["project"]["version"]
    assert found.items() <= pins(RUNTIME).items()
    assert {"aiohttp", "cryptography"} <= found.keys()
    assert not {"pip", "setuptools", "hatchling", "editables"} & found.keys()


def test_a_conversation_across_both_services_outlives_a_new_container(
    containers: Containers,
) -> None:
    both = services()
    proxy, upstream = both["proxy"], both["upstream"]
    with containers.running(upstream):
        with containers.running(proxy):
            assert containers.health(upstream) == 0
            assert containers.health(proxy) == 0
            token = containers.token(proxy)
            assert "94572" in containers.ask("Repeat the number '94572'.", token)
        assert containers.health(proxy) == 1
        with containers.running(proxy):
            assert "94572" in containers.ask("What number did you repeat?", token)
    assert containers.health(upstream) == 1
    kept = {path.name: path.stat() for path in Path(containers.image.place("/data")).iterdir()}
    assert {"backstory.db", "backstory.key"} <= kept.keys()
    assert all(state.st_mode & 0o077 == 0 for state in kept.values())


@pytest.mark.skipif(bool(CONFINED), reason=CONFINED or "it can")
def test_a_confined_process_is_nobody_and_writes_to_its_volume_only(containers: Containers) -> None:
    seen = """
import errno, os, pathlib
for place in ("/opt/backstory/x", "/opt/x", "/x", "/var/x"):
    try: open(place, "w")
    except OSError as exc: print(errno.errorcode[exc.errno])
open("/data/x", "w").close()
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").open())
print(os.getuid(), os.getgid(), os.getgroups(), int(status["CapBnd"], 16), int(status["NoNewPrivs"]))
"""
    words = ["python", "-I", "-c", seen]
    with containers.start(services()["proxy"], words, stdout=subprocess.PIPE) as process:
        said = process.communicate()[0].splitlines()
    assert said == ["EROFS"] * 4 + ["10001 10001 [] 0 1"]


def test_the_image_never_runs_as_root(image: Image) -> None:
    user, _, group = image.said["USER"].partition(":")
    assert int(user) > 1000
    assert int(group) > 1000
    data = Path(image.place("/data")).stat()
    assert data.st_mode & 0o777 == 0o700
    if os.geteuid() == 0:  # nobody else can give a folder away
        assert (data.st_uid, data.st_gid) == (int(user), int(group))

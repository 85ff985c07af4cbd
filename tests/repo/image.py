"""The image, without a container engine: its ``Dockerfile`` carried out below a folder.

The instructions of the file are obeyed as they stand. Only the image's own folders, ``/opt`` and
``/data``, lie below a folder of the test's, and the base is this machine and its Python.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FOLDERS = re.compile(r"(?<![\w.])/(?=(?:opt|data)\b)")


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Each instruction in capitals and what follows it, on one line; comments are left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line]


@dataclass
class Image:
    """What the last stage leaves for whoever starts a container."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    said: dict[str, str] = field(default_factory=dict)
    """The last word of each other instruction: ``USER``, ``CMD``, ``HEALTHCHECK`` …"""

    def place(self, text: str) -> str:
        """``text`` with every folder of the image where it is on this machine."""
        return _FOLDERS.sub(f"{self.root}/", text)

    def words(self, instruction: str) -> list[str]:
        """The words of an instruction in its JSON form, from where the list begins."""
        said = self.said[instruction]
        words: list[str] = json.loads(said[said.index("[") :])
        return words


def build(dockerfile: Path, root: Path) -> Image:
    """Carry out ``dockerfile`` below ``root``; the image of its last stage."""
    image = Image(root)
    _put_python(root)
    for instruction, rest in instructions(dockerfile.read_text()):
        match instruction:
            case "FROM":
                image = Image(root, {"PATH": f"{root}/bin:{os.environ['PATH']}"})
            case "ENV":
                _set(image, rest)
            case "WORKDIR":
                image.directory = rest
                Path(image.place(rest)).mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(image, rest)
            case "RUN":
                _run(image, rest)
            case _:
                image.said[instruction] = rest
    return image


def _put_python(root: Path) -> None:
    """``python``, as the base has it, on the search path."""
    python = root / "bin/python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)


def _set(image: Image, rest: str) -> None:
    for pair in shlex.split(rest):
        name, _, value = pair.partition("=")
        image.env[name] = image.place(value).replace("$PATH", image.env["PATH"])


def _copy(image: Image, rest: str) -> None:
    *sources, target = rest.split()
    if sources[0].startswith("--from="):
        assert sources[1:] == [target], "both stages share their folders here"
        return
    into = Path(image.place(image.directory), target)
    for source in sources:
        if (ROOT / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, into, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / source, into)


def _run(image: Image, command: str) -> None:
    if os.geteuid():
        command = re.sub(r" -[og] \d+", "", command)  # only root may give a folder away
    done = subprocess.run(
        ["sh", "-euc", image.place(command)],
        cwd=image.place(image.directory),
        env=_from_outside() | image.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _from_outside() -> dict[str, str]:
    """How this machine reaches the package index, and none of its other habits."""
    outside = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy")
    kept = {name: os.environ[name] for name in outside if name in os.environ}
    return {"PIP_CONFIG_FILE": os.devnull, "HOME": os.environ.get("HOME", "/")} | kept

"""The mock upstream and the load client, compiled with the compiler at hand when their source is newer."""

import shutil
import subprocess
from pathlib import Path

from scripts.bench.failure import Failure

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build/bench"
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]


def build(name: str) -> Path:
    """The program ``name``, up to date.

    Raises:
        Failure: there is no compiler, or it refuses.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Failure("no C compiler: install gcc")
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / name
    sources = [HERE / f"{name}.c", *HERE.glob("*.h")]
    if program.exists() and all(
        source.stat().st_mtime < program.stat().st_mtime for source in sources
    ):
        return program
    fresh = program.with_suffix(".new")  # whoever runs the old one goes on with it
    command = [compiler, *FLAGS, "-o", str(fresh), str(sources[0])]
    built = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if built.returncode:
        raise Failure(f"{name}.c cannot be compiled:\n{built.stderr}")
    return fresh.replace(program)

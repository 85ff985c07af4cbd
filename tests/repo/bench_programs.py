"""The bench's two programs, built where that can be done."""

import shutil
import sys
from pathlib import Path

import pytest
from scripts.bench.building import build


def program(name: str) -> Path:
    """The mock upstream or the load client, built."""
    if sys.platform != "linux":
        pytest.skip("both programs need epoll")
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        pytest.skip("server missing: a C compiler")
    return build(name)

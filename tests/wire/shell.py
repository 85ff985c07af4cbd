"""A shell in which somebody types what the documentation says."""

import asyncio
from asyncio.subprocess import PIPE
from pathlib import Path

from tests.wire.conftest import SECRET
from tests.wire.connection import DEADLINE_SECONDS
from tests.wire.server import environment

README_ADDRESS = "http://127.0.0.1:7001"


async def typed(text: str, folder: Path, url: str = README_ADDRESS) -> str:
    """What bash prints that is given ``text``, with ``url`` for the address in it."""
    bash = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-c", text.replace(README_ADDRESS, url)),
        cwd=folder,
        env=environment(JWT_SECRET=SECRET),
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(3 * DEADLINE_SECONDS):
        said, complained = await bash.communicate()
    assert bash.returncode == 0, complained.decode()
    return said.decode()

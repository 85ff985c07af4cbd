"""``docs/clients.md`` tells of the clients of the suite, and its recipes work as they stand there."""

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest
from tests.clients.client import DEADLINE_SECONDS, HERE, VENV, Client, clean_environment, command
from tests.clients.conftest import Town
from tests.clients.page import Recipe, recipes, rows
from tests.clients.suite import CLIENTS, param
from tests.clients.table import HEAD, declared
from tests.wire.conftest import token

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "http://127.0.0.1:7001"


async def test_the_table_has_a_row_for_each_client_of_the_suite() -> None:
    head, *found = rows()
    assert tuple(head) == HEAD
    said = [(cells[0], *cells[2:6]) for cells in found]
    assert said == [(client.name, *declared(client)) for client in CLIENTS], (
        "run ./scripts/clients-table"
    )


async def test_each_client_has_one_recipe() -> None:
    assert {name: len(found) for name, found in recipes().items()} == {c.name: 1 for c in CLIENTS}


@pytest.mark.parametrize("client", [param(client) for client in CLIENTS])
async def test_a_recipe_remembers(client: Client, town: Town, tmp_path: Path) -> None:
    (recipe,) = recipes()[client.name]
    assert URL in recipe.code
    proxy = await town.proxy(town.demo)
    user = {"JWT_TOKEN": f"Bearer {token(f'recipe of {client.name}')}"}
    said = await run(client, recipe, proxy.url, tmp_path, user)
    assert said.count("94572") == 2, said
    assert "The number is 94572." in said


async def run(client: Client, recipe: Recipe, url: str, folder: Path, env: dict[str, str]) -> str:
    """What the recipe prints, with the proxy at ``url``."""
    start = command(client)[0]
    words = {
        "bash": [str(shutil.which("bash")), "-euc"],
        "python": [start, "-Pc"],
        "js": [start, "--input-type=module", "-e"],
    }[recipe.language]
    path = f"{VENV / 'bin'}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *words,
        recipe.code.replace(URL, url),
        cwd=HERE / "node" if client.home == "npm" else folder,  # where its packages are found
        env=clean_environment(folder) | env | {"PATH": path},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()[-4000:]
    return out.decode()

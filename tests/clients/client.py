"""One real client, how it is started, and what it answered.

A client is a program: it reads a plan as JSON from standard input, asks each turn of it as a user of
that client would, and prints JSON lines: first its name and version, then for each turn the reply
and, where the client shows an answer's headers, the receipt and the conversation. The plan holds
``url`` (to which the program adds what its users add, such as ``/v1``), ``headers``, ``stream``,
``turns``, each with a ``token`` and a ``text``, and what only some clients can do: ``chain`` (each
turn names the response before it) and ``tool`` (offered in each turn, and run when it is asked for).
"""

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from tests.wire.server import environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENV = ROOT / ".venv-clients"
MODULES = HERE / "node/node_modules"
DEADLINE_SECONDS = 120.0

Way = Literal["header", "prefix", "cookie", "response"]
"""How a client names its conversation; ``response``: by the response before, as the API has it."""

Home = Literal["here", "venv", "node", "npm"]
"""Where its program runs: with the test's own packages, in ``.venv-clients``, in bare Node.js, or in
Node.js with the packages of ``node/package-lock.json``. What has to be installed first is long."""


@dataclass(frozen=True, slots=True)
class Client:
    """A row of the suite; each statement in it is a test's."""

    name: str
    program: str
    """Below this folder."""
    home: Home
    change: str
    """What its user changes, as Markdown."""
    ways: tuple[Way, ...]
    sdk: bool
    """Gets no cookie with ``--session auto``."""
    jar: Literal["none", "key", "process"]
    """Cookies it keeps without being asked: none, one jar for each API key, or one for all."""
    transcript: bool = False
    """Sends all that was said before, not only what is new."""
    raw: bool = False
    """Of an API without messages, which has a memory only where a request names its conversation."""
    tools: bool = False
    """Offers a tool, and runs it when it is asked for."""
    spelling_bytes: int = 80
    """What a turn, as its API spells it, has besides its texts: at most."""
    shows_headers: bool = True
    """Its user can see the receipt."""

    @property
    def long(self) -> str:
        """Why it runs with ``--long`` only; empty if it always does."""
        if self.home in ("venv", "npm"):
            return f"{self.name}: its packages are installed by scripts/clients"
        return ""

    @property
    def chains(self) -> bool:
        """Of an API that can name the response before, so that without a name each is a beginning."""
        return "response" in self.ways

    @property
    def tool_ways(self) -> tuple[Way, ...]:
        """How its conversation is named where it calls tools: once for each way to tell the loop."""
        ways: tuple[Way, ...] = ("header", "response") if self.chains else ("header",)
        return ways if self.tools else ()


TOOL: Mapping[str, object] = {
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
"""What a client with tools offers; where its SDK makes this from a function, the program has that."""


class Asked(NamedTuple):
    """A turn of a plan."""

    token: str
    text: str


class Said(NamedTuple):
    """What came back."""

    text: str
    receipt: str | None
    """``None``: the client does not show it, or there was none."""
    conversation: str | None


class Talk(NamedTuple):
    """A run of a client."""

    version: str
    said: list[Said]

    @property
    def texts(self) -> list[str]:
        """The replies."""
        return [said.text for said in self.said]


async def talk(
    client: Client,
    folder: Path,
    url: str,
    turns: Sequence[Asked],
    *,
    stream: bool = False,
    tool: bool = False,
    headers: Mapping[str, str] | None = None,
    prefix: str = "",
    chain: bool = False,
) -> Talk:
    """Run the client from its start to its end; skips the test if it is not installed.

    Args:
        client: which.
        folder: empty, and the client's to write to.
        url: of a server: scheme, host and port.
        turns: asked one after the other, by one process.
        stream: ask for streamed answers.
        tool: offer ``TOOL``.
        headers: sent with each request.
        prefix: put behind ``url``, in front of the path that the client adds itself.
        chain: name the response before.
    """
    plan = {
        "url": url + prefix,
        "headers": dict(headers or {}),
        "stream": stream,
        "tool": TOOL if tool else None,
        "chain": chain,
        "turns": [turn._asdict() for turn in turns],
    }
    process = await asyncio.create_subprocess_exec(
        *command(client),
        cwd=folder,
        env=clean_environment(folder),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            out, err = await process.communicate(json.dumps(plan).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{client.name}:\n{err.decode()[-4000:]}"
    first, *lines = (json.loads(line) for line in out.splitlines())
    assert len(lines) == len(turns)
    return Talk(first["version"], [_said(line) for line in lines])


def command(client: Client) -> list[str]:
    """What starts the client's program."""
    program = str(HERE / client.program)
    if client.home in ("node", "npm"):
        node = shutil.which("node")
        if node is None or (client.home == "npm" and not (MODULES / "installed").exists()):
            missing = "node" if node is None else client.name
            pytest.skip(f"server missing: {missing} (./scripts/clients, with npm)")
        return [node, program]
    python = Path(sys.executable) if client.home == "here" else VENV / "bin/python"
    if not python.exists():
        pytest.skip(f"server missing: {client.name} (./scripts/clients)")
    return [str(python), "-P", program]  # -P: a program may be called as what it imports


def clean_environment(folder: Path) -> dict[str, str]:
    """This process's, less what would change a client, and a home of its own."""
    unwanted = ("_proxy", "_PROXY")
    products = ("AI", "ANTHROPIC", "LANGCHAIN", "LANGSMITH", "LITELLM", "LLM", "OLLAMA", "OPENAI")
    prefixes = tuple(f"{name}_" for name in products)
    kept = {
        name: value
        for name, value in environment().items()
        if not name.endswith(unwanted) and not name.startswith(prefixes)
    }
    return kept | {"HOME": os.fspath(folder)}


def _said(line: dict[str, Any]) -> Said:
    return Said(line["text"], line["receipt"], line["conversation"])

"""A real model behind a real llama.cpp, through each API that it speaks: it remembers only with us.

Of the answers only the number is looked at; such a small model's prose is its own.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.wire.conftest import StartProxy

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-llm/bin/python"
NUMBER = "94572"
QUESTIONS = (f"Repeat the number '{NUMBER}'.", "What number did you repeat?")

pytestmark = pytest.mark.long("a real model answers twenty times on one thread")


def _chat(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


APIS: dict[str, tuple[str, str, Any]] = {
    "/v1/chat/completions": ("messages", "max_tokens", _chat),
    "/v1/completions": ("prompt", "max_tokens", str),
    "/v1/responses": ("input", "max_output_tokens", str),
    "/v1/messages": ("messages", "max_tokens", _chat),
    "/completion": ("prompt", "n_predict", str),
}


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    """The address of llama.cpp's server with SmolLM2-135M-Instruct."""
    if not PYTHON.exists():
        installed = subprocess.run([ROOT / "scripts/demo-llm"], capture_output=True, check=False)
        if installed.returncode == 3:
            pytest.skip("server missing: xllamacpp")
    command: list[str | Path] = [PYTHON, "-P", ROOT / "scripts/demo_llm.py", "serve-model"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = next((line for line in process.stdout if "http://" in line), "")
        assert said, "llama.cpp did not start"
        yield "http://" + said.partition("http://")[2].split()[0]
    finally:
        process.stdin.close()  # it ends with its standard input
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(
    client: aiohttp.ClientSession, url: str, path: str, question: str, *, stream: bool
) -> str:
    field, limit, spelled = APIS[path]
    body = {field: spelled(question), limit: 40, "temperature": 0, "stream": stream}
    named = {"Backstory-Conversation": "c"}
    async with client.post(url + path, json=body, headers=named) as answer:
        assert answer.status == 200
        return await answer.text()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", APIS)
async def test_a_real_model_knows_the_number_only_through_backstory(
    path: str, stream: bool, model: str, start_proxy: StartProxy, client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(model, auth="off")
    async with asyncio.timeout(240):
        assert NUMBER not in await ask(client, model, path, QUESTIONS[1], stream=stream)
        for question in QUESTIONS:
            await ask(client, proxy.url, path, question, stream=stream)
        async with client.get(f"{proxy.url}/-/v1/conversations/c/turns") as answer:
            turns = (await answer.json())["turns"]
    assert len(turns) == len(QUESTIONS)
    assert NUMBER in json.dumps(turns[-1]["messages"][1:])

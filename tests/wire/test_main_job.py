"""The main job, as a person does it: curl, a cookie jar, and a stateless API that remembers.

What is typed stands here as it stands in ``README.md``; only the address is another.
"""

import asyncio
import json
import shlex
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.wire.answers import falcon_answer
from tests.wire.connection import DEADLINE_SECONDS
from tests.wire.server import Server, environment, reserved_port
from tests.wire.shell import typed
from tests.wire.upstreams import RecordingUpstream

ROOT = Path(__file__).parents[2]
EXPORT = """\
export JWT_TOKEN="Bearer $(scripts/jwt_util.py --secret "$JWT_SECRET" encode '{"team_id": "tenstorrent", "token_id":"debug-test"}')"
"""
CURL = """\
curl -X POST http://127.0.0.1:7001/conversation/falcon-40b-instruct -b cookies.txt -c cookies.txt -L \\
  -H 'accept: */*' -H 'Content-Type: application/json' -H "Authorization: ${JWT_TOKEN}" \\
  -d '"""
FIELDS = '"top_k": 1, "top_p": 0.9, "temperature": 0.7, "max_tokens": 32, "stop_sequence": "."}'
REPEAT = CURL + r"""{"text": "Repeat the number '\''94572'\''.", """ + FIELDS + "'\n"
RECALL = CURL + '{"text": "What number did you repeat?", ' + FIELDS + "'\n"

FIRST = "Repeat the number '94572'."
SECOND = "What number did you repeat?"
SAID = " 94572<|endoftext|>"
"""What the recording upstream answers, in the manner of Falcon."""

ODD = (
    r'{ "top_k" :1,"top_p":0.10,  "temperature": 1E400, "stop_sequence":"\u002e\/", "n": 1, "n": 2,'
    r' "nested": {"text": "\ud83d\ude00 not me"}, "big": 12345678901234567890123, "last": -0.0,'
    r' "text" : "What \"number\"\u003f é" , "max_tokens" : 32 } '
)
"""JSON whose spelling anybody would change who reads it and writes it again."""


@pytest.fixture(autouse=True)
def _curl() -> None:
    if shutil.which("curl") is None:
        pytest.skip("server missing: curl, which people try it with")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the lines are typed: beside ``scripts``, with an empty cookie jar at most."""
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    return tmp_path


def with_text(body: str, spelled: str, text: str) -> bytes:
    """``body`` with ``text`` in place of the value that is spelled so, and nothing else changed."""
    value = f'"{spelled}"'
    assert body.count(value) == 1
    return body.replace(value, json.dumps(text, ensure_ascii=False)).encode()


def test_what_is_typed_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for lines in (EXPORT, REPEAT, RECALL):
        assert lines in readme


async def test_the_second_request_carries_the_first_and_no_other_byte_changes(
    folder: Path, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = falcon_answer(" 94572")
    with reserved_port() as port:
        async with Server(folder, port, recording_upstream.url) as server:
            assert await typed(EXPORT + REPEAT, folder, server.url) == SAID
            assert await typed(EXPORT + RECALL, folder, server.url) == SAID
            assert await server.kill() == -9
            await server.start()
            assert await typed(EXPORT + RECALL, folder, server.url) == SAID
            assert server.complaints() == []
    first, second, third = recording_upstream.requests
    told = f"Human: {FIRST}\nAI:  94572\n"
    asked = f'{{"text": "{SECOND}", {FIELDS}'
    assert first.body == with_text(asked, SECOND, f"Human: {FIRST}\nAI: ")
    assert second.body == with_text(asked, SECOND, f"{told}Human: {SECOND}\nAI: ")
    told += f"Human: {SECOND}\nAI:  94572\n"
    assert third.body == with_text(asked, SECOND, f"{told}Human: {SECOND}\nAI: ")
    for request in (first, second, third):
        assert request.target == b"/conversation/falcon-40b-instruct"
        assert request.values(b"cookie") == []


async def test_whatever_its_spelling_the_rest_of_the_json_stays_as_it_was_sent(
    folder: Path, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = falcon_answer(" 94572")
    with reserved_port() as port:
        async with Server(folder, port, recording_upstream.url) as server:
            await typed(EXPORT + REPEAT, folder, server.url)
            await typed(EXPORT + CURL + ODD + "'", folder, server.url)
    told = f'Human: {FIRST}\nAI:  94572\nHuman: What "number"? é\nAI: '
    spelled = r"What \"number\"\u003f é"
    assert recording_upstream.requests[1].body == with_text(ODD, spelled, told)


async def test_the_demo_upstream_itself_forgets(folder: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "backstory", "demo-upstream", "--listen", "127.0.0.1:0"),
        stdout=PIPE,
        env=environment(),
    )
    assert demo.stdout is not None
    try:
        url = (await demo.stdout.readline()).decode().split()[-1]
        assert "94572" in await typed(EXPORT + REPEAT, folder, url)
        said = await typed(EXPORT + RECALL, folder, url)
    finally:
        demo.terminate()
        await demo.communicate()
    assert said.startswith("I don't know")
    assert "94572" not in said


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with ``scripts/run`` whose environment is there already: ours.

    What the first start installs is in ``tests/repo``.
    """
    root = tmp_path / "a clone"
    (root / "scripts").mkdir(parents=True)
    (root / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/run", root / "scripts")
    for name, text in (
        ("scripts/install", "exit 0"),
        (".venv/bin/python", f'exec {shlex.quote(sys.executable)} "$@"'),
    ):
        (root / name).write_text(f"#!/bin/sh\n{text}\n")
        (root / name).chmod(0o755)
    return root


@asynccontextmanager
async def running(clone: Path, port: int) -> AsyncIterator[list[str]]:
    """The lines that ``./scripts/run`` prints, while it runs; then it is killed."""
    run = await asyncio.create_subprocess_exec(
        *("./scripts/run", "--listen", f"127.0.0.1:{port}"),
        cwd=clone,
        env=environment(),
        stdout=PIPE,
        stderr=PIPE,
    )
    assert run.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(lines) < 4 and (line := (await run.stdout.readline()).decode()):
                lines.append(line)
        yield lines
    finally:
        run.kill()
        rest, complaints = await run.communicate()
    assert len(lines) == 4, complaints.decode()
    assert rest == b"", "more lines than are to be pasted"
    assert b"Traceback" not in complaints


async def test_scripts_run_prints_lines_that_show_the_memory_when_they_are_pasted(
    clone: Path, tmp_path: Path
) -> None:
    with reserved_port() as port:
        async with running(clone, port) as (export, *curls):
            assert export.startswith("export JWT_TOKEN=")
            assert [line.split()[0] for line in curls] == ["curl"] * 3
            repeat, recall, look = curls
            assert "94572" in await typed(export + repeat, tmp_path)
            assert "94572" in await typed(export + recall, tmp_path)
            turns = json.loads(await typed(export + look, tmp_path))["turns"]
        async with running(clone, port):
            assert "94572" in await typed(export + recall, tmp_path)  # those of the first start
            more = json.loads(await typed(export + look, tmp_path))["turns"]
    asked = [turn["messages"][0]["content"] for turn in turns]
    assert asked == [FIRST, SECOND]
    assert all("94572" in turn["messages"][1]["content"] for turn in turns)
    assert more[:2] == turns
    assert len(more) == 3

"""``./scripts/demo-llm``, run as a user does: a real model forgets without Backstory, not with it.

Of the model's answers only the number is looked at; such a small model's prose is its own.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
NUMBER = "94572"
CANNOT_BE_INSTALLED = 3

KNOW_ALL = f"""
import http.server, json

class Always(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        message = {{"role": "assistant", "content": "It is {NUMBER}."}}
        choice = {{"index": 0, "message": message, "finish_reason": "stop"}}
        answer = json.dumps({{"object": "chat.completion", "choices": [choice]}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

server = http.server.HTTPServer(("127.0.0.1", 0), Always)
print("listening on http://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
"""


class Demo:
    """A run of the demo, in a process group and with a folder for temporary files of its own."""

    def __init__(self, folder: Path, *command: str | Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> tuple[int, str, str]:
        """Exit status, standard output and standard error; nothing may be left behind."""
        said, progress = self.process.communicate(timeout=240)
        if self.process.returncode == CANNOT_BE_INSTALLED:
            pytest.skip(f"server missing: xllamacpp: {progress[-500:]}")
        with pytest.raises(ProcessLookupError):  # no process is left in the group
            os.killpg(self.process.pid, 0)
        assert list(self.folder.iterdir()) == []
        return self.process.returncode, said, progress


def demo_with(model: str, folder: Path) -> Demo:
    """The demo, with a program of ours in place of llama.cpp."""
    root, temporary = folder / "root", folder / "tmp"
    for new in (root / "scripts", root / ".venv-llm/bin", temporary):
        new.mkdir(parents=True)
    script = shutil.copy(SCRIPTS / "demo_llm.py", root / "scripts")
    (root / "model.py").write_text(model)
    python = root / ".venv-llm/bin/python"
    words = shlex.join([sys.executable, str(root / "model.py")])
    python.write_text(f"#!/bin/sh\nexec {words}\n")
    python.chmod(0o755)
    return Demo(temporary, sys.executable, "-P", script)


def answers(said: str, question: str) -> tuple[str, str]:
    """What stands below ``question``: directly, and through Backstory."""
    block = said.split(f"> {question}\n")[1].split("\n> ")[0].rpartition("\n\n")[0]
    cells = [line.partition(" | ") for line in block.splitlines() if line.strip()]
    return " ".join(cell[0] for cell in cells), " ".join(cell[2] for cell in cells)


def test_a_real_model_knows_the_number_only_through_backstory(tmp_path: Path) -> None:
    status, said, progress = Demo(tmp_path, SCRIPTS / "demo-llm").finish()
    assert status == 0, progress
    directly, through = answers(said, "What number did you repeat?")
    assert NUMBER in through
    assert NUMBER not in directly


def test_a_model_that_knows_the_number_anyhow_proves_nothing(tmp_path: Path) -> None:
    status, said, progress = demo_with(KNOW_ALL, tmp_path).finish()
    assert status == 1, progress
    assert all(NUMBER in answer for answer in answers(said, "What number did you repeat?"))


def test_a_model_that_does_not_start_is_told_with_what_it_said(tmp_path: Path) -> None:
    status, said, progress = demo_with("raise SystemExit('no such file')", tmp_path).finish()
    assert (status, said) == (2, "")
    assert "SmolLM2-135M-Instruct did not start" in progress
    assert "no such file" in progress


@pytest.mark.parametrize(
    ("send", "number"),
    [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM), (os.killpg, signal.SIGHUP)],
    ids=["Ctrl-C", "kill", "closed terminal"],
)
def test_a_demo_that_is_stopped_leaves_nothing_behind(
    tmp_path: Path, send: Callable[[int, int], None], number: int
) -> None:
    demo = demo_with(KNOW_ALL, tmp_path)
    assert demo.process.stderr is not None
    assert "SmolLM2" in demo.process.stderr.readline()
    assert "listens" in demo.process.stderr.readline()
    send(demo.process.pid, number)  # while Backstory is started
    status, _, progress = demo.finish()
    assert status == 128 + number, progress

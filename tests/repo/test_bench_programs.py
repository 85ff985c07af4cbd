"""The bench's programs: that a measurement cannot go wrong unnoticed.

The load client says of each wrong answer that it is one, and the mock's answers are such that Backstory
remembers them.
"""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from scripts.bench.asking import Client
from scripts.bench.failure import Failure
from scripts.bench.peers import Peer, naive
from scripts.bench.serving import Server
from tests.repo.bench_programs import program

from backstory.model import Answer, Verdict
from backstory_plugins.dialects.openai_chat import OpenAIChat

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EVENTS_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
RECEIPT = b"Backstory-Memory: new;turns=0\r\n"
ONE, END = b"9\r\ndata: 1\n\n\r\n", b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"

WRONG = {
    "an error status": ("status", [], b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
    "a short body": ("cut", [], JSON_HEAD + b"Content-Length: 9\r\n\r\n{}"),
    "no end but the connection's": ("malformed", [], JSON_HEAD + b"\r\n{}"),
    "bytes behind the end": ("malformed", [], JSON_HEAD + b"Content-Length: 2\r\n\r\n{}HTTP"),
    "half an object": ("malformed", [], JSON_HEAD + b'Content-Length: 2\r\n\r\n{"'),
    "no receipt": ("forgotten", ["--remembers"], JSON_HEAD + b"Content-Length: 2\r\n\r\n{}"),
    "no answer": ("cut", [], b""),
    "a cut stream": ("cut", ["--events", "2"], EVENTS_HEAD + ONE + END[:-5]),
    "a missing event": ("events", ["--events", "3"], EVENTS_HEAD + ONE + END),
    "a missing end": ("events", ["--events", "2"], EVENTS_HEAD + ONE + ONE + b"0\r\n\r\n"),
    "a size that is none": ("malformed", ["--events", "2"], EVENTS_HEAD + b"x\r\n"),
    "an object for a stream": (
        "malformed",
        ["--events", "2"],
        JSON_HEAD + b"Content-Length: 2\r\n\r\n{}",
    ),
}
RIGHT = {
    "an object": ([], JSON_HEAD + b"Content-Length: 2\r\n\r\n{}"),
    "a receipt": (["--remembers"], JSON_HEAD + RECEIPT + b"Content-Length: 2\r\n\r\n{}"),
    "a stream": (["--events", "2"], EVENTS_HEAD + ONE + END),
}


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    """The address of the mock upstream."""
    command = [str(program("mock"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield urlsplit(process.stdout.readline().split()[-1].decode()).netloc
        process.terminate()


def ask(mock: str, query: str) -> tuple[HTTPResponse, bytes]:
    """An answer of the mock, its framing proved and taken off."""
    connection = HTTPConnection(mock)
    connection.request("POST", "/v1/chat/completions" + query, iter([b"{", b"}"]))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def load(port: int, *options: str, status: int = 0) -> dict[str, dict[str, int]]:
    """What the load client says after one request."""
    command = [str(program("load")), "--port", str(port), "--connections", "1", "--requests", "1"]
    ran = subprocess.run([*command, *options], capture_output=True, check=False, timeout=60)
    assert ran.returncode == status, ran
    found: dict[str, dict[str, int]] = json.loads(ran.stdout)
    return found


@pytest.fixture
def answers() -> Iterator[list[bytes]]:
    """Whoever asks at the port, which is the first item's number, gets the second item."""
    script: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script.append(b"%d" % listener.getsockname()[1])

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while not received.endswith(b"}"):
                    received += connection.recv(65536)
                connection.sendall(script[1])

        thread = threading.Thread(target=serve)
        thread.start()
        yield script
        thread.join()


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_answer_is_an_error(fault: str, answers: list[bytes]) -> None:
    kind, options, answer = WRONG[fault]
    answers.append(answer)
    found = load(int(answers[0]), *options, status=1)
    assert {name for name, count in found["kinds"].items() if count} == {kind}


@pytest.mark.parametrize("name", RIGHT)
def test_a_complete_answer_is_none(name: str, answers: list[bytes]) -> None:
    options, answer = RIGHT[name]
    answers.append(answer)
    assert not any(load(int(answers[0]), *options)["kinds"].values())


@pytest.mark.parametrize(
    ("query", "events"),
    [("", 0), ("?events=3&interval_us=1000", 5), ("?events=2000&interval_us=0", 2002)],
)
def test_the_answers_of_the_mock_are_remembered(mock: str, query: str, events: int) -> None:
    answer, body = ask(mock, query)
    assert answer.status == 200
    assert body.count(b"data: ") == events
    media_type = answer.headers.get_content_type()
    dialect = OpenAIChat()
    prompt = dialect.read_prompt(json.dumps(QUESTION).encode())
    assert prompt is not None
    assert (
        dialect.read_reply(prompt, Answer(200, media_type, body, proved=True)).verdict
        is Verdict.COMPLETE
    )


def test_a_wrong_answer_ends_the_measurement(mock: str, tmp_path: Path) -> None:
    forgetful = Server("mock", 0, int(mock.partition(":")[2]), tmp_path)
    peer = Peer("forgetful", "mock", naive().start, ("--remembers",))
    with pytest.raises(Failure, match=r"forgetful: INVALID.*forgotten"):
        Client(program("load")).ask(forgetful, peer, 3, "--requests", "9")

"""A run of the load client, and what it saw. One error makes the whole measurement invalid."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.failure import Failure
from scripts.bench.peers import Peer
from scripts.bench.serving import Server

PATH = "/v1/chat/completions"
LONGEST_SECONDS = 180


@dataclass(frozen=True)
class Seen:
    """What a load client saw, all answers complete."""

    requests: int
    events: int
    seconds: float
    latency_p50_us: int
    latency_p99_us: int
    first_byte_p50_us: int
    first_byte_p99_us: int


@dataclass(frozen=True)
class Stream:
    """Of what streams are: so many pieces of text, so far apart."""

    events: int
    interval_us: int

    def options(self) -> list[str]:
        """The answer that is asked for, and how many events it has with the two that end it."""
        target = f"{PATH}?events={self.events}&interval_us={self.interval_us}"
        return ["--path", target, "--events", str(self.events + 2)]


@dataclass(frozen=True)
class Client:
    """The load client's program."""

    program: Path

    def ask(self, server: Server, peer: Peer, connections: int, *options: str) -> Seen:
        """Load for as long as ``options`` say.

        Raises:
            Failure: an answer was missing, wrong or incomplete.
        """
        command = self._command(server, peer, connections, options)
        ran = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
        )
        return _read(peer, ran.stdout, ran.stderr)

    @contextmanager
    def holding(
        self, server: Server, peer: Peer, connections: int, *options: str
    ) -> Iterator[None]:
        """All connections are open in here; a stream has had as many events as ``options`` say."""
        command = self._command(server, peer, connections, ("--hold", *options))
        process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                said = process.stdout.readline()
                if "holding" in said:
                    yield
                    process.stdin.close()
                    said = process.stdout.readline()
                _read(peer, said, process.stderr.read())
            finally:
                process.terminate()

    def _command(
        self, server: Server, peer: Peer, connections: int, options: tuple[str, ...]
    ) -> list[str]:
        command = [str(self.program), "--port", str(server.port), *peer.asks]
        return [*command, "--connections", str(connections), *options]


def _read(peer: Peer, said: str, complaints: str) -> Seen:
    try:
        found = json.loads(said)
    except ValueError as exc:
        raise Failure(f"{peer.name}: the load client failed: {complaints or said}") from exc
    if found["errors"]:
        kinds = {kind: count for kind, count in found["kinds"].items() if count}
        status = f", status {found['status']}" if found["status"] else ""
        raise Failure(f"{peer.name}: INVALID, wrong answers: {kinds}{status}")
    return Seen(
        found["requests"],
        found["events"],
        found["seconds"],
        found["latency_us"]["p50"],
        found["latency_us"]["p99"],
        found["first_byte_us"]["p50"],
        found["first_byte_us"]["p99"],
    )

"""Forks a whole server for every ``start`` on standard input, from one that has imported everything.

``SIGKILL`` and ``SIGTERM`` on standard input send that signal to the server; its exit status follows
on standard output. The end of standard input kills it. The arguments are those of ``backstory serve``;
with ``--without-hold-back`` before them the server has a bug, to show that a test would see it.
"""

import os
import signal
import sys
from collections.abc import Sequence
from unittest.mock import patch

from backstory import serve
from backstory.tee import Tee
from backstory_plugins.dialects import falcon, openai_chat
from backstory_plugins.stores import sqlite

IMPORTED = (falcon, openai_chat, sqlite)
"""What the server would import by itself, at every start again."""


class LeakyTee(Tee):
    """Nothing waits for the commit: the client sees the end of an answer as soon as it comes."""

    _late = b""

    def feed(self, chunk: bytes) -> bytes:
        """Everything, at once."""
        if self.marked:  # nobody sends what this returns, but what ``release`` does
            self._late += chunk
        super().feed(chunk)
        return chunk

    def release(self) -> bytes:
        """What came behind the marker."""
        return self._late


def main(arguments: Sequence[str]) -> int:
    """Obey standard input; in the server's process, its exit status."""
    if arguments[:1] == ["--without-hold-back"]:
        arguments = arguments[1:]
        patch("backstory.stages.memory.Tee", LeakyTee).start()
    server = 0
    for line in iter(sys.stdin.readline, ""):
        command = line.strip()
        if command == "start":
            server = os.fork()
            if not server:
                return _serve(list(arguments))
        else:
            os.kill(server, signal.Signals[command])
            sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(server, 0)[1])}\n")
            sys.stdout.flush()
            server = 0
    if server:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    return 0


def _serve(arguments: list[str]) -> int:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)  # what is written to the launcher is not for us
    os.dup2(nothing, 1)
    os.close(nothing)
    return serve.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

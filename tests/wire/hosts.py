"""Processes of somebody else that run the proxy, started as the documentation says."""

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.wire.server import Server

DOCS = Path(__file__).parents[2] / "docs"


def example(page: str, language: str, marker: str) -> str:
    """The one block of a page in this language that holds ``marker``."""
    blocks = re.findall(
        rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL
    )
    [found] = [block for block in blocks if marker in block]
    return str(found)


class Gunicorn(Server):
    """gunicorn, as a page says to start it, but for the address."""

    READY = "Listening at: "

    def __init__(
        self,
        directory: Path,
        port: int,
        upstream: str,
        page: str,
        env: Mapping[str, str] | None = None,
        *,
        serves: str | None = None,
    ) -> None:
        """``serves``: in place of what the page says that it serves."""
        super().__init__(
            directory, port, upstream, {"BACKSTORY_UPSTREAM": upstream} | dict(env or {})
        )
        words = shlex.split(example(page, "bash", "gunicorn ").replace("\\\n", " "))
        assert words[0] == "gunicorn"
        words[words.index("--bind") + 1] = f"127.0.0.1:{port}"
        if serves is not None:
            words[1] = serves
        self._words = words

    def program(self) -> tuple[str, ...]:
        """See ``Server``."""
        # The socket by which gunicorn is controlled lies at one place for all of a user's.
        return (sys.executable, "-m", *self._words, "--no-control-socket")

    def is_bad(self, line: str) -> bool:
        """See ``Server``: lines of gunicorn's own are none of ours."""
        if line.startswith("{"):
            return super().is_bad(line)
        return not re.match(r"\[[^]]+\] \[\d+\] \[INFO\] ", line)

    @property
    def workers(self) -> list[int]:
        """The process of each worker that was started so far."""
        said = (re.search(r"Booting worker with pid: (\d+)", line) for line in self.said)
        return [int(found[1]) for found in said if found]


class Script(Server):
    """A Python file that calls ``web.run_app``."""

    READY = "======== Running on "

    def __init__(self, file: Path, port: int, upstream: str) -> None:
        """``file``: in the directory where it runs."""
        env = {"BACKSTORY_UPSTREAM": upstream, "PYTHONUNBUFFERED": "1"}
        super().__init__(file.parent, port, upstream, env)
        self._file = file

    def program(self) -> tuple[str, ...]:
        """See ``Server``. It says its address on standard output."""
        return ("/bin/sh", "-c", 'exec "$0" "$1" >&2', sys.executable, str(self._file))

"""The containers of ``compose.yml`` as processes of this machine, started as the file says.

Only the ports and the folders are others, and the services find each other on the loopback.
"""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from compose_spec import PyCompose
from tests.repo.confined import confine, why_not
from tests.repo.image import ROOT, Image

SECRET = "a secret of the clients, 32 bytes and more"
CONFINED = why_not()
"""Why the processes cannot be confined on this machine; empty if they are."""

_VARIABLE = re.compile(r"\$\{(\w+):([?-])([^}]*)\}")


def services() -> dict[str, Any]:
    """The services of ``compose.yml``, read by a parser that knows the specification."""
    compose: dict[str, Any] = PyCompose.from_yaml((ROOT / "compose.yml").read_text()).to_dict()
    found: dict[str, Any] = compose["services"]
    return found


def filled_in(value: str, given: Mapping[str, str]) -> str:
    """``value`` with ``${NAME:?…}`` and ``${NAME:-…}`` as compose fills them in."""

    def found(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if kind == "?" and not given.get(name):
            raise LookupError(f"{name}: {rest}")
        return given.get(name) or rest

    return _VARIABLE.sub(found, value)


class Containers:
    """A proxy and its upstream, on ports of this machine that are free."""

    def __init__(self, image: Image, proxy: int, upstream: int) -> None:
        """``proxy``, ``upstream``: what stands for 7001 and for 7002."""
        self.image = image
        self.port = proxy
        self._ports = {"7001": str(proxy), "7002": str(upstream)}

    def here(self, text: str) -> str:
        """``text`` with the names, the ports and the folders of this machine."""
        text = text.replace("//upstream:", "//127.0.0.1:")
        text = re.sub(r"\b700[12]\b", lambda port: self._ports[port[0]], text)
        return self.image.place(text)

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """All that a process finds in its environment."""
        of_image = {name: self.here(value) for name, value in self.image.env.items()}
        of_service = service.get("environment", {})
        given = {"JWT_SECRET": SECRET}
        return of_image | {k: self.here(filled_in(v, given)) for k, v in of_service.items()}

    def start(
        self, service: Mapping[str, Any], words: list[str], **options: Any
    ) -> subprocess.Popen[str]:
        """Start ``words`` in the image, with as little as the service leaves them."""
        command = [self.here(word) for word in words]
        environment = self.environment(service)
        command[0] = shutil.which(command[0], path=environment["PATH"]) or command[0]
        data = Path(self.image.place("/data"))
        if not CONFINED:
            user = self.image.said["USER"].partition(":")[0]
            command = confine(command, self.image.root, data, user)
            environment["PATH"] += ":/usr/sbin:/sbin"
        return subprocess.Popen(command, cwd=data, env=environment, text=True, **options)

    @contextmanager
    def running(self, service: Mapping[str, Any]) -> Iterator[None]:
        """The service has said that it listens; at the end it is stopped as an engine stops it."""
        words = self.image.words("ENTRYPOINT") + service.get("command", self.image.words("CMD"))
        pipe, both = subprocess.PIPE, subprocess.STDOUT
        with self.start(service, words, stdout=pipe, stderr=both, bufsize=1) as process:
            try:
                said = ""
                assert process.stdout is not None
                while " on http" not in said.rpartition("\n")[2]:
                    line = process.stdout.readline()
                    assert line, f"it ended: {said}"
                    said += "\n" + line.rstrip("\n")
                yield
                process.send_signal(getattr(signal, self.image.said["STOPSIGNAL"]))
                assert process.wait(30) == 0
            finally:
                process.kill()

    def health(self, service: Mapping[str, Any]) -> int:
        """The exit status of the service's health check, or else of the image's."""
        ours = ["CMD", *self.image.words("HEALTHCHECK")]
        kind, *words = service.get("healthcheck", {}).get("test", ours)
        assert kind == "CMD"
        return self.start(service, words, stderr=subprocess.DEVNULL).wait(30)

    def token(self, service: Mapping[str, Any]) -> str:
        """A client's token, made in the container as ``docs/deploy/container.md`` says."""
        claims = '{"team_id": "tenstorrent", "token_id": "debug-test"}'
        words = ["backstory", "token", "encode", claims]
        with self.start(service, words, stdout=subprocess.PIPE) as process:
            return process.communicate()[0].strip()

    def ask(self, text: str, token: str) -> str:
        """What the model answers in the one conversation of this test."""
        fields = {"Authorization": f"Bearer {token}", "Backstory-Conversation": "container"}
        body = json.dumps({"text": text, "max_tokens": 32})
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", "/conversation/falcon-40b-instruct", body, fields)
            answer = connection.getresponse()
            said = answer.read().decode()
        assert answer.status == 200, said
        return said

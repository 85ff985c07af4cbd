"""Who is measured: how each is started, and what its clients send.

A peer is a server and a way to ask it: Backstory with its memory and without are two peers in one
server, because both are what a client may choose.
"""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from scripts.bench.failure import Failure
from scripts.bench.serving import Server, running

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CLAIMS = '{"team_id": "bench", "token_id": "bench"}'
SETTING = re.compile(r"BACKSTORY_|(JWT_SECRET|FLASK_SECRET|TT_API_JWT)$")

NGINX = """
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile {files};
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 2048;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


class Start(Protocol):
    """How a server is started in front of an upstream."""

    def __call__(
        self, upstream: Server, folder: Path, cores: frozenset[int]
    ) -> AbstractContextManager[Server]:
        """The server, listening, for as long as the context lasts."""


@dataclass(frozen=True)
class Peer:
    """One that is measured. Peers with the same ``server`` share the process."""

    name: str
    server: str
    start: Start
    asks: tuple[str, ...] = ("--naming", "none")
    """Options of the load client."""
    with_memory_figures: bool = True


def naive() -> Peer:
    """aiohttp's relay without anything else."""

    def start(
        upstream: Server, folder: Path, cores: frozenset[int]
    ) -> AbstractContextManager[Server]:
        command = [sys.executable, "-P", str(HERE / "naive.py"), upstream.url]
        return running("naive", command, folder, cores)

    return Peer("naive", "naive", start)


def backstory(
    checkout: Path = ROOT, name: str = "backstory", under: tuple[str, ...] = ()
) -> tuple[Peer, Peer]:
    """The whole job of a checkout's Backstory, and the same server told to remember nothing.

    ``under``: options of Python that run it in a profiler.
    """
    python = checkout / ".venv/bin/python"
    if not python.exists():
        raise Failure(f"{checkout} is not installed: run its scripts/install")
    secret = secrets.token_urlsafe(32)

    @contextmanager
    def start(upstream: Server, folder: Path, cores: frozenset[int]) -> Iterator[Server]:
        place = folder / name.replace("/", "-")
        command = [str(python), "-P", *under, "-m", "backstory", "serve"]
        command += ["--upstream", upstream.url, "--listen", "127.0.0.1:0", "--auth", "jwt"]
        command += ["--store", "sqlite:///" + quote(str(place / "backstory.db"))]
        env = {key: value for key, value in os.environ.items() if not SETTING.match(key)}
        env.pop("PYTHONPATH", None)
        env["BACKSTORY_JWT_SECRET"] = secret
        with running(name, command, place, cores, env=env) as server:
            yield server

    authorization = ("--header", f"Authorization: Bearer {_token(secret)}")
    off = (*authorization, "--header", "Backstory-Memory: off", "--naming", "none")
    whole = (*authorization, "--naming", "cookie", "--remembers")
    return Peer(name, name, start, whole), Peer(f"{name} off", name, start, off, False)


def nginx() -> Peer:
    """nginx as a relay that buffers nothing.

    Raises:
        Failure: it is not installed.
    """
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise Failure("nginx is not installed")

    @contextmanager
    def start(upstream: Server, folder: Path, cores: frozenset[int]) -> Iterator[Server]:
        place = folder / "nginx"
        place.mkdir(parents=True, exist_ok=True)
        with socket.socket() as held:  # bound and never listening: Linux lets nginx bind it as well
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            config = place / "nginx.conf"
            config.write_text(NGINX.format(port=port, upstream=upstream.port, files=16384))
            command = [str(program), "-e", "stderr", "-p", str(place), "-c", str(config)]
            ready = re.compile("using the ")
            with running("nginx", command, place, cores, ready=ready, port=port) as server:
                yield server

    return Peer("nginx", "nginx", start)


def _token(secret: str) -> str:
    command = [sys.executable, "-P", "-m", "backstory", "token", "encode", CLAIMS]
    env = {**os.environ, "BACKSTORY_JWT_SECRET": secret}
    made = subprocess.run(command, env=env, capture_output=True, text=True, check=True)  # noqa: S603
    return made.stdout.strip()

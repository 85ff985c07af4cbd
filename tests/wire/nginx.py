"""A real nginx on a free port, with the configuration that is documented or with nginx's defaults."""

import asyncio
import datetime
import ipaddress
import os
import shutil
import ssl
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.wire.conftest import Proxy, StartProxy
from tests.wire.connection import DEADLINE_SECONDS
from tests.wire.server import reserved_port
from tests.wire.upstreams import RecordingUpstream

from backstory.tasks import Tasks

DOCUMENTED = Path(__file__).parents[2] / "docs/deploy/nginx.conf"

DEFAULTS = """
server {
    listen 443 ssl;
    ssl_certificate     /etc/ssl/certs/llm.example.pem;
    ssl_certificate_key /etc/ssl/private/llm.example.key;
    location / {
        proxy_pass http://127.0.0.1:7001;
    }
}
"""
"""What somebody writes who knows nothing of the documented file, or takes its lines out."""

# One process: nothing is left behind when it ends, and it needs no other user's permissions. With
# compression, as Debian's nginx.conf has it.
AROUND = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    gzip on;
    gzip_types text/plain;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
{}
}}
"""
NginxConfig = Literal["documented", "defaults"]

_READY = "using the "
"""What nginx says of its event method once it listens."""

_ALARMS = ("[emerg]", "[alert]", "[crit]")


class Nginx:
    """nginx in front of one server, by http and by https. An async context manager: entered, it listens."""

    def __init__(
        self,
        directory: Path,
        upstream: str,
        config: NginxConfig = "documented",
    ) -> None:
        """Not running yet.

        Args:
            directory: where it may write; not shared with another.
            upstream: scheme, host and port of what it stands in front of.
            config: ``docs/deploy/nginx.conf``, or nothing but a ``proxy_pass``.
        """
        self.said: list[str] = []
        """Each line of its log."""
        self._directory = directory
        self._upstream = urlsplit(upstream).netloc
        self._config = DOCUMENTED.read_text() if config == "documented" else DEFAULTS
        self._stack = ExitStack()
        self._tasks = Tasks()
        self._ready = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Listens now; skips the test if there is no nginx."""
        binary = shutil.which(
            "nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
        )
        if binary is None:
            pytest.skip("server missing: nginx")
        self._ports = [self._stack.enter_context(reserved_port()) for _ in range(2)]
        (self._directory / "nginx.conf").write_text(AROUND.format(self._adapted()))
        where = ("-p", str(self._directory), "-c", "nginx.conf", "-e", "stderr")
        self._process = await asyncio.create_subprocess_exec(
            binary, *where, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
        )
        _ = self._tasks.spawn(self._listen_to(self._process), name="nginx")  # held by _tasks
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._ready.wait()
        assert self._process.returncode is None, "\n".join(self.said)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Stopped; nothing that it logged was worse than an error of its peers."""
        self._process.terminate()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._process.wait()
        await self._tasks.settle(DEADLINE_SECONDS)
        self._stack.close()
        alarms = [line for line in self.said if any(level in line for level in _ALARMS)]
        assert kind is not None or not alarms, alarms

    @property
    def url(self) -> str:
        """By http."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def tls_url(self) -> str:
        """By https; ``tls`` trusts it."""
        return f"https://127.0.0.1:{self._ports[1]}"

    def tls(self) -> ssl.SSLContext:
        """What a client needs that wants to speak TLS with it."""
        context = ssl.create_default_context(cafile=self._directory / "cert.pem")
        context.verify_flags &= (
            ~ssl.VERIFY_X509_STRICT
        )  # Python 3.13's default wants a real authority
        return context

    def _adapted(self) -> str:
        """The configuration with our ports and files; every place must be there exactly once."""
        _certify(self._directory / "cert.pem", self._directory / "key.pem")
        http, https = self._ports
        places = {
            "listen 443 ssl;": f"listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;",
            "127.0.0.1:7001": self._upstream,
            "/etc/ssl/certs/llm.example.pem": "cert.pem",
            "/etc/ssl/private/llm.example.key": "key.pem",
        }
        config = self._config
        for place, ours in places.items():
            assert config.count(place) == 1, place
            config = config.replace(place, ours)
        return config

    async def _listen_to(self, process: Process) -> None:
        assert process.stderr is not None
        while line := (await process.stderr.readline()).decode().rstrip("\n"):
            self.said.append(line)
            if _READY in line:
                self._ready.set()
        self._ready.set()  # it has ended, ready or not


@dataclass(frozen=True)
class Place:
    """An nginx, the proxy behind it, and the upstream behind that."""

    nginx: Nginx
    proxy: Proxy
    upstream: RecordingUpstream


Start = Callable[..., Awaitable[Place]]

both = pytest.mark.parametrize("config", ["documented", "defaults"])
"""For tests that say what holds with either, or what does not hold with one of them."""


@asynccontextmanager
async def starting(
    directory: Path, upstream: RecordingUpstream, start_proxy: StartProxy
) -> AsyncIterator[Start]:
    """What starts a place, once; keywords are settings of the proxy. Its nginx is stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(config: NginxConfig = "documented", **settings: Any) -> Place:
            proxy = await start_proxy(settings.pop("upstream", upstream.url), **settings)
            nginx = await stack.enter_async_context(Nginx(directory, proxy.url, config))
            return Place(nginx, proxy, upstream)

        yield start


def _certify(cert_file: Path, key_file: Path) -> None:
    """Write a certificate for 127.0.0.1, for an hour, that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nginx of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

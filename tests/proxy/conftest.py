"""Our server on a real socket, asked with bytes; an upstream that keeps the bytes it was asked with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from aiohttp import web
from multidict import CIMultiDict

from backstory.app import create_app
from backstory.config import Config
from backstory.run_options import RUN_APP
from backstory.settings import Secret

SECRET = "a secret of the clients, of 32 bytes and more"
FALCON = b'{"text": "hello"}'

Fields = Iterable[tuple[str, str]]


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


class Server:
    """A server of ours that listens on a free port."""

    def __init__(self, app: web.Application, port: int) -> None:
        self.app = app
        self.port = port

    async def raw(self, request: bytes) -> bytes:
        """Everything that comes back until the server closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            async with asyncio.timeout(10):
                return await reader.read(-1)
        finally:
            writer.close()

    async def ask(self, request: bytes, *, head_only: bool = False) -> Got:
        """The first answer to these bytes; the connection may stay open."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            async with asyncio.timeout(10):
                return await read_answer(reader, head_only=head_only)
        finally:
            writer.close()

    async def request(
        self, method: str, target: str, fields: Fields = (), body: bytes = b""
    ) -> Got:
        """The answer to a request with these fields, each as it is spelled."""
        lines = [f"{method} {target} HTTP/1.1", "Host: proxy"]
        lines += [f"{name}: {value}" for name, value in fields]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        head = "\r\n".join(lines).encode("utf-8", "surrogateescape")
        return await self.ask(head + b"\r\n\r\n" + body, head_only=method == "HEAD")

    async def get(self, target: str, *fields: tuple[str, str]) -> Got:
        return await self.request("GET", target, fields)

    async def post(self, target: str, *fields: tuple[str, str], body: bytes = FALCON) -> Got:
        return await self.request("POST", target, fields, body)


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> Got:
    """One answer whose body has a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    fields = CIMultiDict[str]()
    for line in lines:
        name, _, value = line.partition(": ")
        fields.add(name, value)
    length = 0 if head_only else int(fields.get("Content-Length", "0"))
    return Got(int(first.split()[1]), fields, await reader.readexactly(length))


class Upstream:
    """Answers every request with ``status`` and ``body``, or with exactly the bytes of ``answer``."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.status = 200
        self.body = b"Hi!\nHuman:"
        self.answer = b""
        """Closes the connection behind it."""
        self.url = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                _, announced, after = head.partition(b"\r\nContent-Length: ")
                if announced:
                    await reader.readexactly(int(after.split(b"\r\n")[0]))
                if self.answer:
                    writer.write(self.answer)
                    return
                said = f"HTTP/1.1 {self.status} So\r\nContent-Length: {len(self.body)}\r\n\r\n"
                writer.write(said.encode() + self.body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the proxy has closed
        finally:
            writer.close()


Start = Callable[[web.Application], Awaitable[Server]]
StartProxy = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts an application on a free port, with the runner's options that ours needs."""
    async with AsyncExitStack() as stack:

        async def begin(app: web.Application) -> Server:
            runner = web.AppRunner(app, **RUN_APP | {"shutdown_timeout": 2.0})
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return Server(app, runner.addresses[0][1])

        yield begin


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream that is up."""
    serving = Upstream()
    listener = await asyncio.start_server(serving.talk, "127.0.0.1", 0)
    serving.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield serving
    listener.close()


@pytest.fixture
def start_proxy(start: Start, upstream: Upstream) -> StartProxy:
    """Starts the whole proxy in front of ``upstream``; arguments are settings."""

    async def begin(**settings: Any) -> Server:
        fixed: dict[str, Any] = {
            "upstream": upstream.url,
            "store": "memory://",
            "jwt_secret": Secret(SECRET),
        }
        return await start(create_app(Config(**fixed | settings)))

    return begin


def token(**claims: object) -> str:
    """A client's token; its subject is ``ann`` unless the claims say who."""
    return jwt.encode(claims or {"sub": "ann"}, SECRET, "HS256")


def bearer(**claims: object) -> tuple[str, str]:
    """The field that shows a token."""
    return ("Authorization", f"Bearer {token(**claims)}")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """Where a test writes its configuration file."""
    return tmp_path / "backstory.toml"

"""A whole proxy on a free port, for tests over sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from aiohttp import web

from backstory import RUN_APP, Config, create_app
from backstory.demo_upstream import create_demo_app
from backstory.settings import Secret

SECRET = "a secret of at least thirty-two bytes"


@dataclass
class Proxy:
    """A running proxy."""

    port: int
    app: web.Application

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"


StartProxy = Callable[..., Awaitable[Proxy]]


def token(subject: str = "ada", tenant: str = "acme", **claims: Any) -> str:
    """A JWT that the test proxies accept."""
    return jwt.encode({"team_id": tenant, "sub": subject, **claims}, SECRET, "HS256")


@asynccontextmanager
async def running_proxy(upstream: str, **settings: Any) -> AsyncIterator[Proxy]:
    """A proxy in this event loop, with the options that production has."""
    given: dict[str, Any] = {
        "store": "memory://",
        "jwt_secret": Secret(SECRET),
        "upstream": upstream,
    }
    given |= settings
    app = await asyncio.to_thread(create_app, Config(**given))  # reads files, as a start does
    options = RUN_APP | {"shutdown_timeout": 1.0}
    runner = web.AppRunner(app, **options)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield Proxy(runner.addresses[0][1], app)
    finally:
        await runner.cleanup()


@pytest.fixture
async def start_proxy() -> AsyncIterator[StartProxy]:
    """Starts proxies that are stopped when the test ends."""
    async with AsyncExitStack() as stack:

        async def start(upstream: str, **settings: Any) -> Proxy:
            return await stack.enter_async_context(running_proxy(upstream, **settings))

        yield start


@pytest.fixture
async def demo() -> AsyncIterator[str]:
    """The URL of a demo upstream: it knows what stands in the messages, and nothing else."""
    runner = web.AppRunner(create_demo_app(token_seconds=0.0), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()

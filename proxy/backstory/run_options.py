"""What aiohttp's runner must be told, and what it was told: an application cannot say it itself.

The runner, and the event loop, are somebody else's where the proxy is a part of another application, or under gunicorn.
"""

import asyncio
from typing import Any

from aiohttp import web

from backstory.errors import ConfigError

RUN_APP: dict[str, Any] = {
    "handler_cancellation": True,  # a client that left must not keep the upstream working
    "auto_decompress": False,  # what is passed through keeps its bytes
    "access_log": None,  # ours is one line an exchange, without the query
    "keepalive_timeout": 75.0,
    "shutdown_timeout": 20.0,
    "max_line_size": 16384,
    "max_field_size": 16384,  # a token may have 8 KiB
}
"""``web.run_app(create_app(config), **RUN_APP)``, or ``web.AppRunner`` with the same."""

# aiohttp's own defaults of those that change what the proxy promises.
_DEFAULTS = {
    "handler_cancellation": False,
    "auto_decompress": True,
    "max_line_size": 8190,
    "max_field_size": 8190,
}


def check_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Raise unless the event loop is one that connections to upstreams were made for.

    uvloop's ``create_connection`` knows no ``happy_eyeballs_delay`` and its transports are no
    ``asyncio.Transport``, so every request would fail; and how our connections ask the kernel
    about their sockets is tested with asyncio's loop only.

    Raises:
        ConfigError: it is not asyncio's own.
    """
    if not isinstance(loop, asyncio.BaseEventLoop):
        problem = (
            f"event loop: {type(loop).__module__} is not supported; use asyncio's own, which under"
            " gunicorn is --worker-class aiohttp.GunicornWebWorker"
        )
        raise ConfigError([problem])


def is_decompressed(request: web.Request) -> bool:
    """Whether aiohttp has undone the body's content coding, as a host application's server does.

    It leaves the fields as they were sent (``Content-Encoding``, and the length of what was sent).
    """
    return "Content-Encoding" in request.headers and bool(_told(request)["auto_decompress"])


def missing(request: web.Request) -> list[str]:
    """Which of ``RUN_APP`` the runner that serves this request was not told, by name."""
    told = _told(request)
    found = []
    for name in _DEFAULTS:
        enough = (
            told[name] >= RUN_APP[name] if name.startswith("max_") else told[name] == RUN_APP[name]
        )
        if not enough:
            found.append(name)
    return found


def _told(request: web.Request) -> dict[str, Any]:
    # Nothing public tells; the test of the plugin notices if this moves.
    server = request.protocol._manager
    assert server is not None, "a request is served by a server"
    cancels = {"handler_cancellation": server.handler_cancellation}
    return _DEFAULTS | server._kwargs | cancels

"""What aiohttp's runner must be told, and what it was told: an application cannot say it itself.

The runner, and the event loop, are somebody else's where the proxy is a part of another application,
or under gunicorn: it runs on asyncio's own loop as well.
"""

import asyncio
import ctypes
import gc
from typing import Any

import uvloop
from aiohttp import web

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

_M_MMAP_THRESHOLD = -3  # malloc.h

# aiohttp's own defaults of those that change what the proxy promises.
_DEFAULTS = {
    "handler_cancellation": False,
    "auto_decompress": True,
    "max_line_size": 8190,
    "max_field_size": 8190,
}


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop of a server of our own: uvloop's, which does the same for two thirds of the time."""
    return uvloop.new_event_loop()


def calm_garbage_collection() -> None:
    """Look for cyclic garbage a twentieth as often as Python does by default.

    What is started with is never looked at again. Requests make little cyclic garbage, and looking
    for it among everything that is alive took a quarter of the time of a request (measured).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def give_back_large_blocks() -> None:
    """Have memory of large bodies returned to the system as soon as it is free (glibc).

    After the first large block glibc keeps such blocks in its heap, for as long as anything small
    lies behind them: of twenty megabytes that were read, up to a hundred and fifty stayed (measured).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl and macOS have none, nor the need
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 20)


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

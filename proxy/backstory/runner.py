"""Runs the whole server as an application's runner does, and takes requests past aiohttp's router.

Every target is ours, so there is nothing to choose between; finding that out for each request, with the
signals that follow from it, took a tenth of what passing one on takes (measured).
"""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler, _RequestHandler
from aiohttp.web_runner import GracefulExit

from backstory.relayed import mend_head
from backstory.run_options import RUN_APP, new_event_loop

HANDLER: web.AppKey[Handler] = web.AppKey("handler")
"""Where an application keeps what answers every request of its own server."""
_BACKLOG = 1024


class Runner(web.AppRunner):
    """``web.AppRunner`` for an application with a ``HANDLER``; knows ``RUN_APP``."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        """``shutdown_timeout``: seconds that requests under way have to end."""
        options: dict[str, Any] = RUN_APP | {"shutdown_timeout": shutdown_timeout}
        super().__init__(app, **options)

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        loop = asyncio.get_running_loop()

        def request(
            message: RawRequestMessage,
            payload: StreamReader,
            protocol: RequestHandler,
            writer: AbstractStreamWriter,
            task: "asyncio.Task[None]",
        ) -> web.BaseRequest:
            return _Request(message, payload, protocol, writer, task, loop)

        server.request_factory = request
        server.request_handler = cast("_RequestHandler", self.app[HANDLER])  # of its ``_Request``
        return server


class _Request(web.Request):
    _prepare_hook = mend_head  # in the place of an application's signals


def run(
    app: web.Application,
    listener: socket.socket,
    ready: Callable[[], None],
    *,
    shutdown_timeout: float,
) -> None:
    """Serve ``listener`` until SIGTERM or SIGINT, then let what runs come to its end.

    A second signal ends it at once, and so does one while it starts. ``ready`` is called once requests are accepted.

    Raises:
        Exception: what the start of ``app`` raised.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as loop, suppress(asyncio.CancelledError):
        loop.run(_serve(Runner(app, shutdown_timeout=shutdown_timeout), listener, ready))


async def _serve(runner: Runner, listener: socket.socket, ready: Callable[[], None]) -> None:
    stop, starting = asyncio.Event(), asyncio.current_task()

    def end() -> None:
        if stop.is_set():
            raise GracefulExit
        stop.set()
        if starting is not None:
            starting.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    await runner.setup()
    starting = None
    try:
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        ready()
        await stop.wait()
    finally:
        await runner.cleanup()

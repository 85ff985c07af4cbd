"""The admin listener: what whoever runs the proxy may ask, on a socket of its own.

It tells numbers only, asks for no token, and never shares an address with the proxy: there, every path
is the upstream's.
"""

import logging
import socket
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from backstory.metrics import MEDIA_TYPE, Metrics

log = logging.getLogger(__name__)


def admin_app(metrics: Metrics) -> web.Application:
    """``GET /metrics``, and nothing else."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=metrics.page().encode(), headers={"Content-Type": MEDIA_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", page)
    return app


def beside(
    listener: socket.socket, metrics: Metrics
) -> Callable[[web.Application], AsyncIterator[None]]:
    """A context of the proxy's application that serves ``listener`` for as long as that runs.

    Workers share it: whichever answers tells of all.
    """

    async def run(_: web.Application) -> AsyncIterator[None]:
        runner = web.AppRunner(admin_app(metrics), access_log=None, shutdown_timeout=0.0)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        host, port = listener.getsockname()[:2]
        log.info("metrics at http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)
        yield
        await runner.cleanup()

    return run

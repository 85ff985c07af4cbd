"""The whole server for gunicorn: ``gunicorn -k aiohttp.GunicornWebWorker backstory.gunicorn:server``.

aiohttp's worker takes an application or a coroutine function that returns a runner. Only a runner
can be told what the proxy needs, so it gets one.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack

from aiohttp import web

from backstory.app import create_app
from backstory.config import Config
from backstory.log import to_stderr
from backstory.runner import Runner

log = logging.getLogger(__name__)


async def server() -> web.AppRunner:
    """A runner for the configuration in the environment. Address and workers are gunicorn's.

    Raises:
        ConfigError: with every problem. gunicorn logs it and ends.
    """
    with ExitStack() as until_the_end:
        until_the_end.enter_context(to_stderr())
        config = Config.from_env()
        app = await asyncio.to_thread(create_app, config)  # reads files
        if config.store.startswith("memory:"):
            log.warning("memory:// is each worker's own; with more than one, use sqlite://")
        if config.admin_listen != "off":
            log.warning(
                "admin_listen is opened by `backstory serve` only; there are no metrics here"
            )
        logging_lasts = until_the_end.pop_all()

        async def log_to_stderr(_: web.Application) -> AsyncIterator[None]:
            with logging_lasts:
                yield

        app.cleanup_ctx.insert(0, log_to_stderr)  # the last to end
        return Runner(app, shutdown_timeout=config.drain_timeout_seconds)

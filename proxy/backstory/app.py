"""The composition root: what the server is made of, and in which order a request meets it."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser
from aiohttp.typedefs import Handler, Middleware

from backstory import stages
from backstory.body import ignore_expect
from backstory.buffers import Buffers
from backstory.config import Config
from backstory.errors import ConfigError, StoreUnavailable
from backstory.exchange import of
from backstory.keys import Ring, read_or_make
from backstory.manage import PREFIX, Manage
from backstory.metrics import Tally
from backstory.recall import Memory
from backstory.registry import dialects_of, load_policy, load_store, load_tokenizer
from backstory.relayed import mend_head
from backstory.routes import BUILT_IN, RouteTable
from backstory.runner import HANDLER
from backstory.session import CookieSeal
from backstory.spi import Store
from backstory.tasks import Tasks
from backstory.upstream import Upstream
from backstory.upstream_head import UpstreamHead

log = logging.getLogger(__name__)

BUFFERS = web.AppKey("buffers", Buffers)
"""Where an application keeps its account of memory for bodies."""


def chain(
    config: Config,
    ring: Ring,
    table: RouteTable,
    memory: Memory,
    tasks: Tasks,
    buffers: Buffers,
    prefix: str = "",
    tally: Tally | None = None,
) -> tuple[tuple[str, Middleware], ...]:
    """The stages, outermost first. Nothing else decides their order."""
    seal = CookieSeal(ring, config.session_max_age_seconds)
    return (
        ("exchange", stages.exchange(table, via=config.via, prefix=prefix, tally=tally)),
        ("auth", stages.auth(config, ring, strict=config.strict)),
        ("session", stages.session(config, seal, trusted_proxies=config.trusted_proxies)),
        ("memory", stages.memory(memory, config, tasks, buffers)),
    )


def setup(app: web.Application, config: Config, *, prefix: str) -> None:
    """Make the proxy a part of another application, below ``prefix`` (``/llm`` for instance).

    The prefix is stripped before anything is forwarded, and ``/-/`` lives below it. Run the
    application with ``**RUN_APP``: without it, a client that left is noticed only at the next write,
    and the first request logs a warning.

    Raises:
        ConfigError: with every problem of ``config``.
        ValueError: ``prefix`` is not of this form.
    """
    if not re.fullmatch("(/[A-Za-z0-9._~-]+)+", prefix):
        raise ValueError(f"prefix {prefix!r}: must be like /llm, without a slash at the end")
    app.add_subapp(prefix, create_app(config, prefix=prefix))


def create_app(config: Config, *, prefix: str = "", tally: Tally | None = None) -> web.Application:
    """The whole server as an application.

    Args:
        config: all settings.
        prefix: what every path begins with, where it is a part of another one (``setup``).
        tally: counts what it does.

    Raises:
        ConfigError: with every problem of ``config``.
    """
    problems = config.problems()
    if problems:
        raise ConfigError(problems)
    if not HttpRequestParser.__module__.endswith("._http_parser"):
        raise ConfigError(["aiohttp: its C parser is missing; install the wheel, not the source"])
    for warning in config.warnings():
        log.warning("%s", warning)
    rows = (*config.routes, *BUILT_IN)
    table = RouteTable(rows, dialects_of(rows))
    store, policy = load_store(config.store), load_policy(config.policy)
    memory = Memory(store, config, policy, tokenizer=load_tokenizer(config.tokenizer))
    tasks = Tasks()
    upstreams = _upstreams(config, tasks)
    head = UpstreamHead(config, config, via=config.via)
    forward = stages.Forward(upstreams, head, tasks, end_seconds=config.end_seconds)
    manage = Manage(memory)

    def innermost(request: web.Request) -> Awaitable[web.StreamResponse]:
        is_ours = of(request).target.startswith(PREFIX)
        return manage(request) if is_ours else forward.relay(request)

    buffers = Buffers(
        config.max_buffered_bytes,
        wait_seconds=config.buffer_seconds,
        balance=tally.buffered if tally else None,
    )
    stages_in_order = chain(config, key_ring(config), table, memory, tasks, buffers, prefix, tally)
    (_, outermost), *others = stages_in_order
    inner = _within([stage for _, stage in others], innermost)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await inner(request)

    app = web.Application(middlewares=[outermost])  # it answers for what has no route, too
    app[BUFFERS] = buffers
    app[HANDLER] = _around(inner, outermost)
    everything = _Everything("/")
    app.router.register_resource(everything)
    everything.anything = everything.add_route("*", handle, expect_handler=ignore_expect)
    app.on_response_prepare.append(mend_head)

    async def drain(_: web.Application) -> None:
        manage.draining = True

    async def run(_: web.Application) -> AsyncIterator[None]:
        await memory.store.open()
        expiry = tasks.spawn(_expire(memory.store, config.single_use_ttl), name="expire")
        yield
        expiry.cancel()
        await tasks.settle(config.store_seconds + config.end_seconds)
        for upstream in upstreams.values():
            await upstream.close()
        await memory.store.close()
        memory.close()

    app.on_shutdown.append(drain)
    app.cleanup_ctx.append(run)
    return app


def _within(stages_in_order: Sequence[Middleware], handler: Handler) -> Handler:
    """``handler`` with all stages around it.

    As aiohttp would put them there, but that it calls each through a ``partial``, by keyword.
    """
    for stage in reversed(stages_in_order):
        handler = _around(handler, stage)
    return handler


def _around(handler: Handler, stage: Middleware) -> Handler:
    return lambda request: stage(request, handler)


class _Everything(web.PlainResource):
    """Any target: no pattern of aiohttp's matches ``*``, or a path with an escaped line end."""

    anything: web.AbstractRoute

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo, set[str]]:
        return web.UrlMappingMatchInfo({}, self.anything), set()


async def _expire(store: Store, ttl: float) -> None:
    """Erase, from time to time, what nobody named a second time."""
    while True:
        try:
            count = await store.expire(time.time() - ttl)
        except StoreUnavailable as exc:
            log.warning("conversations cannot expire now: %s", exc)
        else:
            if count:
                log.info("%d conversations were used once and have expired", count)
        await asyncio.sleep(min(600.0, max(ttl / 10, 1.0)))


def _upstreams(config: Config, tasks: Tasks) -> dict[str, Upstream]:
    origins = {"": config.upstream} | {r.upstream: r.upstream for r in config.routes if r.upstream}
    return {
        name: Upstream(
            origin,
            tasks,
            connect_seconds=config.connect_seconds,
            first_byte_seconds=config.first_byte_seconds,
            silence_seconds=config.silence_seconds,
            keepalive_seconds=config.upstream_keepalive_seconds,
        )
        for name, origin in origins.items()
    }


def key_ring(config: Config) -> Ring:
    """The secrets of the configuration; without a newest one there, those of a key file go first.

    Raises:
        ConfigError: the key file cannot be used.
    """
    old = [secret.as_bytes() for secret in config.session_secrets_old]
    if config.session_secret is not None:
        return Ring([config.session_secret.as_bytes(), *old])
    path = _key_file(config)
    if path is None:
        return Ring([secrets.token_bytes(32), *old])  # lives as long as the memory does
    try:
        return Ring([*read_or_make(path), *old])
    except ValueError as exc:
        raise ConfigError([f"session_key_file: {exc}"]) from exc
    except OSError as exc:
        raise ConfigError([f"session_key_file: cannot use {path}: {exc.strerror}"]) from exc


def _key_file(config: Config) -> Path | None:
    if config.session_key_file:
        return Path(config.session_key_file)
    scheme, _, path = config.store.partition(":///")
    if scheme != "sqlite":
        return None
    return Path(unquote(path.partition("?")[0])).with_suffix(".key")

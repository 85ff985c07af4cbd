"""``backstory serve``: read the configuration, listen, run."""

import argparse
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from backstory import admin
from backstory.app import create_app
from backstory.config import Config, load, settings
from backstory.errors import ConfigError, StoreUnavailable
from backstory.log import to_stderr
from backstory.metrics import Metrics, Tally
from backstory.problems import split_address
from backstory.routes import BUILT_IN
from backstory.run_options import calm_garbage_collection, give_back_large_blocks
from backstory.runner import run
from backstory.supervisor import Supervisor

Beside = Callable[[web.Application], AsyncIterator[None]]
_FLAGS = ("upstream", "listen", "admin_listen", "session", "fallback", "store", "auth", "workers")
_SWITCHES = ("allow_open", "strict")


def main(argv: list[str]) -> int:
    """Run the proxy until it is told to stop; the exit status."""
    try:
        return serve(read_command_line(argv), _say)
    except ConfigError as exc:
        return report(exc.problems)


def report(problems: Iterable[str]) -> int:
    """Say every problem on standard error; the exit status for it."""
    sys.stderr.writelines(f"backstory: {problem}\n" for problem in problems)
    return 2


def read_command_line(argv: list[str], defaults: Mapping[str, Any] | None = None) -> Config:
    """The configuration that flags, environment and file make together, over ``defaults``.

    Raises:
        ConfigError: with every problem.
    """
    parser = argparse.ArgumentParser(
        prog="backstory serve", description="Run the proxy.", allow_abbrev=False
    )
    parser.add_argument("--config", metavar="FILE", help="a TOML file with settings")
    known = settings()
    for name in _FLAGS:
        parser.add_argument(_flag(name), metavar=name.upper(), help=known[name].metadata["doc"])
    for name in _SWITCHES:
        parser.add_argument(
            _flag(name), action="store_const", const="true", help=known[name].metadata["doc"]
        )
    given = {
        name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None
    }
    file = given.pop("config", None)
    return load(given, os.environ, file=file, defaults=defaults)


def serve(config: Config, ready: Callable[[str], None], *, beside: Iterable[Beside] = ()) -> int:
    """Listen and run; ``ready`` is told the address once requests are accepted. The exit status.

    ``beside``: what runs in the same process, or in the first worker, for as long as that does.

    Raises:
        ConfigError: the configuration or the address cannot be used.
    """
    listener = _listen("listen", config.listen)
    url = _url(listener)
    metrics: Metrics | None = None
    beside_all: list[Beside] = []
    if config.admin_listen != "off":
        dialects = {row.dialect for row in (*config.routes, *BUILT_IN)}
        metrics = Metrics(dialects, config.workers)
        beside_all.append(admin.beside(_listen("admin_listen", config.admin_listen), metrics))
    if config.workers == 1:
        tally = metrics.tally() if metrics else None
        _run(config, listener, lambda: ready(url), [*beside_all, *beside], tally)
        return 0

    def work(number: int, is_ready: Callable[[], None]) -> int:
        contexts = [supervisor.follow, *beside_all, *(beside if number == 0 else ())]
        try:
            _run(config, listener, is_ready, contexts, metrics.tally(number) if metrics else None)
        except ConfigError as exc:
            return report(exc.problems)
        return 0

    supervisor = Supervisor(config.workers, work)
    return supervisor.run(lambda: ready(url))


def _run(
    config: Config,
    listener: socket.socket,
    ready: Callable[[], None],
    beside: Iterable[Beside],
    tally: Tally | None,
) -> None:
    with to_stderr():
        app = create_app(config, tally=tally)
        app.cleanup_ctx.extend(beside)
        calm_garbage_collection()
        give_back_large_blocks()
        try:
            run(app, listener, ready, shutdown_timeout=config.drain_timeout_seconds)
        except StoreUnavailable as exc:
            raise ConfigError([f"store: cannot be opened: {exc}"]) from exc


def _listen(setting: str, address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as exc:
        raise ConfigError([f"{setting}: cannot listen on {address}: {exc.strerror}"]) from exc


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say(url: str) -> None:
    sys.stderr.write(f"listening on {url}\n")
    sys.stderr.flush()


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")

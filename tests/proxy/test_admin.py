"""The admin listener on a real socket: one page, as Prometheus asks for it."""

import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession, web
from prometheus_client.parser import text_string_to_metric_families

from backstory.admin import admin_app, beside
from backstory.metrics import Metrics

if TYPE_CHECKING:
    from tests.proxy.conftest import Start


async def test_the_page_is_prometheus_text(start: "Start") -> None:
    metrics = Metrics(["falcon"])
    server = await start(admin_app(metrics))
    got = await server.get("/metrics")
    assert (got.status, got.headers["Content-Type"]) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    assert got.body.decode() == metrics.page()
    assert list(text_string_to_metric_families(got.body.decode()))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/-/health/live", 404), ("POST", "/metrics", 405)],
)
async def test_there_is_nothing_else(start: "Start", method: str, path: str, status: int) -> None:
    server = await start(admin_app(Metrics([])))
    assert (await server.request(method, path)).status == status


async def test_it_serves_for_as_long_as_the_proxy_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        running = beside(listener, Metrics([]))(web.Application())
        await anext(running)
        url = f"http://127.0.0.1:{port}/metrics"
        async with ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
        assert await anext(running, "over") == "over"
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", port)) != 0

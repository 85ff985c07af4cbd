"""The demo upstream with a recorder in it: as many APIs as the demo speaks, and who asked it what."""

from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler
from tests.clients.told import Told, told

from backstory.demo_upstream import create_demo_app


class Request(NamedTuple):
    """What arrived."""

    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def told(self) -> list[Told]:
        """What its messages tell."""
        return told(self.body)


@dataclass
class Recorder:
    """An upstream that remembers requests for the tests, and sets a cookie that nobody asked for."""

    requests: list[Request] = field(default_factory=list)
    """Not taken yet, in the order in which they came."""
    url: str = ""

    async def listen(self) -> web.AppRunner:
        """Begin; whoever called cleans the runner up."""
        app = create_demo_app(token_seconds=0.0)
        app.middlewares.append(self._record)
        app.on_response_prepare.append(_give_cookie)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def take(self) -> list[Request]:
        """The requests since the last time that this was asked."""
        taken, self.requests = self.requests, []
        return taken

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Request(headers, await request.read()))
        return await handler(request)


async def _give_cookie(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Set-Cookie"] = "upstream=sweet; Path=/"  # set_cookie() would be too late

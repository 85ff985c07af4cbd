"""The relay that one writes first with aiohttp: no memory, no authentication. A peer to measure against.

One ``ClientSession`` for all requests, a ``StreamResponse`` for each, and every piece that arrives
written as it is. Run as a script with the upstream's URL; says where it listens as Backstory does.
"""

import socket
import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, TCPConnector, web

SESSION = web.AppKey("session", ClientSession)
UPSTREAM = web.AppKey("upstream", str)
HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


async def relay(request: web.Request) -> web.StreamResponse:
    """Send the request on; write each piece of the answer as it arrives."""
    body = await request.read()
    fields = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
    url = request.app[UPSTREAM] + request.path_qs
    async with request.app[SESSION].request(
        request.method, url, data=body, headers=fields
    ) as answer:
        response = web.StreamResponse(status=answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in HOP_BY_HOP:
                response.headers[key] = value
        response.content_length = answer.content_length
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
    return response


async def session(app: web.Application) -> AsyncIterator[None]:
    """The one client session, with no limit that a test of 1,000 connections would meet."""
    async with ClientSession(connector=TCPConnector(limit=0)) as opened:
        app[SESSION] = opened
        yield


def main(upstream: str) -> None:
    """Listen on a free port and relay until told to stop."""
    app = web.Application(client_max_size=1 << 30)
    app[UPSTREAM] = upstream
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", relay)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def ready(_: object) -> None:
        print(f"listening on {url}", file=sys.stderr, flush=True)

    web.run_app(app, sock=listener, backlog=1024, access_log=None, print=ready)


if __name__ == "__main__":
    main(sys.argv[1])

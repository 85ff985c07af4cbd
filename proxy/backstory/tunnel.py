"""A WebSocket between client and upstream: after the handshake, bytes both ways and nothing else."""

import asyncio
from typing import cast

import aiohttp
from aiohttp import hdrs, web

from backstory.errors import UpstreamCut
from backstory.exchange import of
from backstory.relayed import Relayed, cut
from backstory.tasks import Tasks
from backstory.upstream import Tunnel, UpstreamAnswer


def wants_upgrade(request: web.Request) -> bool:
    """Whether the client opens a WebSocket (RFC 6455 section 4.1)."""
    if request.method != "GET" or request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        return False
    tokens = ",".join(request.headers.getall(hdrs.CONNECTION, ())).lower().split(",")
    return "upgrade" in [token.strip() for token in tokens]


UPGRADE_FIELDS = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
"""Hop-by-hop, so they are said anew on each side."""


class Switched(Relayed):
    """The upstream's 101."""

    def __init__(self, answer: UpstreamAnswer) -> None:
        """``answer``: with status 101."""
        super().__init__(answer)
        self.force_close()
        for name, value in UPGRADE_FIELDS:
            self.headers[name.decode()] = value.decode()


async def tunnel(request: web.Request, answer: UpstreamAnswer, tasks: Tasks) -> web.StreamResponse:
    """Relay until either side ends; the client's departure cancels this."""
    response = Switched(answer)
    of(request).head_sent = True
    await response.prepare(request)
    response.flush()
    inbox = _Inbox(request)
    upstream = answer.tunnel()
    sending = tasks.spawn(_send(inbox.reader, upstream), name="tunnel")
    sending.add_done_callback(lambda _: upstream.close())
    try:
        while data := await upstream.read():
            await response.write(data)
    except aiohttp.ClientError:
        pass  # the client is gone: there is nobody to tell
    except UpstreamCut:
        cut(request, response)  # an orderly end would be a lie
    finally:
        sending.cancel()
        upstream.close()
    return response


async def _send(reader: aiohttp.StreamReader, upstream: Tunnel) -> None:
    while data := await reader.readany():
        upstream.write(data)
        if not await upstream.drain():
            return


class _Inbox:
    """Takes the client's bytes after the handshake, in place of aiohttp's WebSocket parser."""

    def __init__(self, request: web.Request) -> None:
        protocol = request.protocol
        # The reader pauses the client's socket when the upstream is slower.
        loop = asyncio.get_running_loop()
        self.reader = aiohttp.StreamReader(protocol, 65536, loop=loop)
        protocol.set_parser(cast("aiohttp.http_websocket.WebSocketReader", self))

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Called by aiohttp with what arrived; the result: it is not the end, and nothing is left."""
        self.reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        """Called by aiohttp when the client has closed."""
        self.reader.feed_eof()

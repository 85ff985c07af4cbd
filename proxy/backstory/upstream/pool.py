"""Connections to one upstream: new ones when needed, idle ones while they are good.

The last used comes first, so that a quiet time lets the others end.
"""

import asyncio
import ssl
from asyncio import BaseEventLoop
from typing import Any

from backstory.deadlines import Deadlines
from backstory.errors import UpstreamFailure
from backstory.upstream.connection import Connection
from backstory.upstream.origin import Origin
from backstory.upstream.request import timed_out


class Pool:
    """Hands out connections of which nobody else has a hold."""

    def __init__(
        self,
        origin: Origin,
        *,
        connect_seconds: float,
        keepalive_seconds: float,
        max_connections: int,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._origin = origin
        self._connects = Deadlines(connect_seconds)
        self._keepalive_seconds = keepalive_seconds
        self._slots = asyncio.Semaphore(max_connections) if max_connections else None
        self._ssl_context = ssl_context
        self._idle: dict[Connection, None] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._sweeps_at = 0.0
        """Kept here: of what is due at once uvloop's handle does not say when that is."""
        self._closed = False

    def __len__(self) -> int:
        """How many are idle."""
        return len(self._idle)

    def at_hand(self) -> Connection | None:
        """As ``take``, if that can be said without waiting."""
        return self._pick() if self._slots is None else None

    async def take(self) -> Connection:
        """A connection on which a request can be written at once.

        Raises:
            UpstreamFailure: the upstream cannot be reached, or all connections are in use.
        """
        if self._slots is not None:
            await self._slot(self._slots)
        connection = self._pick()
        if connection is None:
            try:
                connection = await self._connect()
            except BaseException:
                self._free_slot()
                raise
        return connection

    def give_back(self, connection: Connection, keepalive_seconds: float | None) -> None:
        """Keep ``connection`` for the next request, ``keepalive_seconds`` at most; 0: close it."""
        self._free_slot()
        seconds = self._keepalive_seconds
        if keepalive_seconds is not None and keepalive_seconds < seconds:
            seconds = keepalive_seconds
        if self._closed or seconds <= 0 or connection.gone.done():
            connection.abort()
            return
        connection.receiver = None
        connection.resume_reading()
        connection.expires = connection.loop.time() + seconds
        self._idle[connection] = None
        if self._sweep is None or self._sweeps_at > connection.expires:
            self._sweep_at(connection.expires)

    async def close(self) -> None:
        """Close what is idle now, and everything that comes back later."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while self._idle:
            connection, _ = self._idle.popitem()
            connection.abort()
            await connection.gone

    def _pick(self) -> Connection | None:
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.expires > connection.loop.time() and connection.usable():
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        tls = self._origin.tls
        if tls and self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        try:
            loop = asyncio.get_running_loop()
            # RFC 8305 section 5; uvloop tries one address after the other, and has no such word.
            eyes: Any = {"happy_eyeballs_delay": 0.25} if isinstance(loop, BaseEventLoop) else {}
            connecting = loop.create_connection(
                Connection,
                self._origin.host,
                self._origin.port,
                ssl=self._ssl_context if tls else None,
                server_hostname=self._origin.host if tls else None,
                **eyes,
            )
            _, connection = await self._connects.within(connecting)
        except TimeoutError as exc:
            raise timed_out("connect", self._connects.seconds) from exc
        except (OSError, UnicodeError) as exc:  # refused, no such name, TLS; a name not for DNS
            message = f"The upstream cannot be reached ({type(exc).__name__})."
            raise UpstreamFailure(502, "upstream_unreachable", message) from exc
        connection.on_lost = self._forget
        return connection

    async def _slot(self, slots: asyncio.Semaphore) -> None:
        try:
            await self._connects.within(slots.acquire())
        except TimeoutError as exc:
            message = "All connections to the upstream are in use. Try again later."
            retry = (("Retry-After", "1"),)
            raise UpstreamFailure(503, "upstream_saturated", message, headers=retry) from exc

    def _free_slot(self) -> None:
        if self._slots is not None:
            self._slots.release()

    def _forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def _sweep_at(self, when: float) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweeps_at = when
        self._sweep = asyncio.get_running_loop().call_at(when, self._drop_expired)

    def _drop_expired(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for connection in [idle for idle in self._idle if idle.expires <= now]:
            del self._idle[connection]
            connection.abort()
        if self._idle:
            self._sweep_at(min(idle.expires for idle in self._idle))

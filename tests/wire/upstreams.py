"""An upstream that records requests as bytes and answers what its script says, as bytes.

A test changes ``script`` at any time: one answer for every request, a list with one for each, or
a function of the request. An answer is bytes, or an ``Answer`` that waits at gates (``asyncio.Event``)
between its pieces and ends the connection as it is told.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from tests.wire.answers import falcon_answer
from tests.wire.connection import DEADLINE_SECONDS, Connection, Ended, Ending
from tests.wire.messages import Body, Field, Head, read_body, read_head

from backstory.tasks import Tasks

__all__ = ["Answer", "RecordingUpstream", "Request", "Script", "Step", "nobody_listens"]

Step = bytes | asyncio.Event
"""Send these bytes, or wait here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to do with one request."""

    steps: Sequence[Step]
    then: Literal["next", "hold", "fin", "rst"] = "next"
    """Read the next request, or keep the connection open without a word, or end it so."""


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request, exactly as it arrived."""

    connection: int
    """Number of its connection, from 0."""
    head: Head
    framed: Body

    @property
    def method(self) -> bytes:
        """As sent."""
        return self.head.start[0]

    @property
    def target(self) -> bytes:
        """As sent: path and query, nothing decoded."""
        return self.head.start[1]

    @property
    def headers(self) -> list[Field]:
        """Every field in order, names as they were spelled."""
        return self.head.headers

    @property
    def raw_head(self) -> bytes:
        """Start line, fields and the empty line."""
        return self.head.raw

    @property
    def body(self) -> bytes:
        """The body, framing undone; ``framed`` has it as it was sent."""
        return self.framed.content

    def values(self, name: bytes) -> list[bytes]:
        """The value of every field with this name, in whichever case."""
        return self.head.values(name)


Script = bytes | Answer | Sequence[bytes | Answer] | Callable[[Request], bytes | Answer]


class RecordingUpstream:
    """See the module. An async context manager; leaving it reports what went wrong inside."""

    def __init__(self, script: Script | None = None, *, on_head: Sequence[Step] = ()) -> None:
        """Not listening yet.

        Args:
            script: the answers; at first ``falcon_answer("ok")`` to everything.
            on_head: done between the head and the body of every request: an early or interim
                answer, or a gate that keeps the body unread.
        """
        self.script: Script = falcon_answer("ok") if script is None else script
        self.on_head = on_head
        self.requests: list[Request] = []
        """Whole requests, in order of their ends."""
        self.cut: list[bytes] = []
        """What arrived of requests that did not come to their end."""
        self.connections: list[Connection] = []
        """Every connection that was accepted."""
        self.failures: list[Exception] = []
        """What leaving the context will raise."""
        self._news = asyncio.Event()
        self._tasks = Tasks()

    async def __aenter__(self) -> "RecordingUpstream":
        """Listens now."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Cuts every connection; raises what a script or a request did wrong."""
        self._server.close()
        for connection in self.connections:
            connection.transport.abort()
        await self._tasks.settle(0)
        await self._tasks.settle(DEADLINE_SECONDS)
        if self.failures and kind is None:
            raise ExceptionGroup("in the recording upstream", self.failures)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        number = self._server.sockets[0].getsockname()[1]
        assert isinstance(number, int)
        return number

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.port}"

    async def wait_for_request(self, number: int = 1) -> Request:
        """The ``number``-th whole request, from 1, as soon as it is there."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(self.requests) < number:
                self._news.clear()
                await self._news.wait()
        return self.requests[number - 1]

    async def wait_for_connection(self, number: int = 0) -> Connection:
        """The connection with this number, from 0, as soon as it is there."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(self.connections) <= number:
                self._news.clear()
                await self._news.wait()
        return self.connections[number]

    async def closed(self, number: int = 0) -> Ending:
        """How the connection with this number ended, once it has.

        A peer that closes with bytes of ours unread sends an RST as well: after an answer was
        cut by the peer, expect either.
        """
        connection = await self.wait_for_connection(number)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await connection.ended()

    def _connection(self) -> Connection:
        return Connection(self._accept, deadline_seconds=None)  # clients may be idle

    def _accept(self, connection: Connection) -> None:
        self.connections.append(connection)
        self._news.set()
        number = len(self.connections) - 1
        name = f"upstream connection {number}"
        _ = self._tasks.spawn(self._serve(connection, number), name=name)  # held by _tasks

    async def _serve(self, connection: Connection, number: int) -> None:
        try:
            while (request := await self._receive(connection, number)) is not None:
                self.requests.append(request)
                self._news.set()
                answer = self._chosen(request)
                await self._perform(connection, answer.steps)
                if answer.then != "next":
                    await self._leave(connection, answer.then)
                    break
        except (Ended, ConnectionError):
            pass  # the peer has left: ``connection.ending`` says how
        except Exception as exc:  # noqa: BLE001 - of a script or a peer: it fails the test
            self.failures.append(exc)
            connection.reset()
        finally:
            connection.close()

    async def _receive(self, connection: Connection, number: int) -> Request | None:
        """The next request; ``None`` if the peer has left, perhaps within one."""
        try:
            head = await read_head(connection)
        except Ended as ended:
            if ended.rest:
                self.cut.append(ended.rest)
            return None
        await self._perform(connection, self.on_head)
        body = await read_body(connection, head, to_end=False)
        if not body.complete:
            self.cut.append(head.raw + body.raw)
            return None
        return Request(number, head, body)

    def _chosen(self, request: Request) -> Answer:
        script = self.script
        if isinstance(script, Sequence) and not isinstance(script, bytes):
            if len(self.requests) > len(script):
                raise LookupError(f"the script has no answer number {len(self.requests)}")
            script = script[len(self.requests) - 1]
        elif not isinstance(script, bytes | Answer):
            script = script(request)
        if isinstance(script, Answer):
            return script
        to_end = b"\r\nconnection: close\r\n" in script.partition(b"\r\n\r\n")[0].lower() + b"\r\n"
        return Answer([script], "fin" if to_end else "next")

    async def _perform(self, connection: Connection, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, bytes):
                await connection.send(step)
            else:
                await step.wait()

    async def _leave(self, connection: Connection, how: Literal["hold", "fin", "rst"]) -> None:
        if how == "rst":
            connection.reset()
            return
        if how == "fin":
            connection.finish()
        await connection.ended()


@contextmanager
def nobody_listens() -> Iterator[str]:
    """A URL that refuses connections: the port is taken, and nobody listens on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"

"""The upstream as the forward stage sees it: send a request, get an answer."""

import ssl
from collections.abc import AsyncIterable, Sequence

from backstory.deadlines import Deadlines
from backstory.tasks import Tasks
from backstory.upstream.answer import UpstreamAnswer
from backstory.upstream.framing import AnswerParser
from backstory.upstream.origin import Origin
from backstory.upstream.pool import Pool
from backstory.upstream.request import request_head, upload


class Upstream:
    """One upstream and the connections to it."""

    def __init__(
        self,
        origin: str,
        tasks: Tasks,
        *,
        connect_seconds: float = 5.0,
        first_byte_seconds: float = 600.0,
        silence_seconds: float = 600.0,
        keepalive_seconds: float = 4.0,
        max_head_bytes: int = 65536,
        max_connections: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            origin: ``http://host:port`` or ``https://host``; a path is put in front of targets.
            tasks: holds the upload of a streamed request body.
            connect_seconds: also the longest wait for a free connection.
            first_byte_seconds: from the end of the request to the end of the answer's head.
            silence_seconds: between two reads, and between two pieces of a request body.
            keepalive_seconds: shorter than the upstream's, or requests get lost at its FIN.
            max_head_bytes: of an answer; trailers and extensions of chunks count too.
            max_connections: 0 is no limit.
            ssl_context: for https; the default trusts what the system trusts.

        Raises:
            ValueError: ``origin`` is none.
        """
        self._origin = Origin.parse(origin)
        self._tasks = tasks
        self._first_byte = Deadlines(first_byte_seconds)
        self._silence = Deadlines(silence_seconds)
        self._max_head_bytes = max_head_bytes
        self._pool = Pool(
            self._origin,
            connect_seconds=connect_seconds,
            keepalive_seconds=keepalive_seconds,
            max_connections=max_connections,
            ssl_context=ssl_context,
        )

    @property
    def authority(self) -> str:
        """The value of Host."""
        return self._origin.authority

    @property
    def prefix(self) -> str:
        """What every target begins with; empty, or a path without a slash at the end."""
        return self._origin.prefix

    async def send(
        self,
        method: str,
        target: str,
        fields: Sequence[tuple[bytes, bytes]],
        body: bytes | AsyncIterable[bytes] | None,
        *,
        length: int | None = None,
    ) -> UpstreamAnswer:
        """The answer to a request, as soon as its head is there. The caller must close it.

        Nothing is ever sent twice: what has been written may have been done (RFC 9110 section
        9.2.2). If this is cancelled, the upstream sees the connection close at once.

        Args:
            target: sent byte for byte, behind the prefix.
            fields: sent as they are, behind Host; without Host and the fields of framing.
            body: ``None`` is no body, ``b""`` an empty one. A stream goes on being sent while the
                answer is read already, and is given up when the answer is closed.
            length: of a streamed body; without it, it is sent in chunks.

        Raises:
            ValueError: the request cannot be written as HTTP/1.1, or the body is not as long as
                ``length``.
            UpstreamFailure: 502, 503 or 504, as the error says.
        """
        head = request_head(self._origin, method, target, fields, body, length)
        parser = AnswerParser(
            head_only=method == "HEAD",
            upgrade=method == "GET" and b"upgrade" in [name.lower() for name, _ in fields],
            max_head_bytes=self._max_head_bytes,
        )
        connection = self._pool.at_hand() or await self._pool.take()
        # Nothing may wait between here and the first write: only now is the connection known good.
        answer = UpstreamAnswer(connection, parser, self._pool, self._silence)
        try:
            uploading = None
            if body is None or isinstance(body, bytes):
                connection.write((head, body or b""))
            else:
                connection.write((head,))
                work = upload(connection, body, length, self._silence.seconds)
                uploading = self._tasks.spawn(work, name="upload")
            await answer.head(self._first_byte, uploading)
        except BaseException:  # a client that left is a cancellation: the upstream must see it too
            answer.close()
            raise
        return answer

    async def close(self) -> None:
        """Close the idle connections now, and those in use when their answers are closed."""
        await self._pool.close()

"""The hot path: send, and move each chunk as it arrives; the client first.

Four ways out. Ended: the held bytes follow once the turn is durable. Cut: the connection is closed
without the end of its framing. Client gone: cancelled, which closes the upstream, unless the answer
was complete already; then its turn is kept. Refused by us: nothing was sent yet, so it raises.
"""

import asyncio
import time

from aiohttp import hdrs, web

from backstory import headers
from backstory.body import arrived, stream_body
from backstory.deadlines import Deadlines
from backstory.errors import StoreUnavailable, UpstreamCut, UpstreamFailure
from backstory.exchange import Capture, Exchange, of
from backstory.model import Answer, Verdict
from backstory.relayed import Relayed, cut
from backstory.tasks import Tasks
from backstory.tee import Tee
from backstory.tunnel import tunnel
from backstory.upstream import Framing, Upstream, UpstreamAnswer
from backstory.upstream_head import UpstreamHead

_MOST_REFUSAL_BYTES = 65536
_MOST_REST_BYTES = 1024 * 1024
"""Behind an end marker: all of it is held back, so it must not be much."""
_EVENT_ENDS = {
    "text/event-stream": (b"\n\n", b"\r\n\r\n", b"\r\r"),
    "application/x-ndjson": (b"\n",),
}
"""With what the events of a stream end, by its media type."""
# To ask an enum for a member by its name is a call (Python 3.11).
_CLOSE, _LENGTH, _ABORTED = Framing.CLOSE, Framing.LENGTH, Verdict.ABORTED


class Relay:
    """The hot path: called with what arrives, at the moment it does."""

    def __init__(self, response: Relayed, tee: Tee | None) -> None:
        """``tee``: where the answer is copied, if it may be remembered."""
        self._response = response
        self._tee = tee
        self.sent = b""
        """The last piece that went to the client."""

    @property
    def marked(self) -> bool:
        """The answer has said that it is complete."""
        return self._tee is not None and self._tee.marked

    def __call__(self, chunk: bytes) -> bool:
        """Send what may go on now; whether more is wanted at once."""
        if self._tee is not None:
            chunk = self._tee.feed(chunk)
        if chunk:
            self._response.send(chunk)
            self.sent = chunk
        else:
            self._response.flush()  # what is held back does not hold back the head
        return not (self._response.congested or self.marked)


class Forward:
    """Handles every request that is not for ``/-/``."""

    def __init__(
        self,
        upstreams: dict[str, Upstream],
        head: UpstreamHead,
        tasks: Tasks,
        *,
        end_seconds: float,
    ) -> None:
        """``upstreams``: by the address that a route names, the default one under ``""``."""
        self._upstreams = upstreams
        self._head = head
        self._tasks = tasks
        self._ends = Deadlines(end_seconds)

    async def relay(self, request: web.Request) -> web.StreamResponse:
        """Relay the request and its answer."""
        exchange = of(request)
        answer = await self._send(request, exchange)
        try:
            if answer.status >= 400 and exchange.again and await self._refused(exchange, answer):
                answer.close()
                answer = await self._send(request, exchange)
            if answer.status == 101:
                return await tunnel(request, answer, self._tasks)
            response = Relayed(answer)
            for hook in exchange.before_head:
                hook(exchange, response)
            exchange.head_sent = True
            await response.prepare(request)
            if not answer.has_data:
                response.flush()
            await self._relay(request, exchange, answer, response)
            return response
        finally:
            if exchange.capture is None or exchange.capture.task is None:
                answer.close()

    async def _send(self, request: web.Request, exchange: Exchange) -> UpstreamAnswer:
        method = request.method
        upstream = self._upstreams[exchange.route.settings.upstream if exchange.route else ""]
        target, fields = self._head.of_request(request, exchange)
        body = exchange.body
        exchange.asked = time.monotonic()
        if body is None and request.body_exists and not arrived(request):
            upload = stream_body(request)
            length = None if exchange.decompressed else request.content_length
            answer = await upstream.send(method, target, fields, upload, length=length)
        else:
            if body is None and hdrs.CONTENT_LENGTH in request.headers:
                body = request.content.read_nowait()
            answer = await upstream.send(method, target, fields, body)
        exchange.first_byte = time.monotonic()
        try:
            self._head.check(answer.status, exchange)
        except BaseException:
            answer.close()
            raise
        return answer

    async def _refused(self, exchange: Exchange, answer: UpstreamAnswer) -> bool:
        """Whether the upstream is to be asked once more, for less; nothing has been sent on yet."""
        assert exchange.again is not None
        try:
            body = await answer.peek(_MOST_REFUSAL_BYTES)
        except UpstreamFailure:
            return False  # the client shall see what came of it
        media_type = headers.media_type(answer.field(b"content-type") or b"")
        return exchange.again(Answer(answer.status, media_type, body, answer.proved))

    async def _relay(
        self, request: web.Request, exchange: Exchange, answer: UpstreamAnswer, response: Relayed
    ) -> None:
        """Move the body; whatever ends it early ends the client's connection too."""
        capture = self._capture(exchange, answer, response)
        relay = Relay(response, capture.tee if capture else None)
        try:
            while not (await answer.flow(relay) or relay.marked):
                answer.pause()
                await response.drained()
            if capture is not None:
                # A task of its own: a client that leaves now has had a complete answer.
                ended = self._tasks.loop().create_future()
                work = self._finish(answer, capture, ended)
                capture.task = self._tasks.spawn(work, name="finish")
                await ended
                if held := capture.tee.release():
                    response.send(held)
        except (UpstreamCut, UpstreamFailure, StoreUnavailable) as error:
            await self._cut(request, exchange, response, error, relay.sent)
        except BaseException:
            if capture is not None and capture.task is None:
                exchange.outcome = "discarded(client_left)"
            raise

    def _capture(
        self, exchange: Exchange, answer: UpstreamAnswer, response: Relayed
    ) -> Capture | None:
        """What is to be remembered of this answer: nothing of an error."""
        capture = exchange.capture
        if capture is None:
            return None
        if not 200 <= answer.status < 300:
            exchange.outcome = "discarded(status)"
            return None
        codings = headers.codings([response.coding]) if response.coding else ()
        capture.tee.begin(answer.status, response.media_type, codings, answer.length)
        return capture

    async def _finish(
        self, answer: UpstreamAnswer, capture: Capture, ended: "asyncio.Future[None]"
    ) -> None:
        """Read to the proved end of the framing, settle, and tell whoever still waits for ``ended``.

        That is told, and raised if nobody waits:
            UpstreamCut: the end did not come, or the body itself shows that it was cut.
            StoreUnavailable: the turn could not be made durable.
        """
        try:
            if not answer.exhausted:
                await self._read_rest(answer, capture)
            verdict = await capture.settle(answer.proved)
            if verdict is _ABORTED and not answer.proved:
                raise UpstreamCut("the answer stops in the middle")
        except Exception as error:
            if ended.done():
                raise
            ended.set_exception(error)
        else:
            if not ended.done():
                ended.set_result(None)
        finally:
            answer.close()
            ended.cancel()  # only if this was cancelled itself

    async def _read_rest(self, answer: UpstreamAnswer, capture: Capture) -> None:
        try:
            # A timer only where there is something to wait for: mostly everything is here.
            if not answer.ended:
                await self._ends.within(_copy_rest(answer, capture.tee))
            await _copy_rest(answer, capture.tee)
        except _Overlong:
            raise
        except (UpstreamCut, UpstreamFailure, TimeoutError) as exc:
            # The end marker alone proves the end of a body that nothing else delimits.
            if answer.framing is not _CLOSE or not capture.tee.marked:
                raise UpstreamCut("the framing did not end after the end of the answer") from exc

    async def _cut(
        self,
        request: web.Request,
        exchange: Exchange,
        response: Relayed,
        error: UpstreamCut | UpstreamFailure | StoreUnavailable,
        sent: bytes,
    ) -> None:
        """Say in the stream what happened, if the dialect can, and end it without its end."""
        code = "upstream_truncated"
        message = "the upstream's answer was cut; it is not remembered"
        if isinstance(error, UpstreamFailure):
            code, message = error.code, error.message
        elif isinstance(error, StoreUnavailable):
            code = "memory_commit_failed"
            message = "the answer is complete, but could not be remembered; ask again"
        exchange.error = code
        if exchange.capture is not None and not isinstance(error, StoreUnavailable):
            exchange.outcome = "discarded(cut)"
        plain = response.coding is None and response.framing is not _LENGTH
        # Within an event it would end a half one, which clients take for a whole.
        ends = _EVENT_ENDS.get(response.media_type)
        between = ends is not None and (not sent or sent.endswith(ends))
        if exchange.route is not None and plain and between:
            await response.write(exchange.route.dialect.error_event(code, message))
        cut(request, response)


class _Overlong(UpstreamCut):
    """It goes on and on."""


async def _copy_rest(answer: UpstreamAnswer, tee: Tee) -> None:
    left = _MOST_REST_BYTES
    while chunk := await answer.read():
        left -= len(chunk)
        if left < 0:
            raise _Overlong("the answer goes on after its end")
        tee.feed(chunk)

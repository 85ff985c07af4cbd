"""Opens the exchange, answers for every error before the head, and writes the one log line.

Refuses what an upstream could read differently than we do (RFC 9112 section 11.2): everything
here is about the bytes of the request as they will be forwarded.
"""

import asyncio
import logging
import re
import time
from urllib.parse import unquote_to_bytes

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler, Middleware

from backstory.answers import error_answer
from backstory.entropy import random_bytes
from backstory.errors import BackstoryError
from backstory.exchange import EXCHANGE, Exchange
from backstory.ids import CONVERSATION_ID
from backstory.log import Facts, log_facts
from backstory.metrics import Tally
from backstory.routes import RouteTable
from backstory.run_options import is_decompressed, missing

log = logging.getLogger("backstory.exchange")

_PREFIX = "/-/c/"
_BUG = BackstoryError(500, "internal_error", "Backstory failed; please report the line in its log")
_VERSIONS = (HttpVersion11, HttpVersion10)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:\d*)?")  # RFC 3986 3.2.2


def exchange(
    table: RouteTable, *, via: str, prefix: str = "", tally: Tally | None = None
) -> Middleware:
    """Opens every exchange.

    Args:
        table: the memory routes.
        via: our name in ``Via``, by which a loop is recognised.
        prefix: see ``app.setup``.
        tally: counts what became of it.
    """
    runner_is_known = False

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal runner_is_known
        if not runner_is_known:
            runner_is_known = True
            _warn(missing(request))
        target = request.raw_path.removeprefix(prefix)
        if prefix and not target.startswith("/"):
            target = "/" + target
        under_way = Exchange(random_bytes(8).hex(), target, time.monotonic())
        under_way.decompressed = is_decompressed(request)
        request[EXCHANGE] = under_way
        try:
            _open(request, under_way, table, via)
            response = await handler(request)
            under_way.status = response.status
        except BackstoryError as error:
            under_way.status, under_way.error = error.status, error.code
            response = _refuse(request, under_way, error)
        except (asyncio.CancelledError, ConnectionError):
            under_way.status, under_way.error = 499, "client_left"  # nginx's status for it
            raise
        except Exception:
            under_way.status, under_way.error = 500, "internal_error"
            if under_way.head_sent:
                raise  # the connection ends without the end of its framing
            log.exception("a bug of ours, not of the request's")
            response = _refuse(request, under_way, _BUG)
        finally:
            capture = under_way.capture
            task = capture.task if capture is not None else None
            if task and not task.done():
                task.add_done_callback(lambda _: _tell(request, under_way, tally))
            else:
                _tell(request, under_way, tally)
        return response

    return middleware


def _warn(options: list[str]) -> None:
    """Nothing tells an application at its start who will run it: so at the first request."""
    if options:
        log.warning(
            "aiohttp's runner was not given %s; give it **backstory.RUN_APP, or clients that leave"
            " go unnoticed and compressed bodies do not keep their bytes (docs/plugin.md)",
            ", ".join(options),
        )


def _open(request: web.Request, under_way: Exchange, table: RouteTable, via: str) -> None:
    _check(request, via)
    target = under_way.target
    if target.startswith(_PREFIX):
        name, slash, rest = target.removeprefix(_PREFIX).partition("/")
        conversation = unquote_to_bytes(name).decode("latin-1")
        if not slash or "?" in name or not CONVERSATION_ID.fullmatch(conversation):
            raise BackstoryError(
                400,
                "invalid_conversation",
                "the path must be /-/c/{conversation}/… with 1 to 256 visible ASCII characters",
            )
        under_way.prefix_conversation = conversation
        under_way.target = "/" + rest
    if not under_way.target.startswith("/-/"):  # ours, whatever a pattern of the table says
        under_way.route = table.find(request.method, under_way.target)


def _check(request: web.Request, via: str) -> None:
    """Raise for what is ambiguous or malformed, or came from ourselves."""
    method, fields = request.method, request.headers
    if method in ("CONNECT", "TRACE"):
        raise BackstoryError(
            405, "method_not_allowed", f"{method} is not relayed; ask the upstream directly"
        )
    if request.version not in _VERSIONS:
        raise _bad("the protocol must be HTTP/1.0 or HTTP/1.1")
    target = request.raw_path
    if not (target.startswith("/") or (target == "*" and method == "OPTIONS")):
        raise _bad("the request target must be a path, not a whole URL")
    if "#" in target:
        raise _bad("the request target has a fragment; leave out everything from # on")
    if not _HOST.fullmatch(fields.get(hdrs.HOST, "")):
        raise _bad("the Host field is not a host name with a port")
    if hdrs.TRANSFER_ENCODING in fields:
        coding = fields.getall(hdrs.TRANSFER_ENCODING)
        chunked = [c.strip().lower() for c in coding] == ["chunked"]
        if not (chunked and request.version == HttpVersion11):
            raise _bad("Transfer-Encoding must be chunked and nothing else, in HTTP/1.1")
    for line in fields.getall(hdrs.VIA, ()):
        if any(hop.split()[1:2] == [via] for hop in line.split(",")):
            raise BackstoryError(
                508,
                "loop_detected",
                "this request has passed here already; check the upstream's address",
            )


def _bad(message: str) -> BackstoryError:
    return BackstoryError(400, "bad_request", message)


def _refuse(request: web.Request, under_way: Exchange, error: BackstoryError) -> web.Response:
    response = error_answer(error, under_way.route.dialect if under_way.route else None)
    if under_way.route and under_way.receipt and under_way.conversation:
        response.headers["Backstory-Conversation"] = under_way.conversation
    if error.status in (400, 408):
        response.force_close()  # what follows may be framed otherwise than we think (RFC 9112 6.3)
    return response


def _tell(
    request: web.Request,
    under_way: Exchange,
    tally: Tally | None,
) -> None:
    """One line, without a word of what was said."""
    began, route, receipt = under_way.started, under_way.route, under_way.receipt
    line: Facts = {"exchange": under_way.id, "method": request.method}
    if route is not None:
        line["dialect"] = route.dialect.name
    line["status"] = under_way.status
    if under_way.error is not None:
        line["error"] = under_way.error
    if under_way.first_byte is not None:
        line["first_byte_ms"] = _milliseconds(under_way.first_byte - began)
    line["total_ms"] = _milliseconds(time.monotonic() - began)
    if receipt is not None:
        line["memory"] = receipt.outcome
        if receipt.turns is not None:
            line["turns"] = receipt.turns
    line["outcome"] = under_way.outcome
    log_facts(log, line)
    if tally is not None:
        tally.count(under_way)
    under_way.let_go()
    del request[EXCHANGE]


def _milliseconds(seconds: float) -> float:
    """With one digit behind the point; ``round`` takes ten times as long for it."""
    return int(seconds * 10_000 + 0.5) / 10

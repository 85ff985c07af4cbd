"""Recall before the upstream is asked, commit before the client learns that the answer is complete."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDictProxy, istr

from backstory import headers
from backstory.body import at_hand, plain_body, read_body
from backstory.buffers import Buffers, NoRoom
from backstory.errors import BackstoryError, NoSuchTurn, StoreUnavailable
from backstory.exchange import Capture, Exchange, of
from backstory.model import Answer, Message, Mode, Owner, Prompt, Verdict, made
from backstory.queue import ConversationQueue
from backstory.recall import Memory, Recalled
from backstory.receipt import Receipt
from backstory.relayed import Relayed
from backstory.settings import MemorySettings
from backstory.tasks import Tasks
from backstory.tee import Tee, Undecodable

log = logging.getLogger(__name__)
P = ParamSpec("P")
Fields = CIMultiDictProxy[str]
T = TypeVar("T")

OFF_LOOP_BYTES = 262144
"""Bodies larger than this are parsed in a thread: other people's streams must not stall."""

_STREAMS = ("text/event-stream", "application/x-ndjson")
_MODES: dict[str, Mode] = {
    "auto": "auto",
    "delta": "delta",
    "transcript": "transcript",
    "window": "window",
}
# A multidict works out what a plain name is told by each time.
_MEMORY, _CONVERSATION = istr("Backstory-Memory"), istr("Backstory-Conversation")
_TURN, _TIMING = istr("Backstory-Turn"), istr("Server-Timing")
_EXPLICIT = ("header", "prefix", "claim")


def memory(
    remembered: Memory, settings: MemorySettings, tasks: Tasks, buffers: Buffers
) -> Middleware:
    """``remembered``: recalls and commits; ``tasks``: what outlives the client; ``buffers``: bodies."""
    queue = ConversationQueue(depth=settings.queue_depth, wait_seconds=settings.queue_seconds)

    @web.middleware
    def middleware(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        exchange = of(request)
        if exchange.route is None:
            return handler(request)
        exchange.before_head.append(_say_receipt)
        if exchange.route.settings.memory == "named" and exchange.source not in _EXPLICIT:
            exchange.conversation = None
            exchange.receipt = exchange.receipt or Receipt("off", reason="no_conversation")
        if exchange.conversation is None or exchange.receipt is not None:
            return handler(request)
        return remember(request, exchange, handler)

    async def remember(
        request: web.Request, exchange: Exchange, handler: Handler
    ) -> web.StreamResponse:
        exchange.share = buffers.share()
        prompt = await _read(request, exchange, settings, remembered)
        if prompt is None:
            return await handler(request)
        names = prompt.follows or prompt.conversation
        if names and not await _follow(request, exchange, prompt, remembered):
            return await handler(request)
        assert exchange.conversation is not None
        place = _owner(exchange), exchange.conversation
        leave = queue.enter_at_once(place) or await queue.enter(place)
        settler: Settler | None = None
        try:
            settler = await _recall(request, exchange, prompt, remembered, settings)
            if settler is not None and settler.expires_within(settings.single_use_ttl / 2):
                _ = tasks.spawn(settler.touch(), name="touch")
            return await handler(request)
        finally:
            task = exchange.capture.task if exchange.capture else None
            if task and not task.done():  # the client left, its turn is kept
                task.add_done_callback(lambda _: over(settler, leave))
            else:
                over(settler, leave)

    def over(settler: Settler | None, leave: Callable[[], None]) -> None:
        leave()
        if settler is not None and settler.was_only_named:
            _ = tasks.spawn(settler.touch(), name="touch")

    return middleware


async def _read(
    request: web.Request, exchange: Exchange, settings: MemorySettings, remembered: Memory
) -> Prompt | None:
    """The prompt in the request; without one ``exchange.receipt`` says why memory stays out."""
    assert exchange.route is not None
    assert exchange.conversation is not None
    assert exchange.share is not None
    body = at_hand(request, settings.max_body_bytes, exchange.share)
    if body is None:
        try:
            body = await read_body(
                request,
                settings.max_body_bytes,
                exchange.share,
                idle_seconds=settings.upload_idle_seconds,
            )
        except NoRoom:
            if exchange.share.taken or not _may_bypass(request.headers):
                raise
            exchange.receipt = Receipt("bypassed", reason="no_room")  # nothing was read: it streams
            return None
    exchange.body = body
    fields = request.headers
    if _is_signed(fields):
        exchange.receipt = Receipt("skipped", reason="signed")
        return None
    if hdrs.CONTENT_ENCODING in fields and not exchange.decompressed:
        codings = headers.codings(fields.getall(hdrs.CONTENT_ENCODING))
        limit = settings.max_decoded_bytes
        plain = await plain_body(body, codings, limit, exchange.share) if codings else body
        if plain is None:
            exchange.receipt = Receipt("skipped", reason="content_encoding")
            return None
        body = plain
    dialect, name = exchange.route.dialect, exchange.conversation
    begun = remembered.transcripts.beginning(_owner(exchange), name, dialect, body)
    if len(body) - (begun.end if begun else 0) <= OFF_LOOP_BYTES:
        prompt = dialect.read_prompt(body, begun)
    else:
        prompt = await asyncio.to_thread(dialect.read_prompt, body, begun)
    if prompt is not None and prompt.resolve is not None:
        return prompt
    return _of_memory(exchange, prompt)


def _of_memory(exchange: Exchange, prompt: Prompt | None) -> Prompt | None:
    """``prompt`` if it is memory's; else ``exchange.receipt`` says why not."""
    if prompt is None:
        exchange.receipt = Receipt("skipped", reason="not_understood")
    elif not prompt.new:
        exchange.receipt = Receipt("skipped", reason="nothing_new")
    elif prompt.auxiliary:
        exchange.receipt = Receipt("skipped", reason="auxiliary")
    else:
        return prompt
    return None


async def _follow(
    request: web.Request, exchange: Exchange, prompt: Prompt, remembered: Memory
) -> bool:
    """Find the conversation that the body names, by itself or by a reply of it.

    ``False``: memory is unavailable, and the client will do without.
    """
    if prompt.follows and prompt.conversation:
        raise BackstoryError(
            400, "bad_request", "previous_response_id and conversation exclude each other; send one"
        )
    is_named = exchange.source in ("header", "prefix")  # more explicit than what the body says
    if prompt.conversation and not is_named:
        exchange.conversation, exchange.source = f"responses:{prompt.conversation}", "body"
        exchange.fresh = False
    if not prompt.follows:
        return True
    try:
        work = remembered.store.replied(_owner(exchange), prompt.follows)
        found = await remembered.within(work)
    except StoreUnavailable as exc:
        _without_store(exchange, exc, may_bypass=_may_bypass(request.headers))
        return False
    if found is None or (is_named and found[0] != exchange.conversation):
        raise _not_found(prompt)
    exchange.conversation, exchange.after = found
    exchange.source, exchange.fresh = "body" if not is_named else exchange.source, False
    return True


def _not_found(prompt: Prompt) -> BackstoryError:
    return BackstoryError(
        400,
        "previous_response_not_found",
        f"Previous response with id '{prompt.follows}' not found.",
    )


async def _recall(
    request: web.Request,
    exchange: Exchange,
    prompt: Prompt,
    remembered: Memory,
    settings: MemorySettings,
) -> "Settler | None":
    """Put history into the request, and see to it that the answer is remembered."""
    assert exchange.route is not None
    assert exchange.conversation is not None
    assert exchange.share is not None
    owner, name, fields = _owner(exchange), exchange.conversation, request.headers
    dialect, preset = exchange.route.dialect, _preset(fields, exchange)
    may_bypass = _may_bypass(fields)
    try:
        if prompt.resolve is not None:
            whole = await _resolved(exchange, prompt, prompt.resolve, remembered)
            if whole is None:
                return None
            prompt = whole
        recalled = await remembered.recall(
            owner, name, dialect, prompt, preset, fresh=exchange.fresh, after=exchange.after
        )
    except NoSuchTurn:
        raise _not_found(prompt) from None
    except StoreUnavailable as exc:
        _without_store(exchange, exc, may_bypass=may_bypass)
        return None
    if hdrs.IF_MATCH in fields:
        _check_version(fields[hdrs.IF_MATCH], recalled)
    exchange.recalled = True
    only_read = exchange.only_read or not prompt.stores
    tee = Tee(settings.max_answer_bytes, dialect.end_marker, exchange.share)
    settler = Settler(remembered, recalled, exchange, tee, only_read=only_read)
    if not only_read and recalled.plan.stores:
        exchange.turn = recalled.turn
        exchange.capture = Capture(tee, settler.settle)
        exchange.outcome = "discarded(no_answer)"
    if recalled.history:
        exchange.again = settler.again
    if len(prompt.body) + 3 * recalled.tokens <= OFF_LOOP_BYTES:
        settler.tell()
    else:
        await asyncio.to_thread(settler.tell)
    if exchange.rewritten and exchange.body is not None:
        told = len(exchange.body) - len(prompt.body)
        if told > 0 and not exchange.share.take(told):
            await exchange.share.wait(told)
    return settler


async def _resolved(
    exchange: Exchange,
    prompt: Prompt,
    resolve: Callable[[Sequence[Message]], bytes | None],
    remembered: Memory,
) -> Prompt | None:
    """The prompt with what it names by an id alone in its place; as it came if that is not there."""
    assert exchange.route is not None
    assert exchange.conversation is not None
    assert exchange.share is not None
    owner, name, dialect = _owner(exchange), exchange.conversation, exchange.route.dialect
    path = () if exchange.fresh else await remembered.path(owner, name, exchange.after)
    stored = [message for turn in path for message in turn.messages]
    size = len(prompt.body) + sum([len(message.raw) for message in stored])
    body = await _off_loop(size, resolve, stored)
    if body is None:
        return _of_memory(exchange, None)
    more = len(body) - len(prompt.body)
    if more > 0 and not exchange.share.take(more):
        await exchange.share.wait(more)
    begun = remembered.transcripts.beginning(owner, name, dialect, body)
    unread = len(body) - (begun.end if begun else 0)
    whole = _of_memory(exchange, await _off_loop(unread, dialect.read_prompt, body, begun))
    if whole is not None:
        exchange.body, exchange.rewritten = body, True
    return whole


class Settler:
    """What becomes of one recalled prompt: told, told otherwise, and at the end kept or not."""

    def __init__(
        self, memory: Memory, recalled: Recalled, exchange: Exchange, tee: Tee, *, only_read: bool
    ) -> None:
        """``tee``: holds the copy of the answer; ``only_read``: nothing is to be kept."""
        self._memory = memory
        self._recalled = recalled
        self._exchange = exchange
        self._tee = tee
        self._only_read = only_read
        self._as_read = exchange.body, exchange.rewritten
        self._plain = b""

    @property
    def was_only_named(self) -> bool:
        """Whether a conversation was named for the second time, and no turn of it says so."""
        conversation = self._recalled.conversation
        kept = self._exchange.outcome == "committed"
        return bool(conversation.version and conversation.single_use and not kept)

    def expires_within(self, seconds: float) -> bool:
        """Whether it might be erased while the answer is on its way."""
        conversation = self._recalled.conversation
        named_twice = conversation.version and conversation.single_use
        return bool(named_twice and conversation.updated < time.time() - seconds)

    async def touch(self) -> None:
        """Note that the conversation was named again."""
        recalled = self._recalled
        await self._memory.store.touch(recalled.owner, recalled.conversation.id)

    def tell(self) -> None:
        """Put the history into the request, and say so."""
        exchange, recalled = self._exchange, self._recalled
        exchange.told = recalled
        body = self._plain = recalled.body()
        is_as_read = body is recalled.prompt.body
        exchange.body, exchange.rewritten = self._as_read if is_as_read else (body, True)
        exchange.receipt = recalled.receipt.with_reason(exchange.reason)
        if self._only_read:
            exchange.receipt = exchange.receipt._replace(outcome="read")
        elif not recalled.plan.stores:
            exchange.receipt = Receipt("skipped", reason=recalled.plan.decision.name.lower())

    def again(self, refusal: Answer) -> bool:
        """See ``exchange.Exchange.again``. Once only."""
        self._exchange.again = None
        remedy = self._recalled.dialect.remedy(refusal)
        remedied = self._memory.remedied(self._recalled, remedy) if remedy else None
        if remedied is None:
            return False
        self._recalled = remedied
        self.tell()
        log.info("the upstream refused what was told; it is asked again: %s", remedy)
        return True

    async def settle(self, proved: bool) -> Verdict:
        """See ``exchange.Capture.settle``."""
        tee, recalled = self._tee, self._recalled
        try:
            body = tee.body()
        except Undecodable as exc:
            self._exchange.outcome = f"discarded({exc.reason})"
            log.warning("turn %s is not remembered: %s", recalled.turn, exc)
            return Verdict.UNPROVED
        answer = made(Answer, (tee.status, tee.media_type, body, proved, self._plain))
        read = recalled.dialect.read_reply
        if len(body) <= OFF_LOOP_BYTES:
            reply = read(recalled.prompt, answer)
        else:
            reply = await asyncio.to_thread(read, recalled.prompt, answer)
        if not reply.verdict.kept:
            self._exchange.outcome = f"discarded({reply.verdict.value})"
            return reply.verdict
        self._exchange.outcome = "discarded(store_unavailable)"
        gone = await self._memory.commit(recalled, reply)
        self._exchange.outcome = f"discarded({gone})" if gone else "committed"
        return reply.verdict


def _say_receipt(exchange: Exchange, response: web.StreamResponse) -> None:
    if exchange.receipt is None:
        return
    fields: list[tuple[str, str]] = [(_MEMORY, str(exchange.receipt))]
    if exchange.conversation:
        fields.append((_CONVERSATION, exchange.conversation))
    if exchange.turn:
        fields.append((_TURN, exchange.turn))
    if exchange.asked is not None:
        ours = (exchange.asked - exchange.started) * 1000
        fields.append((_TIMING, f"backstory;dur={ours:.1f}"))
    if isinstance(response, Relayed) and response.media_type in _STREAMS:
        fields.append(("X-Accel-Buffering", "no"))  # an nginx in front consumes it
    response.headers.extend(fields)


def _without_store(exchange: Exchange, exc: StoreUnavailable, *, may_bypass: bool) -> None:
    """An answer without its history is a wrong answer, unless the client says that it will do."""
    log.warning("memory is unavailable: %s", exc)
    if not may_bypass:
        raise BackstoryError(
            503,
            "memory_unavailable",
            "the conversation cannot be read now; nothing was run. Try again, or send"
            " Backstory-On-Error: bypass to be answered without memory",
            headers=(("Retry-After", "2"),),
        ) from exc
    exchange.receipt = Receipt("bypassed", reason="store_unavailable")


def _check_version(wanted: str, recalled: Recalled) -> None:
    is_at = f'"{recalled.conversation.version}"'
    if wanted.strip() != is_at:
        raise BackstoryError(
            412,
            "version_mismatch",
            f"the conversation is at version {is_at}, not at the one that If-Match names; nothing was run",
        )


def _preset(fields: Fields, exchange: Exchange) -> Mode:
    """How the client keeps its history: as it says itself, else as it is known to."""
    value = fields.get("Backstory-Client")
    if value is None:
        return exchange.preset
    value = value.strip().lower()
    if value not in _MODES:
        raise BackstoryError(
            400, "bad_request", "Backstory-Client must be auto, delta, transcript or window"
        )
    return exchange.preset if value == "auto" else _MODES[value]


def _may_bypass(fields: Fields) -> bool:
    value = fields.get("Backstory-On-Error")
    if value is None:
        return False
    value = value.strip().lower()
    if value not in ("closed", "bypass"):
        raise BackstoryError(400, "bad_request", "Backstory-On-Error must be closed or bypass")
    return value == "bypass"


def _is_signed(fields: Fields) -> bool:
    """A signature covers the body, so the body may not change (RFC 9421; AWS Signature Version 4)."""
    aws = fields.get(hdrs.AUTHORIZATION, "").startswith("AWS4-HMAC-SHA256")
    return aws or "Signature" in fields or "Signature-Input" in fields


def _owner(exchange: Exchange) -> Owner:
    assert exchange.identity is not None
    return exchange.identity.owner


async def _off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``work`` done here, or in a thread if ``size`` bytes would hold up everybody else."""
    if size <= OFF_LOOP_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)

"""One request under way: what the stages tell each other. The only mutable thing in the chain."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

from backstory.buffers import Share
from backstory.model import Answer, Identity, Mode, Verdict
from backstory.recall import Recalled
from backstory.receipt import Receipt
from backstory.routes import Route
from backstory.tee import Tee

Hook = Callable[["Exchange", web.StreamResponse], None]
Source = Literal["header", "prefix", "body", "client", "claim", "cookie", "fallback", ""]


@dataclass(slots=True)
class Capture:
    """An answer that memory wants: what copies it, and what to do at its end."""

    tee: Tee
    settle: Callable[[bool], Awaitable[Verdict]]
    """Call once, at the end; the argument: the framing proved it. Commits what is to be kept.

    Raises ``StoreUnavailable`` if the turn could not be made durable.
    """
    task: "asyncio.Task[None] | None" = None
    """Reads the proved end and settles; outlives the client. Written by ``forward``."""


@dataclass(slots=True, eq=False)
class Exchange:
    """Each field names the stage that writes it."""

    id: str
    target: str
    """``exchange``: path and query as sent, without the conversation prefix."""
    started: float
    """``exchange``: seconds of the monotonic clock."""
    decompressed: bool = False
    """``exchange``: the server has undone the body's content coding, and left the fields."""
    route: Route | None = None
    """``exchange``: the memory route, if it is one."""
    prefix_conversation: str | None = None
    """``exchange``: from ``/-/c/{conversation}/``."""
    identity: Identity | None = None
    """``auth``"""
    conversation: str | None = None
    """``session``: its id, within the owner's namespace."""
    source: Source = ""
    """``session``: what named the conversation."""
    fresh: bool = False
    """``session``: its name was made for this request, so there is nothing to read of it."""
    after: str | None = None
    """``memory``: the turn that this one continues, where the body names its reply."""
    preset: Mode = "auto"
    """``session``: how a known client keeps its history."""
    only_read: bool = False
    """``session``: the client wants nothing to be kept of this exchange."""
    receipt: Receipt | None = None
    """``session`` (off) or ``memory``: what the answer says that memory did."""
    reason: str | None = None
    """``session``: why the cookie did not count."""
    before_head: list[Hook] = field(default_factory=list)
    """Called between making the response and sending its head: the last moment for a header."""
    told: Recalled | None = None
    """``memory``: the prompt with the history that was last put in front of it."""
    share: Share | None = None
    """``memory``: what this exchange has taken of the memory for bodies."""
    recalled: bool = False
    """``memory``: the conversation was read, and what the client says of it (``If-Match``) is done."""
    body: bytes | None = None
    """``memory``: what to send upstream; ``None``: the client's body as it comes."""
    rewritten: bool = False
    """``memory``: ``body`` is not what the client sent, and has no content coding."""
    again: Callable[[Answer], bool] | None = None
    """``memory``: told an upstream's refusal, puts another request into ``body`` if that may help."""
    turn: str | None = None
    """``memory``: the id that the turn has once stored."""
    capture: Capture | None = None
    """``memory``"""
    asked: float | None = None
    """``forward``: when the request went upstream."""
    first_byte: float | None = None
    """``forward``: when the head of the answer arrived."""
    head_sent: bool = False
    """``forward``: from here on an error has no status."""
    status: int = 0
    """``forward`` or ``exchange``"""
    outcome: str = "passed"
    """``committed``, ``discarded(why)``, or ``passed``: nothing was to be remembered."""
    error: str | None = None
    """Code of an error of ours."""

    def let_go(self) -> None:
        """Forget what refers back to it: it is over, and nobody has to look for it as garbage."""
        if self.share is not None:
            self.share.release()
        self.before_head.clear()
        self.told = self.capture = self.again = self.body = None


EXCHANGE = web.RequestKey("exchange", Exchange)
"""Where a request keeps its exchange."""


def of(request: web.Request) -> Exchange:
    """The exchange of a request."""
    return request[EXCHANGE]

"""What lives under ``/-/``: health, and the caller's own conversations."""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp import web

from backstory.answers import json_answer
from backstory.errors import BackstoryError, StoreUnavailable
from backstory.exchange import of
from backstory.model import Conversation, Owner, Turn
from backstory.recall import Memory

PREFIX = "/-/"
MAX_PAGE = 1000

Handler = Callable[[web.Request, tuple[str, ...]], Awaitable[web.Response]]


class Manage:
    """Handles every request under ``/-/``, by the bytes of its path as they were sent."""

    def __init__(self, memory: Memory) -> None:
        """``memory``: whose store is asked."""
        self._memory = memory
        self._store = memory.store
        self.draining = False
        self._routes: tuple[tuple[re.Pattern[str], dict[str, Handler]], ...] = (
            (re.compile("/-/health/live"), {"GET": self._live}),
            (re.compile("/-/health/ready"), {"GET": self._ready}),
            (
                re.compile("/-/v1/conversations/([^/]+)"),
                {"GET": self._conversation, "DELETE": self._erase},
            ),
            (re.compile("/-/v1/conversations/([^/]+)/turns"), {"GET": self._turns}),
            (re.compile("/-/v1/conversations/([^/]+)/turns/([^/]+)"), {"GET": self._turn}),
        )

    async def __call__(self, request: web.Request) -> web.Response:
        """Answer.

        Raises:
            BackstoryError: 404, 405, or what the handler says.
        """
        path = of(request).target.partition("?")[0]
        for pattern, handlers in self._routes:
            if found := pattern.fullmatch(path):
                method = "GET" if request.method == "HEAD" else request.method
                if method not in handlers:
                    raise _wrong_method(handlers)
                names = tuple(unquote_to_bytes(name).decode("latin-1") for name in found.groups())
                return await self._within(handlers[method](request, names))
        raise _not_found()

    async def _within(self, work: Awaitable[web.Response]) -> web.Response:
        try:
            return await work
        except StoreUnavailable as exc:
            raise BackstoryError(
                503,
                "memory_unavailable",
                "the store does not answer now; try again in a moment",
                headers=(("Retry-After", "2"),),
            ) from exc

    async def _live(self, request: web.Request, names: tuple[str, ...]) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, request: web.Request, names: tuple[str, ...]) -> web.Response:
        if self.draining:
            raise BackstoryError(
                503, "draining", "this server is about to stop", headers=(("Retry-After", "1"),)
            )
        await self._memory.within(self._store.ready())
        return web.Response(text="ok\n")

    async def _conversation(self, request: web.Request, names: tuple[str, ...]) -> web.Response:
        found = await self._find(request, names[0])
        head = found.head
        return json_answer(
            _json(
                {
                    "id": found.id,
                    "version": found.version,
                    "dialects": list(found.dialects),
                    "turns": head.depth if head else 0,
                    "tokens": head.tokens if head else 0,
                    "head": head.turn if head else None,
                    "created": _time(found.created),
                    "updated": _time(found.updated),
                }
            )
        )

    async def _turns(self, request: web.Request, names: tuple[str, ...]) -> web.Response:
        found = await self._find(request, names[0])
        query = dict(parse_qsl(of(request).target.partition("?")[2]))
        limit, after = _limit(query.get("limit", "100")), query.get("after")
        turns: tuple[Turn, ...] = ()
        if found.head:
            work = self._store.path(_owner(request), found.id, found.head.turn)
            turns = await self._memory.within(work)
        if after is not None:
            place = next((n for n, turn in enumerate(turns, 1) if turn.id == after), None)
            if place is None:
                raise BackstoryError(
                    400, "bad_request", "after must be the id of a turn on the path"
                )
            turns = turns[place:]
        page = turns[:limit]
        following = json.dumps(page[-1].id if len(turns) > limit else None)
        listed = b",".join(_turn_json(turn) for turn in page)
        return json_answer(b'{"turns":[' + listed + b'],"next":' + following.encode() + b"}\n")

    async def _turn(self, request: web.Request, names: tuple[str, ...]) -> web.Response:
        work = self._store.turn(_owner(request), *names)
        turn = await self._memory.within(work)
        if turn is None:
            raise _not_found()
        return json_answer(_turn_json(turn) + b"\n")

    async def _erase(self, request: web.Request, names: tuple[str, ...]) -> web.Response:
        if not await self._memory.erase(_owner(request), names[0]):
            raise _not_found()
        return web.Response(status=204)

    async def _find(self, request: web.Request, name: str) -> Conversation:
        found = await self._memory.within(self._store.load(_owner(request), name))
        if found is None:
            raise _not_found()
        return found


def _turn_json(turn: Turn) -> bytes:
    """The turn; its messages byte for byte as they are stored."""
    facts = {
        "id": turn.id,
        "parent": turn.parent,
        "dialect": turn.dialect,
        "created": _time(turn.created),
        "truncated": turn.truncated,
        "imported": turn.imported,
    }
    messages = b",".join(message.raw for message in turn.messages)
    return json.dumps(facts).encode()[:-1] + b', "messages": [' + messages + b"]}"


def _json(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _owner(request: web.Request) -> Owner:
    identity = of(request).identity
    assert identity is not None
    return identity.owner


def _limit(text: str) -> int:
    # int() refuses to read thousands of digits.
    if not re.fullmatch("[0-9]{1,4}", text) or not 0 < int(text) <= MAX_PAGE:
        raise BackstoryError(400, "bad_request", f"limit must be a number from 1 to {MAX_PAGE}")
    return int(text)


def _not_found() -> BackstoryError:
    return BackstoryError(404, "not_found", "there is nothing of this name that is yours")


def _wrong_method(handlers: dict[str, Handler]) -> BackstoryError:
    allowed = ", ".join(handlers).replace("GET", "GET, HEAD")
    return BackstoryError(
        405,
        "method_not_allowed",
        f"this resource knows {allowed} only",
        headers=(("Allow", allowed),),
    )

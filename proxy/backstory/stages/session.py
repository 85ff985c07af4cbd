"""Which conversation: the most explicit name that the request gives, and last the cookie.

The header, the URL prefix, a known client's own header, the token's claim, the session cookie; without any of them a new
conversation begins where a cookie may be set.
"""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache, partial

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from backstory.errors import BackstoryError
from backstory.exchange import Exchange, Source, of
from backstory.ids import CONVERSATION_ID
from backstory.known_clients import BUILT_IN, KnownClient, configured, recognise
from backstory.model import Identity, Owner
from backstory.receipt import Receipt
from backstory.session import CookieSeal, CookieStorage
from backstory.settings import SessionSettings
from backstory.turns import new_conversation_id

# They keep cookies without their user knowing, and one client object often serves many people.
_SDK = re.compile(r"openai|anthropic|ollama|litellm|langchain|ai-sdk|aider|^ai/", re.IGNORECASE)


def session(
    settings: SessionSettings, seal: CookieSeal, *, trusted_proxies: tuple[str, ...] = ()
) -> Middleware:
    """``trusted_proxies``: whose word counts about how the request came."""
    clients = (*configured(settings.conversation_headers), *BUILT_IN)
    storage_of = lru_cache(maxsize=1024)(partial(_storage, seal))
    trusted = [ipaddress.ip_network(network, strict=False) for network in trusted_proxies]

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        exchange = of(request)
        identity = exchange.identity
        if exchange.route is None or identity is None:
            return await handler(request)
        if _memory_header(request) == "off":
            exchange.receipt = Receipt("off", reason="requested")
            return await handler(request)
        name, exchange.source = _named(request, exchange, identity, clients)
        if name == "new":
            name, exchange.fresh = new_conversation_id(), True
        exchange.conversation = name
        if exchange.conversation is None and _cookies_allowed(request, settings):
            storage = storage_of(identity.owner, _is_https(request, trusted))
            await _from_cookie(request, exchange, storage)
        if exchange.conversation is None and exchange.route.dialect.names_replies:
            # Others may go on from this reply by its id alone; `memory` sees whether this one does.
            exchange.conversation, exchange.source = new_conversation_id(), "body"
            exchange.fresh = True
        if (
            exchange.conversation is None
            and settings.fallback == "subject"
            and not identity.anonymous
        ):
            exchange.conversation, exchange.source = "subject", "fallback"
        if exchange.conversation is None:
            exchange.receipt = Receipt("off", reason="no_conversation")
        return await handler(request)

    return middleware


def _storage(seal: CookieSeal, owner: Owner, https: bool) -> CookieStorage:
    return CookieStorage(seal, owner, https=https)


def _memory_header(request: web.Request) -> str:
    value = request.headers.get("Backstory-Memory", "on").strip().lower()
    if value not in ("on", "off", "read"):
        raise BackstoryError(400, "bad_request", "Backstory-Memory must be on, off or read")
    return value


def _named(
    request: web.Request,
    exchange: Exchange,
    identity: Identity,
    clients: Sequence[KnownClient],
) -> tuple[str | None, Source]:
    said = request.headers.getall("Backstory-Conversation", [])
    header = said[0] if said else None
    if len(said) > 1 or (header is not None and not CONVERSATION_ID.fullmatch(header)):
        raise BackstoryError(
            400,
            "invalid_conversation",
            "Backstory-Conversation must be given once, as 1 to 256 visible ASCII characters",
        )
    theirs, exchange.preset = recognise(request.headers, clients) or (None, "auto")
    sources: tuple[tuple[str | None, Source], ...] = (
        (header, "header"),
        (exchange.prefix_conversation, "prefix"),
        (theirs, "client"),
        (identity.conversation, "claim"),
    )
    for name, source in sources:
        if name is not None:
            return name, source
    return None, ""


def _cookies_allowed(request: web.Request, settings: SessionSettings) -> bool:
    route = of(request).route
    if settings.session == "off" or (route and route.settings.memory == "named"):
        return False
    if settings.session == "always":
        return True
    for name, _ in request.raw_headers:
        if name[:12].lower() == b"x-stainless-":
            return False
    return not _SDK.search(request.headers.get("User-Agent", ""))


async def _from_cookie(request: web.Request, exchange: Exchange, storage: CookieStorage) -> None:
    kept = await storage.load_session(request)
    if _is_cross_site(request):
        if kept.new:
            return  # a page of another site begins no conversation in its visitor's name
        raise BackstoryError(
            403,
            "cross_site",
            "a page of another site sent this with the session cookie; name the conversation with"
            " the header Backstory-Conversation instead",
        )
    exchange.reason = kept.refusal
    if kept.new:
        kept["conversation"], exchange.fresh = new_conversation_id(), True
    exchange.conversation, exchange.source = kept["conversation"], "cookie"

    async def save(response: web.StreamResponse) -> None:
        # aiohttp-session's middleware would never save with a streamed answer.
        if exchange.receipt and exchange.receipt.outcome in ("new", "hit", "read"):
            await storage.save_session(request, response, kept)

    if storage.is_due(kept):
        exchange.before_head.append(save)


def _is_cross_site(request: web.Request) -> bool:
    """Whether a browser says that another site's page sent this (Fetch metadata, W3C)."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")


def _is_https(
    request: web.Request, trusted: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> bool:
    if request.transport is not None and request.transport.get_extra_info("sslcontext"):
        return True
    if not trusted:
        return False
    try:
        peer = ipaddress.ip_address(request.remote or "")
    except ValueError:  # a Unix socket has no address
        return False
    if not any(peer in network for network in trusted):
        return False
    # The last value is the one that the trusted proxy itself added.
    proto = request.headers.getall("X-Forwarded-Proto", [""])[-1].rpartition(",")[2]
    return proto.strip().lower() == "https"

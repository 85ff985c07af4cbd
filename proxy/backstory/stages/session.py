"""Which conversation: the most explicit name that the request gives, and last the cookie.

The header, the URL prefix, a known client's own header, the token's claim, the session cookie; without any of them a new
conversation begins where a cookie may be set.
"""

import ipaddress
import re
from collections.abc import Awaitable, Sequence
from functools import lru_cache, partial

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDictProxy

from backstory import headers
from backstory.errors import BackstoryError
from backstory.exchange import Exchange, Source, of
from backstory.ids import CONVERSATION_ID
from backstory.known_clients import BUILT_IN, KnownClient, configured, recognise
from backstory.model import Identity, Owner
from backstory.receipt import Receipt
from backstory.routes import Route
from backstory.session import CookieSeal, CookieStorage
from backstory.settings import SessionSettings
from backstory.turns import new_conversation_id

Fields = CIMultiDictProxy[str]
# They keep cookies without their user knowing, and one client object often serves many people.
_SDK = re.compile(r"openai|anthropic|ollama|litellm|langchain|ai-sdk|aider|^ai/", re.IGNORECASE)
_stainless = headers.ByName(lambda name: name.startswith(b"x-stainless-"))
"""Fields of the SDKs that Stainless makes."""


def session(
    settings: SessionSettings, seal: CookieSeal, *, trusted_proxies: tuple[str, ...] = ()
) -> Middleware:
    """``trusted_proxies``: whose word counts about how the request came."""
    clients = (*configured(settings.conversation_headers), *BUILT_IN)
    storage_of = lru_cache(maxsize=1024)(partial(_storage, seal))
    trusted = [ipaddress.ip_network(network, strict=False) for network in trusted_proxies]

    @web.middleware
    def middleware(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        exchange = of(request)
        if exchange.route is not None and exchange.identity is not None:
            choose(request, exchange, exchange.route, exchange.identity)
        return handler(request)

    def choose(request: web.Request, exchange: Exchange, route: Route, identity: Identity) -> None:
        fields = request.headers
        wanted = _memory_header(fields)
        if wanted == "off":
            exchange.receipt = Receipt("off", reason="requested")
            return
        exchange.only_read = wanted == "read"
        name, exchange.source = _named(fields, exchange, identity, clients)
        if name is None and _cookies_allowed(request, settings, route):
            _from_cookie(request, exchange, storage_of(identity.owner, _is_https(request, trusted)))
            if exchange.conversation is not None:
                return
        if name == "new":
            name, exchange.fresh = new_conversation_id(), True
        elif name is None and route.dialect.names_replies:
            # Others may go on from this reply by its id alone; `memory` sees whether this one does.
            name, exchange.source, exchange.fresh = new_conversation_id(), "body", True
        elif name is None and settings.fallback == "subject" and not identity.anonymous:
            name, exchange.source = "subject", "fallback"
        exchange.conversation = name
        if name is None:
            exchange.receipt = Receipt("off", reason="no_conversation")

    return middleware


def _storage(seal: CookieSeal, owner: Owner, https: bool) -> CookieStorage:
    return CookieStorage(seal, owner, https=https)


def _memory_header(fields: Fields) -> str:
    value = fields.get("Backstory-Memory")
    if value is None:
        return "on"
    value = value.strip().lower()
    if value not in ("on", "off", "read"):
        raise BackstoryError(400, "bad_request", "Backstory-Memory must be on, off or read")
    return value


def _named(
    fields: Fields,
    exchange: Exchange,
    identity: Identity,
    clients: Sequence[KnownClient],
) -> tuple[str | None, Source]:
    theirs, exchange.preset = recognise(fields, clients) or (None, "auto")
    if "Backstory-Conversation" in fields:
        [header, *more] = fields.getall("Backstory-Conversation")
        if more or not CONVERSATION_ID.fullmatch(header):
            raise BackstoryError(
                400,
                "invalid_conversation",
                "Backstory-Conversation must be given once, as 1 to 256 visible ASCII characters",
            )
        return header, "header"
    if exchange.prefix_conversation is not None:
        return exchange.prefix_conversation, "prefix"
    if theirs is not None:
        return theirs, "client"
    if identity.conversation is not None:
        return identity.conversation, "claim"
    return None, ""


def _cookies_allowed(request: web.Request, settings: SessionSettings, route: Route) -> bool:
    if settings.session == "off" or route.settings.memory == "named":
        return False
    if settings.session == "always":
        return True
    if _is_sdk(request.headers.get(hdrs.USER_AGENT, "")):
        return False
    return not any(map(_stainless.__getitem__, map(headers.name_of, request.raw_headers)))


@lru_cache(maxsize=256)
def _is_sdk(agent: str) -> bool:
    return _SDK.search(agent) is not None


def _from_cookie(request: web.Request, exchange: Exchange, storage: CookieStorage) -> None:
    ticket, refusal = storage.find(request)
    if _is_cross_site(request):
        if ticket is None:
            return  # a page of another site begins no conversation in its visitor's name
        raise BackstoryError(
            403,
            "cross_site",
            "a page of another site sent this with the session cookie; name the conversation with"
            " the header Backstory-Conversation instead",
        )
    exchange.reason, exchange.source = refusal, "cookie"
    if ticket is None:
        conversation, exchange.fresh = new_conversation_id(), True
    else:
        conversation = ticket.conversation
    exchange.conversation = conversation

    def save(exchange: Exchange, response: web.StreamResponse) -> None:
        # aiohttp-session's middleware would never save with a streamed answer.
        if exchange.receipt and exchange.receipt.outcome in ("new", "hit", "read"):
            storage.save(response, conversation)

    if storage.is_due(ticket):
        exchange.before_head.append(save)


def _is_cross_site(request: web.Request) -> bool:
    """Whether a browser says that another site's page sent this (Fetch metadata, W3C)."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")


def _is_https(
    request: web.Request, trusted: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> bool:
    transport = request.transport
    if transport is not None and transport.get_extra_info("sslcontext"):
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

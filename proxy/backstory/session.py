"""The session cookie: a sealed note of which conversation, for one owner, and nothing else.

It selects, it does not authenticate: opened by anybody but its owner it counts as absent. The
interface is aiohttp-session's; the storage is ours, because the library's own never saves with a
streamed answer, has one key, no typed failures, and answers garbage with a server error.
"""

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from aiohttp import hdrs, web
from aiohttp_session import AbstractStorage, Session, SessionData
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backstory import headers
from backstory.entropy import random_bytes
from backstory.keys import Ring
from backstory.model import Owner

MAX_COOKIE_BYTES = 1024
_VERSION = "v1"
_NONCE_BYTES = 12  # NIST SP 800-38D section 8.2.2: 96 random bits

Refusal = Literal["bad_cookie", "retired_key", "foreign_cookie", "expired_cookie"]


class Ticket(NamedTuple):
    """What a cookie says."""

    conversation: str
    issued: float
    """Seconds since the epoch."""


class CookieSeal:
    """Seals and opens tickets: AES-256-GCM under the newest key, opened under any of the ring."""

    def __init__(self, ring: Ring, max_age_seconds: float) -> None:
        """``max_age_seconds``: after which a ticket counts as absent."""
        self._ciphers = {kid: AESGCM(key) for kid, key in ring.keys("cookie/v1").items()}
        self._newest = next(iter(self._ciphers))
        self.max_age_seconds = max_age_seconds
        # The same value opens to the same note for as long as the keys are these.
        self._note = lru_cache(maxsize=1024)(self._read)

    def seal(self, ticket: Ticket, owner: Owner, name: str) -> str:
        """The value of the cookie ``name``."""
        note = {"c": ticket.conversation, "o": _owner_mark(owner), "t": int(ticket.issued)}
        nonce = random_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, json.dumps(note).encode(), _bound(name))
        return f"{_VERSION}.{self._newest}.{_encode(nonce + sealed)}"

    def open(self, value: bytes, owner: Owner, name: str, now: float) -> Ticket | Refusal:
        """The ticket, or why there is none. No input raises."""
        note = self._note(value, name)
        if not isinstance(note, dict):
            return note
        if note["o"] != _owner_mark(owner):
            return "foreign_cookie"
        if not now - self.max_age_seconds < note["t"] < now + 300:
            return "expired_cookie"
        return Ticket(note["c"], note["t"])

    def _read(self, value: bytes, name: str) -> "dict[str, Any] | Refusal":
        """What ``seal`` wrote, whoever sends it."""
        try:
            version, kid, text = value.decode("ascii").split(".")
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (ValueError, binascii.Error):
            return "bad_cookie"
        # Junk that base64 ignores would make many cookies of one: only one spelling counts.
        if len(value) > MAX_COOKIE_BYTES or version != _VERSION or _encode(sealed) != text:
            return "bad_cookie"
        if kid not in self._ciphers:
            return "retired_key"
        try:
            plain = self._ciphers[kid].decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(name)
            )
        except (InvalidTag, ValueError):
            return "bad_cookie"
        note: dict[str, Any] = json.loads(plain)  # authentic, so it is what ``seal`` wrote
        return note


class CookieSession(Session):
    """aiohttp-session's session of one request; ``refusal`` says why a cookie did not count."""

    def __init__(self, ticket: Ticket | None, refusal: Refusal | None = None) -> None:
        """``ticket``: what the request's cookie said."""
        data: SessionData | None = None
        if ticket is not None:
            told = {"conversation": ticket.conversation}
            data = {"created": int(ticket.issued), "session": told}
        super().__init__(None, data=data, new=ticket is None)
        self.ticket = ticket
        self.refusal = refusal


class CookieStorage(AbstractStorage):
    """aiohttp-session's storage for one owner, inside the cookie."""

    def __init__(
        self, seal: CookieSeal, owner: Owner, *, https: bool, clock: Callable[[], float] = time.time
    ) -> None:
        """``https``: how the request came, which decides the cookie's name and ``Secure``."""
        name = headers.cookie_name(https=https)
        super().__init__(
            cookie_name=name,
            max_age=int(seal.max_age_seconds),
            path="/",
            secure=https,
            httponly=True,
            samesite="Lax",
        )
        self._name = name
        self._attributes = f"HttpOnly; Max-Age={self.max_age}; Path=/; SameSite=Lax"
        if https:
            self._attributes += "; Secure"
        self._seal = seal
        self._owner = owner
        self._clock = clock

    def find(self, request: web.BaseRequest) -> tuple[Ticket | None, Refusal | None]:
        """The ticket of the first cookie of ours that opens; or none, and why."""
        refusal: Refusal | None = None
        for line in request.headers.getall(hdrs.COOKIE, ()):
            for value in headers.cookie_values(line, self._name):
                opened = self._seal.open(value, self._owner, self._name, self._clock())
                if isinstance(opened, Ticket):
                    return opened, None
                refusal = refusal or opened
        return None, refusal

    def is_due(self, ticket: Ticket | None) -> bool:
        """Whether there is anything to save: the cookie that came will do for half its life."""
        if ticket is None:
            return True
        return self._clock() - ticket.issued >= self._seal.max_age_seconds / 2

    def save(self, response: web.StreamResponse, conversation: str) -> None:
        """Set the cookie. To be called before the head is sent.

        Written here, because ``http.cookies`` takes 750 steps of the interpreter for it.
        """
        now = self._clock()
        value = self._seal.seal(Ticket(conversation, now), self._owner, self._name)
        expires = formatdate(now + self._seal.max_age_seconds, usegmt=True)
        cookie = f"{self._name}={value}; Expires={expires}; {self._attributes}"
        response.headers.add(hdrs.SET_COOKIE, cookie)

    async def load_session(self, request: web.Request) -> CookieSession:
        """See AbstractStorage: as ``find``, with a new session where there is no ticket."""
        return CookieSession(*self.find(request))

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """See AbstractStorage: as ``save``, if the session is new or half expired."""
        ticket = session.ticket if isinstance(session, CookieSession) else None
        if session.new or self.is_due(ticket):
            self.save(response, session["conversation"])


@lru_cache(maxsize=1024)
def _owner_mark(owner: Owner) -> str:
    digest = hashlib.sha256(json.dumps([owner.tenant, owner.subject]).encode()).digest()
    return _encode(digest[:16])


def _bound(name: str) -> bytes:
    """What the seal covers besides the note: a cookie cannot be moved to another name."""
    return f"{name}|session|{_VERSION}".encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

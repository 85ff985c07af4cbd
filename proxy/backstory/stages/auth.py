"""Who is asking: a JWT, or with ``auth = off`` a pseudonym of whatever credential was presented."""

import math
import time
import warnings
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import unquote

import jwt
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from jwt.warnings import InsecureKeyLengthWarning

from backstory.errors import BackstoryError
from backstory.exchange import Exchange, of
from backstory.headers import CREDENTIALS
from backstory.ids import CONVERSATION_ID
from backstory.keys import Ring
from backstory.model import Identity, Owner
from backstory.settings import AuthSettings

MAX_TOKEN_BYTES = 8192
MAX_KNOWN_TOKENS = 1024
_NO_TOKEN_NEEDED = frozenset(("/-/health/live", "/-/health/ready"))


def auth(settings: AuthSettings, ring: Ring, *, strict: bool = False) -> Middleware:
    """Every request needs an identity but health checks and CORS preflights."""
    identify = (
        TokenVerifier(settings, strict=strict) if settings.auth == "jwt" else Pseudonyms(ring)
    )

    @web.middleware
    def middleware(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        exchange = of(request)
        path = exchange.target.partition("?")[0]
        if path not in _NO_TOKEN_NEEDED and not _is_preflight(request):
            exchange.identity = identify(request, exchange)
        return handler(request)

    return middleware


class TokenVerifier:
    """Verifies HMAC-signed tokens; the algorithms are the operator's choice, never the token's."""

    def __init__(
        self, settings: AuthSettings, *, strict: bool, clock: Callable[[], float] = time.time
    ) -> None:
        """``settings.jwt_secret`` is set."""
        assert settings.jwt_secret is not None
        self._secret = settings.jwt_secret.as_bytes()
        self._algorithms = list(settings.jwt_algorithms)
        self._leeway = settings.jwt_leeway_seconds
        self._required = ["exp"] if settings.require_exp or strict else []
        self._clock = clock
        self._verified: OrderedDict[str, tuple[float, Identity]] = OrderedDict()

    def __call__(self, request: web.Request, exchange: Exchange) -> Identity:
        """The identity that the request's token proves.

        Raises:
            BackstoryError: 401.
        """
        # Nearly always: the token of the last request, at the first place.
        said = request.headers.get(hdrs.AUTHORIZATION, "")
        known = self._verified.get(said.removeprefix("Bearer "))
        if known is not None and self._clock() < known[0]:
            return known[1]
        token = next(_tokens(request), "")
        if not token:
            raise _refused(
                "missing_token",
                "invalid_request",
                "send a token as Authorization: Bearer, x-api-key, api-key or x-goog-api-key",
            )
        known = self._verified.get(token)
        if known is not None and self._clock() < known[0]:
            return known[1]
        return self.verify(token)

    def verify(self, token: str) -> Identity:
        """The identity in a token.

        Raises:
            BackstoryError: 401, with the reason and never the token.
        """
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise _invalid("the token is too long or not ASCII")
        try:
            with warnings.catch_warnings():
                # Short legacy secrets go on working; `Config.warnings` says so once, at start.
                warnings.simplefilter("ignore", InsecureKeyLengthWarning)
                claims = jwt.decode(
                    token,
                    self._secret,
                    algorithms=self._algorithms,
                    leeway=self._leeway,
                    options={"require": self._required},
                )
        except jwt.ExpiredSignatureError:
            raise _refused("expired_token", "invalid_token", "the token has expired") from None
        except jwt.MissingRequiredClaimError as exc:
            raise _invalid(f"the token has no claim {exc.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _invalid("the token does not verify") from None
        identity = identity_of(claims)
        # What was valid stays so until it expires: the same token need not be verified again.
        until = float(claims.get("exp", math.inf)) + self._leeway
        self._verified[token] = (until, identity)
        if len(self._verified) > MAX_KNOWN_TOKENS:
            self._verified.popitem(last=False)
        return identity


class Pseudonyms:
    """Names callers by a keyed hash of the credential that they would have sent upstream anyway."""

    def __init__(self, ring: Ring) -> None:
        """``ring``: the hash is keyed, so that a store does not give keys away."""
        self._ring = ring

    def __call__(self, request: web.Request, exchange: Exchange) -> Identity:
        """Somebody, or ``anonymous`` without any credential."""
        credential = next(_credentials(request), "")
        if not credential:
            return Identity(Owner("default", "anonymous"), anonymous=True)
        return Identity(Owner("default", self._ring.pseudonym("identity/v1", credential)))


def identity_of(claims: dict[str, object]) -> Identity:
    """Tenant: ``team_id``, else ``iss``, else ``default``; subject: ``sub``, else ``token_id``.

    Raises:
        BackstoryError: 401 if a claim that is there is not a name, or no subject is there.
    """
    tenant = _name(claims, "team_id", "iss") or "default"
    subject = _name(claims, "sub", "token_id")
    if subject is None:
        raise _invalid("the token names no subject: it needs the claim sub or token_id")
    conversation = claims.get("conversation_id")
    if not (isinstance(conversation, str) and CONVERSATION_ID.fullmatch(conversation)):
        conversation = None
    scope = claims.get("scope")
    scopes = frozenset(scope.split()) if isinstance(scope, str) else frozenset[str]()
    return Identity(Owner(tenant, subject), conversation, scopes)


def _name(claims: dict[str, object], *names: str) -> str | None:
    for name in names:
        if (value := claims.get(name)) is not None:
            if not isinstance(value, str) or not value.strip() or not value.isprintable():
                raise _invalid(f"the claim {name} must be a name: printable text, not blank")
            return value
    return None


def _tokens(request: web.Request) -> Iterator[str]:
    for credential in _credentials(request):
        scheme, blank, rest = credential.partition(" ")
        if not blank:
            yield scheme
        elif scheme.lower() == "bearer":
            yield rest.strip()


def _credentials(request: web.Request) -> Iterator[str]:
    for name in CREDENTIALS:
        if value := request.headers.get(name, "").strip():
            yield value
    query = of(request).target.partition("?")[2]
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == "key" and value:
            yield unquote(value)


def _is_preflight(request: web.Request) -> bool:
    """A CORS preflight never carries credentials (Fetch standard, section 4.8)."""
    return (
        request.method == "OPTIONS"
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def _invalid(message: str) -> BackstoryError:
    return _refused("invalid_token", "invalid_token", message)


def _refused(code: str, error: str, message: str) -> BackstoryError:
    """RFC 6750 section 3: the challenge, with the error in its own words."""
    challenge = f'Bearer realm="backstory", error="{error}", error_description="{message}"'
    return BackstoryError(401, code, message, headers=(("WWW-Authenticate", challenge),))

"""Tokens of every kind, and a server that asks for one."""

import base64
import hmac
from typing import TYPE_CHECKING, Any

import jwt
from aiohttp import web

from backstory.exchange import of
from backstory.keys import Ring
from backstory.registry import load_dialects
from backstory.routes import BUILT_IN, RouteTable
from backstory.settings import AuthSettings, Secret
from backstory.stages import auth, exchange

if TYPE_CHECKING:
    from tests.proxy.conftest import Server, Start

SECRET = "a secret of the clients, of 64 bytes and more, as HS512 wants it"
HS256 = b'{"alg":"HS256","typ":"JWT"}'
TABLE = RouteTable(BUILT_IN, load_dialects(row.dialect for row in BUILT_IN))


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    """A token as an issuer's library makes it."""
    return jwt.encode(claims, secret, algorithm)


def signed(payload: str | bytes, header: bytes = HS256, key: bytes = SECRET.encode()) -> str:
    """A token with any bytes in it and a signature that is right."""
    content = payload.encode() if isinstance(payload, str) else payload
    said = f"{b64(header)}.{b64(content)}"
    return f"{said}.{b64(hmac.digest(key, said.encode(), 'sha256'))}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


FINE = token(sub="ann")


async def serve(start: "Start", ring: Ring | None = None, **settings: Any) -> "Server":
    """The stage behind the one that opens the exchange; the handler tells who is asking."""
    strict = settings.pop("strict", False)
    given = AuthSettings(**{"jwt_secret": Secret(SECRET)} | settings)

    async def tell(request: web.Request) -> web.Response:
        identity = of(request).identity
        if identity is None:
            return web.json_response(None)
        return web.json_response(
            {
                "owner": identity.owner,
                "conversation": identity.conversation,
                "scopes": sorted(identity.scopes),
                "anonymous": identity.anonymous,
            }
        )

    stages = [exchange(TABLE, via="v"), auth(given, ring or Ring([b"root"]), strict=strict)]
    app = web.Application(middlewares=stages)
    app.router.add_route("*", "/{path:.*}", tell)
    return await start(app)


def bearer(text: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {text}")

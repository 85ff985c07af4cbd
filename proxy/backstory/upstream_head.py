"""The head of the request that goes upstream: whose credential, which fields, which target."""

from functools import cache

from aiohttp import hdrs, web

from backstory import headers
from backstory.errors import BackstoryError
from backstory.exchange import Exchange
from backstory.settings import AuthSettings, UpstreamSettings
from backstory.tunnel import UPGRADE_FIELDS, wants_upgrade

_CREDENTIALS = frozenset(name.encode() for name in headers.CREDENTIALS)


class UpstreamHead:
    """Turns the client's head into ours."""

    def __init__(self, upstream: UpstreamSettings, auth: AuthSettings, *, via: str) -> None:
        """``via``: our name in ``Via`` (RFC 9110 section 7.6.3)."""
        self._credential = _credential(upstream)
        self._tokens_are_ours = auth.auth == "jwt"
        self._via = (b"Via", f"1.1 {via}".encode())
        self._changes = cache(self._changes_of)  # of few kinds of exchanges

    def of_request(
        self, request: web.Request, exchange: Exchange
    ) -> tuple[str, list[tuple[bytes, bytes]]]:
        """Target and fields of the request to send."""
        target = exchange.route.target(exchange.target) if exchange.route else exchange.target
        if self._tokens_are_ours:
            target = headers.without_query_key(target, "key")
        passing, ours = self._changes(
            exchange.identity is not None,
            exchange.capture is not None,
            exchange.recalled,
            exchange.rewritten or exchange.decompressed,
        )
        fields = headers.end_to_end(request.raw_headers, passing)
        if hdrs.COOKIE in request.headers:
            fields = headers.without_our_cookie(fields)
        fields += ours
        if wants_upgrade(request):
            fields += UPGRADE_FIELDS
        fields.append(self._via)
        return target, fields

    def _changes_of(
        self, is_known: bool, is_copied: bool, is_recalled: bool, is_rewritten: bool
    ) -> tuple[headers.Passing, tuple[tuple[bytes, bytes], ...]]:
        """Which of the client's fields do not go on, and which are put behind the others."""
        stay: set[bytes] = set()
        ours: list[tuple[bytes, bytes]] = []
        if self._tokens_are_ours:
            stay |= _CREDENTIALS  # they were meant for us, every one of them
        if self._credential is not None and is_known:
            stay.add(self._credential[0].lower())
            ours.append(self._credential)
        if is_copied:
            # Only what is not compressed can be searched for its end.
            stay.add(b"accept-encoding")
            ours.append((b"Accept-Encoding", b"identity"))
        if is_recalled:
            stay.add(b"if-match")
        if is_rewritten:
            stay |= {*headers.BODY_DIGESTS, b"content-encoding"}
        return headers.passing(*stay), tuple(ours)

    def check(self, status: int, exchange: Exchange) -> None:
        """Raise if the upstream refused a credential that is ours: the client cannot mend that."""
        ours = self._credential is not None and exchange.identity is not None
        if status == 401 and ours:
            raise BackstoryError(
                502,
                "upstream_rejected_credentials",
                "the upstream does not accept the proxy's own credential; the operator must correct"
                " BACKSTORY_UPSTREAM_AUTHORIZATION",
                headers=(("x-should-retry", "false"),),
            )


def _credential(upstream: UpstreamSettings) -> tuple[bytes, bytes] | None:
    if upstream.upstream_authorization is None:
        return None
    name = upstream.upstream_credential_header
    value = upstream.upstream_authorization.reveal().strip()
    if name.lower() == "authorization" and " " not in value:
        value = f"Bearer {value}"
    return name.encode(), value.encode()

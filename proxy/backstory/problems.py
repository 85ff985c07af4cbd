"""What can be wrong with a configuration: one sentence each, the setting first, the remedy last."""

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from backstory.buffers import COST
from backstory.known_clients import configured
from backstory.settings import (
    MINIMUM_SECRET_BYTES,
    AuthSettings,
    MemorySettings,
    RouteSettings,
    Secret,
    ServerSettings,
    SessionSettings,
    UpstreamSettings,
)

PARAMETER = re.compile(r"\{(\w+)\}")
"""A part of a path that is filled in: ``{model}``."""

_PATH = re.compile(r"""/[!"$->@-~]*""")  # visible ASCII but ? and #: what a path can be on the wire
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+")  # RFC 9110 5.6.2, or a host with a port
_VISIBLE = re.compile(r"[!-~]+")
MAX_WORKERS = 255
_MAY_BE_ZERO = (
    "max_history_turns",
    "max_history_tokens",
    "reserved_reply_tokens",
    "queue_depth",
    "jwt_leeway_seconds",
    "drain_timeout_seconds",
)


def address_problems(server: ServerSettings, auth: AuthSettings) -> list[str]:
    """Addresses to listen on that nobody could use, or that everybody could."""
    found = []
    try:
        host, _ = split_address(server.listen)
    except ValueError as exc:
        found.append(f"listen: {exc}")
    else:
        if auth.auth == "off" and not server.allow_open and not is_loopback(host):
            found.append(
                "auth: off, and listen is not a loopback address: anybody who reaches it could use"
                " the upstream; add --allow-open if that is meant, or use auth = jwt"
            )
    if server.admin_listen != "off":
        try:
            split_address(server.admin_listen)
        except ValueError as exc:
            found.append(f"admin_listen: {exc}, and not off")
    for network in server.trusted_proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            found.append(f"trusted_proxies: {network!r} is no address and no network")
    if not _TOKEN.fullmatch(server.via):
        found.append("via: must be one word, or a loop could not be recognised")
    return found


def worker_problems(server: ServerSettings, memory: MemorySettings) -> list[str]:
    """Processes that could not share what they remember."""
    found = []
    if MAX_WORKERS < server.workers < math.inf:
        found.append(f"workers: at most {MAX_WORKERS}")
    if server.workers > 1 and memory.store.startswith("memory:"):
        found.append("workers: only one can use memory://; use sqlite://, which processes share")
    return found


def upstream_problems(config: UpstreamSettings, routes: Sequence[RouteSettings]) -> list[str]:
    """Upstreams that cannot be asked."""
    found = []
    if not config.upstream:
        found.append("upstream: missing; set it to the address of the inference API")
    else:
        found += _origin_problems("upstream", config.upstream)
    for number, route in enumerate(routes, 1):
        if route.upstream:
            found += _origin_problems(f"route {number} upstream", route.upstream)
    allowed = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    if config.upstream_credential_header.lower() not in allowed:
        found.append(f"upstream_credential_header: not one of {', '.join(allowed)}")
    if config.upstream_authorization is not None:
        text = config.upstream_authorization.reveal()
        if not text.strip() or not text.isprintable() or not text.isascii():
            found.append(
                "upstream_authorization: empty, or holds characters that no header may hold"
            )
    return found


def _origin_problems(name: str, url: str) -> list[str]:
    if not _VISIBLE.fullmatch(url):
        return [f"{name}: holds a blank or a character that is not ASCII"]
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return [f"{name}: not a URL"]
    if not usable:
        return [f"{name}: not of the form http://host:port or https://host"]
    if parts.username is not None:
        return [f"{name}: holds a password; use upstream_authorization for a credential"]
    if "?" in url or "#" in url:
        return [f"{name}: has a query or a fragment; give scheme, host, port and path only"]
    return []


def row_problems(rows: Sequence[RouteSettings]) -> list[str]:
    """What is wrong with the paths of ``rows``, one sentence each, by the number of the row."""
    found = []
    for number, row in enumerate(rows, 1):
        try:
            row_pattern(row)
        except ValueError as exc:
            found.append(f"route {number} {exc}")
    return found


def row_pattern(row: RouteSettings) -> re.Pattern[str]:
    """What the path of a request for ``row`` looks like.

    Raises:
        ValueError: there can be no such path, or ``upstream_path`` is none.
    """
    rest = row.match.removeprefix("**")
    anywhere = rest != row.match
    if not _PATH.fullmatch(rest) or "**" in rest:
        raise ValueError("match: must be a path that begins with / or with **/")
    parts = PARAMETER.split(rest)
    spelled = [f"(?P<{p}>[^/]+)" if i % 2 else re.escape(p) for i, p in enumerate(parts)]
    try:
        pattern = re.compile((".*" if anywhere else "") + "".join(spelled))
    except re.error as exc:
        raise ValueError(f"match: {exc.msg}") from exc
    if row.upstream_path and not _PATH.fullmatch(row.upstream_path):
        raise ValueError("upstream_path: must be a path that begins with /, without a query")
    unknown = set(PARAMETER.findall(row.upstream_path)) - set(pattern.groupindex)
    if unknown:
        raise ValueError(f"upstream_path: {{{min(unknown)}}} is not in match")
    return pattern


def auth_problems(config: AuthSettings, *, strict: bool) -> list[str]:
    """Credentials that are missing, weak or unusable."""
    found = []
    if config.auth == "jwt" and is_blank(config.jwt_secret):
        found.append(
            "jwt_secret: missing; set BACKSTORY_JWT_SECRET (or JWT_SECRET) to the secret that signs"
            " the clients' tokens, or use --auth off on a loopback address"
        )
    unknown = [a for a in config.jwt_algorithms if a not in ("HS256", "HS384", "HS512")]
    if unknown or not config.jwt_algorithms:
        found.append("jwt_algorithms: only HS256, HS384 and HS512 are known")
    if strict and not is_blank(config.jwt_secret) and is_short(config.jwt_secret):
        found.append("jwt_secret: shorter than 32 bytes, which strict refuses")
    return found


def session_problems(config: SessionSettings) -> list[str]:
    """Secrets that seal nothing, headers that are none."""
    found = []
    if config.session_secret is not None and is_blank(config.session_secret):
        found.append("session_secret: empty; leave it out, and a key file is made")
    if any(is_blank(secret) for secret in config.session_secrets_old):
        found.append("session_secrets_old: one of them is empty; leave it out")
    try:
        configured(config.conversation_headers)
    except ValueError as exc:
        found.append(f"conversation_headers: {exc}")
    return found


def memory_problems(config: MemorySettings) -> list[str]:
    """Windows of which nobody knows how large they are, and requests that never fit."""
    found = []
    for entry in config.context_windows:
        model, _, tokens = entry.rpartition("=")
        if not model or not re.fullmatch("[1-9][0-9]{0,9}", tokens):
            found.append(
                f"context_windows: {entry!r} is not model=tokens; write for instance llama-3*=8192"
            )
    largest = max(config.max_body_bytes, config.max_decoded_bytes)
    if 0 < config.max_buffered_bytes < COST * largest < math.inf:
        found.append(
            f"max_buffered_bytes: the largest request could never be read; at least {COST * largest},"
            f" or lower max_body_bytes and max_decoded_bytes (each byte of them counts {COST} times)"
        )
    return found


def number_problems(numbers: Mapping[str, float]) -> list[str]:
    """Numbers that are no amount of anything."""
    found = []
    for name, value in numbers.items():
        least = "zero or more" if name in _MAY_BE_ZERO else "greater than zero"
        if not math.isfinite(value) or value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
            found.append(f"{name}: must be {least}")
    return found


def is_short(secret: Secret | None) -> bool:
    """Whether a secret can be guessed: shorter than what HS256 asks for."""
    return secret is not None and len(secret.as_bytes()) < MINIMUM_SECRET_BYTES


def is_blank(secret: Secret | None) -> bool:
    """Whether there is no secret, or only a variable that was not filled in."""
    return secret is None or not secret.reveal().strip()


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; an IPv6 host stands in brackets.

    Raises:
        ValueError: it is not of this form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("not of the form HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

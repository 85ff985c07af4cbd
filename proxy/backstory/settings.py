"""Every setting: its name, its default, what it means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MINIMUM_SECRET_BYTES = 32
"""RFC 7518 section 3.2: an HS256 key has at least the size of the hash."""
ESTIMATE = "estimate"
"""The ``tokenizer`` that is none."""


class Secret:
    """A value that does not print itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """``value``: not empty."""
        self._value = value

    def reveal(self) -> str:
        """The value. Not for a log line."""
        return self._value

    def as_bytes(self) -> bytes:
        """The value as it was typed in the environment, UTF-8 or not."""
        return self._value.encode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def setting(default: Any, doc: str, *, alias: str | None = None) -> Any:
    """A field with its documentation; ``alias`` is another name in the environment."""
    return field(default=default, metadata={"doc": doc, "alias": alias})


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Where we listen."""

    listen: str = setting("127.0.0.1:7001", "`HOST:PORT` to listen on; port 0 takes a free one")
    admin_listen: str = setting(
        "off",
        "`HOST:PORT` of a listener of its own for `GET /metrics`, or `off`; it asks for no token",
    )
    workers: int = setting(
        1, "processes that serve requests; a supervisor starts a dead one again (SQLite only)"
    )
    allow_open: bool = setting(
        False,
        "allow `auth = off` on an address that is not loopback: everybody may use the upstream",
    )
    strict: bool = setting(
        False,
        "refuse legacy secrets shorter than 32 bytes and tokens without `exp` instead of warning",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (), "addresses or networks of proxies in front whose `X-Forwarded-Proto` is believed"
    )
    via: str = setting(
        "backstory", "our name in `Via`; a request that carries it already is a loop"
    )
    drain_timeout_seconds: float = setting(
        20.0, "how long running answers may go on after a request to stop"
    )


@dataclass(frozen=True, kw_only=True)
class UpstreamSettings:
    """Where requests go."""

    upstream: str = setting("", "the inference API: scheme, host, port, and a path prefix if any")
    upstream_authorization: Secret | None = setting(
        None,
        "credential sent upstream in place of the client's; a bare token gets `Bearer `",
        alias="TT_API_JWT",
    )
    upstream_credential_header: str = setting(
        "Authorization",
        "the header that carries it: `Authorization`, `x-api-key`, `api-key`, `x-goog-api-key`",
    )
    connect_seconds: float = setting(5.0, "longest wait for a connection to the upstream")
    first_byte_seconds: float = setting(
        600.0, "longest wait for the head of the answer once the request has been sent"
    )
    silence_seconds: float = setting(
        600.0, "longest wait between two pieces of an answer; the whole has no limit"
    )
    upstream_keepalive_seconds: float = setting(
        4.0, "how long an idle connection is kept: less than the upstream keeps it"
    )


@dataclass(frozen=True, kw_only=True)
class AuthSettings:
    """Who may ask."""

    auth: Literal["jwt", "off"] = setting(
        "jwt", "`jwt`: every proxied request needs a token; `off`: none does"
    )
    jwt_secret: Secret | None = setting(
        None, "signing secret of the clients' tokens (HMAC)", alias="JWT_SECRET"
    )
    jwt_algorithms: tuple[str, ...] = setting(
        ("HS256",),
        "accepted signature algorithms: `HS256`, `HS384`, `HS512`; never read from a token",
    )
    require_exp: bool = setting(False, "refuse tokens without `exp`")
    jwt_leeway_seconds: float = setting(60.0, "how far the clocks may be apart")


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """Which conversation, when the request does not say."""

    session: Literal["auto", "always", "off"] = setting(
        "auto",
        "the session cookie: `auto` not for SDKs that keep cookies unasked, `always`, or `off`",
    )
    session_secret: Secret | None = setting(
        None, "secret that seals the cookie; without one a key file is made", alias="FLASK_SECRET"
    )
    session_secrets_old: tuple[Secret, ...] = setting(
        (), "earlier secrets whose cookies are still honoured, newest first"
    )
    session_key_file: str = setting(
        "", "the key file; empty: beside the SQLite database, with the ending `.key`"
    )
    conversation_headers: tuple[str, ...] = setting(
        (),
        "headers of other products that name the conversation: `Header`, or `Header=transcript` for"
        " a client that sends its whole history",
    )
    session_max_age_seconds: float = setting(2592000.0, "how long a cookie lasts (30 days)")
    fallback: Literal["off", "subject"] = setting(
        "off",
        "where no cookie may be set: `off` passes through, `subject` is one conversation a subject",
    )


@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """What is remembered, and where."""

    store: str = setting(
        "sqlite:///backstory.db",
        "`sqlite:///relative.db`, `sqlite:////absolute.db`, or `memory://`",
    )
    max_history_turns: int = setting(
        100, "most turns put in front of a request; older ones are left out"
    )
    policy: str = setting(
        "tokens",
        "what is told again when not all of it fits: `tokens` as much as fits, in steps that keep"
        " prompt caches valid; `turns` exactly the last ones",
    )
    max_history_tokens: int = setting(
        0, "most tokens (estimated) put in front of a request; 0 sets no limit beside the context"
    )
    context_windows: tuple[str, ...] = setting(
        (),
        "context of the models in tokens, `model=tokens`, the first that matches: `llama-3*=8192`,"
        " `*=32768`; without one only the other limits count",
    )
    tokenizer: str = setting(
        ESTIMATE,
        "what counts the tokens of new messages: `estimate` by their bytes; `o200k_base` or"
        " `cl100k_base` as OpenAI's models do, which needs the extra `backstory[tiktoken]`",
    )
    reserved_reply_tokens: int = setting(
        1024, "room left in the context for a reply, where the request does not limit it"
    )
    retry_on_overflow: bool = setting(
        True, "ask once more with half the history when the upstream says that it was too long"
    )
    single_use_ttl: float = setting(
        86400.0, "seconds after which a conversation that nobody named a second time is erased"
    )
    sticky_system: bool = setting(
        True, "send the last system messages again when a request has none"
    )
    store_seconds: float = setting(5.0, "longest wait for the store, reading or committing")
    queue_depth: int = setting(8, "most requests that wait for one conversation")
    queue_seconds: float = setting(30.0, "longest wait for one conversation")
    end_seconds: float = setting(
        5.0, "longest wait for the end of a body once the answer has said that it is complete"
    )
    upload_idle_seconds: float = setting(
        30.0, "longest wait for the next piece of a request body on a memory route"
    )
    max_body_bytes: int = setting(33554432, "largest request body on a memory route (32 MiB)")
    max_decoded_bytes: int = setting(67108864, "the same with its content coding undone (64 MiB)")
    max_answer_bytes: int = setting(
        16777216, "largest answer that is remembered (16 MiB); a larger one is relayed all the same"
    )
    max_buffered_bytes: int = setting(
        1073741824,
        "memory that bodies may take at once, in each process (1 GiB): six bytes for each byte of a"
        " request on a memory route, of the history told with it, and of the copy of its answer",
    )
    buffer_seconds: float = setting(
        5.0, "longest wait of a body of more than 64 KiB for room in that memory"
    )


@dataclass(frozen=True, kw_only=True)
class RouteSettings:
    """One row of the route table: the first that matches wins."""

    match: str
    """A path: `{name}` stands for one segment, a leading `**` for anything."""
    dialect: str
    methods: tuple[str, ...] = ("POST",)
    upstream: str = ""
    """Another upstream than the default one."""
    upstream_path: str = ""
    """Another path than the one asked for; `{name}` is filled in from `match`."""
    memory: Literal["always", "named", "off"] = "always"
    """`named`: only if the request names its conversation."""
    options: Mapping[str, object] = field(default_factory=dict)
    """What the dialect needs to know: a table, `[route.options]`."""

    @property
    def dialect_key(self) -> str:
        """Equal for rows that one dialect serves: its name, and the options if there are any."""
        if not self.options:
            return self.dialect
        return f"{self.dialect} {json.dumps(self.options, sort_keys=True, default=str)}"

"""Header fields, as bytes and in order: which of them end at a proxy, and which are ours.

A field list is what was on the wire: order, case and duplicates kept.
"""

from collections.abc import Iterable, Sequence

Fields = Sequence[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    (
        b"connection",  # RFC 9110 section 7.6.1, and every field that it names
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",  # trailers are not relayed
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authorization",  # RFC 9110 section 11.7: for the next proxy, which we are
        b"proxy-authenticate",
        b"http2-settings",  # RFC 7540 section 3.2.1
    )
)
_FRAMING = frozenset((b"content-length", b"host", b"expect"))  # said anew on each side

_STAY = _HOP_BY_HOP | _FRAMING

CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Where SDKs put their key, in the order in which we look."""

BODY_DIGESTS = frozenset((b"content-digest", b"repr-digest", b"digest", b"content-md5"))
"""What a changed body no longer matches (RFC 9530)."""

_OURS = (b"backstory-", b"backstory_")  # with a low line it is the same field to CGI

_COOKIE_NAMES = (b"__Host-backstory", b"backstory")


def cookie_name(*, https: bool) -> str:
    """The name of our cookie: the prefix keeps other sites from setting it, where https allows it."""
    return _COOKIE_NAMES[0 if https else 1].decode()


def end_to_end(fields: Fields, also: Iterable[bytes] = ()) -> list[tuple[bytes, bytes]]:
    """The fields that go on to the other side; framing and everything of our own stays here.

    ``also``: lower-case names of others that do not go on.
    """
    stay = _STAY.union(also) if also else _STAY
    for name, value in fields:
        if len(name) == 10 and name.lower() == b"connection":
            stay = stay.union([token.strip().lower() for token in value.split(b",")])
    return [
        field
        for field in fields
        if (lower := field[0].lower()) not in stay and not lower.startswith(_OURS)
    ]


def without(fields: Fields, names: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """The fields whose lower-case name is not in ``names``."""
    gone = frozenset(names)
    return [field for field in fields if field[0].lower() not in gone]


def media_type(value: str | None) -> str:
    """``Content-Type`` without parameters, lower case; empty if there is none."""
    return (value or "").partition(";")[0].strip().lower()


def codings(values: Iterable[str]) -> tuple[str, ...]:
    """The content codings of ``Content-Encoding``, in the order of application; no ``identity``."""
    found = [item.strip().lower() for value in values for item in value.split(",")]
    return tuple(item for item in found if item and item != "identity")


def cookie_values(fields: Fields, name: str) -> list[bytes]:
    """Every value that the request gives the cookie ``name``."""
    found, wanted = [], name.encode()
    for field, line in fields:
        if len(field) == 6 and field.lower() == b"cookie" and wanted in line:
            for pair in line.split(b";"):
                key, _, value = pair.partition(b"=")
                if key.strip() == wanted:
                    found.append(value.strip())
    return found


def without_our_cookie(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The request's fields with our cookie taken out, every other cookie as it was sent."""
    result = []
    for name, value in fields:
        if len(name) == 6 and name.lower() == b"cookie":
            pairs = value.split(b";")
            kept = [p for p in pairs if p.partition(b"=")[0].strip() not in _COOKIE_NAMES]
            if len(kept) < len(pairs):
                value = b";".join(kept).lstrip()
                if not value.strip(b"; \t"):
                    continue
        result.append((name, value))
    return result


def sets_our_cookie(name: bytes, value: bytes) -> bool:
    """Whether an answer's field would set the cookie that only we may set."""
    # Browsers take ``=name=value`` for a value without a name, and send it back as ``name=value``.
    cookie = value.lstrip(b" \t=").partition(b"=")[0].partition(b";")[0]
    return name.lower() == b"set-cookie" and cookie.strip() in _COOKIE_NAMES


def without_query_key(target: str, key: str) -> str:
    """A request target without the query parameter ``key``; every other byte as it was."""
    path, mark, query = target.partition("?")
    pairs = query.split("&")
    kept = [pair for pair in pairs if pair.partition("=")[0] != key]
    if len(kept) == len(pairs):
        return target
    return path + (mark + "&".join(kept) if kept else "")

"""Header fields, as bytes and in order: which of them end at a proxy, and which are ours.

A field list is what was on the wire: order, case and duplicates kept.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")
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

_OURS = (b"backstory-", b"backstory_")  # with a low line it is the same field to CGI
_STAY = _HOP_BY_HOP | _FRAMING

CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Where SDKs put their key, in the order in which we look."""

BODY_DIGESTS = frozenset((b"content-digest", b"repr-digest", b"digest", b"content-md5"))
"""What a changed body no longer matches (RFC 9530)."""

MOST_NAMES = 4096
LONGEST_NAME = 64
"""Of names that are kept because they come again: strangers must not fill the memory with theirs."""
name_of = itemgetter(0)
"""Of a field."""

_COOKIE_NAMES = (b"__Host-backstory", b"backstory")


def cookie_name(*, https: bool) -> str:
    """The name of our cookie: the prefix keeps other sites from setting it, where https allows it."""
    return _COOKIE_NAMES[0 if https else 1].decode()


class ByName(dict[bytes, T]):
    """What the names of fields say, by name as spelled: the same few come with every message."""

    def __init__(self, find: Callable[[bytes], T]) -> None:
        """``find``: what is found out of a name in lower case, and kept."""
        super().__init__()
        self._find = find

    def __missing__(self, name: bytes) -> T:
        found = self._find(name.lower())
        if len(name) <= LONGEST_NAME and len(self) < MOST_NAMES:
            self[name] = found
        return found


Passing = ByName[bool | None]


def passing(*names: bytes) -> Passing:
    """Whether a field goes on to the other side.

    Framing, hop-by-hop fields and everything of our own stay here; so do others with one of
    ``names`` (lower case), and Connection, whose answer is ``None``, because it names others.
    """
    stay = _STAY.union(names)

    def find(name: bytes) -> bool | None:
        passes = name not in stay and not name.startswith(_OURS)
        return None if name == b"connection" else passes

    return ByName(find)


_passing = passing()


def end_to_end(fields: Fields, passing: Passing = _passing) -> list[tuple[bytes, bytes]]:
    """The fields that go on to the other side."""
    passes = list(map(passing.__getitem__, map(name_of, fields)))
    rest = list(compress(fields, passes))
    if None in passes:
        lines = [line for (_, line), found in zip(fields, passes, strict=True) if found is None]
        named = {token.strip().lower() for line in lines for token in line.split(b",")}
        rest = [field for field in rest if field[0].lower() not in named]
    return rest


@lru_cache(maxsize=256)
def media_type(value: bytes) -> str:
    """``Content-Type`` without parameters, lower case; empty if there is none."""
    return value.decode("utf-8", "replace").partition(";")[0].strip().lower()


def codings(values: Iterable[str]) -> tuple[str, ...]:
    """The content codings of ``Content-Encoding``, in the order of application; no ``identity``."""
    found = [item.strip().lower() for value in values for item in value.split(",")]
    return tuple(item for item in found if item and item != "identity")


@lru_cache(maxsize=256)  # a client sends the same cookies again and again
def cookie_values(line: str, name: str) -> tuple[bytes, ...]:
    """Every value that a field ``Cookie`` gives the cookie ``name``; ``line``: the field's value."""
    found, wanted = [], name.encode()
    for pair in line.encode("utf-8", "surrogateescape").split(b";"):
        key, _, value = pair.partition(b"=")
        if key.strip() == wanted:
            found.append(value.strip())
    return tuple(found)


def without_our_cookie(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The request's fields with our cookie taken out, every other cookie as it was sent."""
    result = []
    for field in fields:
        name, value = field
        if len(name) == 6 and name.lower() == b"cookie":
            others = _without_ours(value)
            if others is None:
                continue
            field = name, others
        result.append(field)
    return result


@lru_cache(maxsize=256)
def _without_ours(line: bytes) -> bytes | None:
    """The value of a field ``Cookie`` without ours; ``None`` if there are no others."""
    pairs = line.split(b";")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].strip() not in _COOKIE_NAMES]
    if len(kept) == len(pairs):
        return line
    others = b";".join(kept).lstrip()
    return others if others.strip(b"; \t") else None


def sets_our_cookie(name: bytes, value: bytes) -> bool:
    """Whether an answer's field would set the cookie that only we may set."""
    # Browsers take ``=name=value`` for a value without a name, and send it back as ``name=value``.
    cookie = value.lstrip(b" \t=").partition(b"=")[0].partition(b";")[0]
    return name.lower() == b"set-cookie" and cookie.strip() in _COOKIE_NAMES


def without_query_key(target: str, key: str) -> str:
    """A request target without the query parameter ``key``; every other byte as it was."""
    if "?" not in target:
        return target
    path, mark, query = target.partition("?")
    pairs = query.split("&")
    kept = [pair for pair in pairs if pair.partition("=")[0] != key]
    if len(kept) == len(pairs):
        return target
    return path + (mark + "&".join(kept) if kept else "")

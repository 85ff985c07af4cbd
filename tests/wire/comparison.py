"""A message at either end as lines, and what the proxy is expected to make of it.

What the proxy may change is what docs/http.md names; it is written out here once more, on purpose
not with the proxy's own code.
"""

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import replace

from tests.wire.clients import Received
from tests.wire.drawn_requests import NAME, OUR_COOKIE, DrawnRequest
from tests.wire.messages import Body, Field, Head
from tests.wire.upstreams import Request

HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
    b"upgrade", b"proxy-authorization", b"proxy-authenticate", b"x-hop", b"x-other-hop",
}  # fmt: skip
CREDENTIALS = {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"}
FRAMING = (b"content-length", b"transfer-encoding")
Lines = list[str]


def name_of(seen: Request) -> str:
    """The name of the draw that this request is."""
    return seen.values(NAME)[0].decode()


def without(fields: Iterable[Field], *names: bytes) -> list[Field]:
    """The fields that are not among ``names``, not of one hop, and not ours."""
    gone = HOP_BY_HOP.union(names)
    return [
        (name, value)
        for name, value in fields
        if name.lower() not in gone
        and not name.lower().replace(b"_", b"-").startswith(b"backstory-")
    ]


def framing_of(head: Head) -> Lines:
    """Which framing a message says it has."""
    return [f"{name.decode()}: {head.values(name)}" for name in FRAMING]


def content_of(body: Body) -> Lines:
    """A body, so that two of them can be told apart by eye."""
    content = body.content
    digest = hashlib.sha256(content).hexdigest()
    return [
        f"{len(content)} bytes {digest[:16]}, complete: {body.complete}",
        f"{content[:300]!r} … {content[-60:]!r}",
    ]


def lines_of(fields: Iterable[Field]) -> Lines:
    """Fields, one a line."""
    return [f"{name!r}: {value!r}" for name, value in fields]


def at_the_upstream(seen: Request) -> Lines:
    """What arrived."""
    fields = [field for field in seen.headers if field[0].lower() not in FRAMING]
    return [
        f"{seen.method!r} {seen.target!r}",
        *lines_of(fields),
        *framing_of(seen.head),
        *content_of(seen.framed),
    ]


def forwarded(sent: Request, auth: str, host: bytes) -> Lines:
    """What should arrive of a request that was sent without us in between."""
    method, target, version = sent.head.start
    gone = (b"host", b"expect", *FRAMING, *(CREDENTIALS if auth == "jwt" else ()))
    fields = without(sent.headers, *gone)
    fields = [
        (name, value.replace(OUR_COOKIE, b"") if name.lower() == b"cookie" else value)
        for name, value in fields
    ]
    if auth == "jwt":
        path, mark, query = target.partition(b"?")
        pairs = query.split(b"&")
        kept = [pair for pair in pairs if not pair.startswith(b"key=")]
        target = path + mark + b"&".join(kept) if kept else path
    framing = [field for field in sent.headers if field[0].lower() in FRAMING]
    headers = [(b"Host", host), *fields, (b"Via", b"1.1 backstory"), *framing]
    head = replace(sent.head, start=(method, target, version), headers=headers)
    return at_the_upstream(replace(sent, head=head))


def at_the_client(request: DrawnRequest, answer: Received, *, dated: bool) -> Lines:
    """What arrived of an answer; ``dated``: its date is the upstream's, so it counts."""
    _, status, reason = answer.head.start
    gone = (b"content-length", *(() if dated else (b"date",)))
    fields = [
        (name, value)
        for name, value in without(answer.head.headers, *gone)
        if not (name.lower() == b"set-cookie" and value.startswith(b"backstory="))
        and not (request.has_memory and is_receipt(name.lower(), value))
    ]
    bodiless = request.method == "HEAD" or answer.status in (204, 304)
    return [
        f"{status!r} {reason!r}",
        *lines_of(fields),
        *([] if bodiless else framing_of(answer.head)),
        *content_of(answer.body),
    ]


def is_receipt(lower: bytes, value: bytes) -> bool:
    """Whether a field is one that memory routes add, besides ``Backstory-…``."""
    if lower == b"x-accel-buffering":  # set on streams of events, in place of the upstream's
        return True
    return lower == b"server-timing" and value.startswith(b"backstory;dur=")


def difference(what: str, expected: Lines, found: Lines) -> str:
    """How they differ, for a reader; empty if they do not."""
    return "\n".join(
        difflib.unified_diff(
            expected, found, f"{what}, directly", f"{what}, through us", n=1, lineterm=""
        )
    )

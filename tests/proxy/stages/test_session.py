"""Which conversation: what names it first wins, and where a cookie may be set and honoured."""

import json
import time
from http.cookies import Morsel, SimpleCookie
from typing import TYPE_CHECKING, Any, get_args

import jwt
import pytest
from aiohttp import web

from backstory.exchange import of
from backstory.ids import CONVERSATION_ID
from backstory.keys import Ring
from backstory.model import Owner
from backstory.receipt import Outcome, Receipt
from backstory.registry import load_dialects
from backstory.routes import BUILT_IN, RouteTable
from backstory.session import CookieSeal, Ticket
from backstory.settings import AuthSettings, Secret, SessionSettings
from backstory.stages import auth, exchange, session

if TYPE_CHECKING:
    from tests.proxy.conftest import Got, Server, Start, StartProxy

SECRET = "a secret of the clients, of 32 bytes and more"
FALCON, NAMED, PASSED = "/conversation/m", "/inference/m", "/elsewhere"
DAY = 86400.0
SEAL = CookieSeal(Ring([b"root"]), 30 * DAY)
ANN = Owner("default", "ann")
HEADER = "Backstory-Conversation"
SDKS = [
    "OpenAI/Python 3.54.0",
    "AsyncOpenAI/Python 2.54.0",
    "OpenAI/JS 7.57.0",
    "Anthropic/Python 2.12.0",
    "Anthropic/JS 1.12.0",
    "ollama-python/0.6.3 (x86_64 linux) Python/3.11",
    "ollama-js/0.6.0",
    "litellm/1.80.0",
    "langchain-openai/1.0",
    "ai/7.0.0 ai-sdk/openai/3.0.0 runtime/node.js/24",
    "ai-sdk/openai-compatible/2.0.0",
    "aider/0.86.2",
]
PEOPLE = [
    "",
    "curl/7.88.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "python-requests/2.34",
    "python-httpx/0.28",
    "node",
    "Python/3.11 aiohttp/3.14.5",
    "samurai/1.0",
]


def bearer(subject: str = "ann", **claims: object) -> tuple[str, str]:
    return ("Authorization", "Bearer " + jwt.encode({"sub": subject} | claims, SECRET, "HS256"))


def sealed(
    conversation: str = "conv_1",
    owner: Owner = ANN,
    name: str = "backstory",
    *,
    age: float = 0.0,
    seal: CookieSeal = SEAL,
) -> tuple[str, str]:
    """The field of a client that has our cookie."""
    value = seal.seal(Ticket(conversation, time.time() - age), owner, name)
    return ("Cookie", f"theme=dark; {name}={value}; lang=en")


async def serve(
    start: "Start",
    *,
    auth_mode: Any = "jwt",
    outcome: Outcome = "new",
    trusted: tuple[str, ...] = (),
    **settings: Any,
) -> "Server":
    """The stage behind those it needs. The handler stands for memory and tells what it is told."""
    table = RouteTable(BUILT_IN, load_dialects(row.dialect for row in BUILT_IN))

    async def tell(request: web.Request) -> web.Response:
        seen = of(request)
        told = {
            "conversation": seen.conversation,
            "source": seen.source,
            "reason": seen.reason,
            "receipt": str(seen.receipt) if seen.receipt else None,
        }
        seen.receipt = seen.receipt or Receipt(outcome)
        response = web.json_response(told)
        for hook in seen.before_head:
            hook(seen, response)
        return response

    stages = [
        exchange(table, via="v"),
        auth(AuthSettings(auth=auth_mode, jwt_secret=Secret(SECRET)), Ring([b"root"])),
        session(SessionSettings(**settings), SEAL, trusted_proxies=trusted),
    ]
    app = web.Application(middlewares=stages)
    app.router.add_route("*", "/{path:.*}", tell)
    return await start(app)


def told(got: "Got") -> Any:
    assert got.status == 200, got
    return json.loads(got.body)


def cookie_of(got: "Got") -> "Morsel[str] | None":
    """The one cookie that an answer sets."""
    lines = got.headers.getall("Set-Cookie", [])
    assert len(lines) <= 1
    return next(iter(SimpleCookie(lines[0]).values())) if lines else None


async def test_the_most_explicit_name_wins(start: "Start") -> None:
    proxy = await serve(start)
    header, claim = (HEADER, "h"), bearer(conversation_id="t")
    for expected, target, fields in (
        (("h", "header"), f"/-/c/p{FALCON}", [claim, sealed(), header]),
        (("p", "prefix"), f"/-/c/p{FALCON}", [claim, sealed()]),
        (("t", "claim"), FALCON, [claim, sealed()]),
        (("conv_1", "cookie"), FALCON, [bearer(), sealed()]),
    ):
        got = await proxy.post(target, *fields)
        assert (told(got)["conversation"], told(got)["source"]) == expected
        assert cookie_of(got) is None


@pytest.mark.parametrize("source", ["header", "prefix", "claim"])
async def test_new_begins_a_fresh_conversation_each_time(start: "Start", source: str) -> None:
    proxy = await serve(start)
    target = f"/-/c/new{FALCON}" if source == "prefix" else FALCON
    fields = [bearer(conversation_id="new") if source == "claim" else bearer()]
    fields += [(HEADER, "new")] if source == "header" else []
    ids = {told(await proxy.post(target, *fields, sealed()))["conversation"] for _ in range(3)}
    assert len(ids) == 3
    assert all(CONVERSATION_ID.fullmatch(name) and name != "new" for name in ids)


@pytest.mark.parametrize("name", ["x", "~" * 256, "a/b?c#d", "!", "New", "conv_1;a=b"])
async def test_a_header_names_any_id_of_visible_characters(start: "Start", name: str) -> None:
    seen = told(await (await serve(start)).post(FALCON, bearer(), (HEADER, name)))
    assert (seen["conversation"], seen["source"]) == (name, "header")


@pytest.mark.parametrize("name", ["", "a b", "a\tb", "x" * 257, "caf\xe9", "\udcff"])
async def test_an_invalid_id_in_our_header_is_refused(start: "Start", name: str) -> None:
    proxy = await serve(start)
    got = await proxy.post(FALCON, bearer(), (HEADER, name))
    assert (got.status, got.headers["Backstory-Error"]) == (400, "invalid_conversation")
    elsewhere = await proxy.post(PASSED, bearer(), (HEADER, name))
    assert elsewhere.status == 200, "what is passed through has no conversation"


async def test_two_ids_in_our_header_are_refused(start: "Start") -> None:
    proxy = await serve(start)
    got = await proxy.post(FALCON, bearer(), (HEADER, "one"), (HEADER, "two"))
    assert (got.status, got.headers["Backstory-Error"]) == (400, "invalid_conversation")


async def test_an_invalid_id_in_a_claim_is_none(start: "Start") -> None:
    seen = told(await (await serve(start)).post(FALCON, bearer(conversation_id="a b"), sealed()))
    assert (seen["conversation"], seen["source"]) == ("conv_1", "cookie")


async def test_a_path_without_memory_gets_neither_conversation_nor_cookie(start: "Start") -> None:
    proxy = await serve(start, session="always", fallback="subject")
    for got in (
        await proxy.post(PASSED, bearer(), sealed(), (HEADER, "x")),
        await proxy.get(FALCON, bearer(), sealed()),
    ):
        assert told(got)["conversation"] is None
        assert told(got)["receipt"] is None
        assert cookie_of(got) is None


@pytest.mark.parametrize("value", ["off", "OFF", " Off "])
async def test_a_client_may_do_without_memory(start: "Start", value: str) -> None:
    got = await (await serve(start)).post(
        FALCON, bearer(), sealed(), (HEADER, "x"), ("Backstory-Memory", value)
    )
    assert told(got) == {
        "conversation": None,
        "source": "",
        "reason": None,
        "receipt": "off;reason=requested",
    }
    assert cookie_of(got) is None


@pytest.mark.parametrize("value", ["on", "On", "read", "READ"])
async def test_on_and_read_need_a_conversation(start: "Start", value: str) -> None:
    proxy = await serve(start)
    seen = told(await proxy.post(FALCON, bearer(), sealed(), ("Backstory-Memory", value)))
    assert (seen["conversation"], seen["receipt"]) == ("conv_1", None)


@pytest.mark.parametrize("value", ["", "true", "no", "read;x", "off, on", "\xe9", "x" * 5000])
async def test_any_other_word_about_memory_is_refused(start: "Start", value: str) -> None:
    got = await (await serve(start)).post(FALCON, bearer(), ("Backstory-Memory", value))
    assert (got.status, got.headers["Backstory-Error"]) == (400, "bad_request")
    assert b"on, off or read" in got.body


@pytest.mark.parametrize("agent", PEOPLE)
async def test_a_person_gets_a_cookie_and_comes_back_with_it(start: "Start", agent: str) -> None:
    proxy = await serve(start)
    got = await proxy.post(FALCON, bearer(), ("User-Agent", agent))
    first = told(got)
    assert (first["source"], first["reason"]) == ("cookie", None)
    assert CONVERSATION_ID.fullmatch(first["conversation"])
    cookie = cookie_of(got)
    assert cookie is not None
    assert cookie.key == "backstory"
    assert cookie["max-age"] == "2592000"
    assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == ("/", "Lax", True)
    assert not cookie["secure"]
    again = await proxy.post(FALCON, bearer(), ("Cookie", f"backstory={cookie.value}"))
    assert told(again)["conversation"] == first["conversation"]
    assert cookie_of(again) is None, "sent again only when half expired"


async def test_a_cookie_is_renewed_when_it_is_half_expired(start: "Start") -> None:
    got = await (await serve(start)).post(FALCON, bearer(), sealed(age=16 * DAY))
    cookie = cookie_of(got)
    assert told(got)["conversation"] == "conv_1"
    assert cookie is not None
    opened = SEAL.open(cookie.value.encode(), ANN, "backstory", time.time())
    assert isinstance(opened, Ticket)
    assert opened.conversation == "conv_1"


NO_COOKIE = [("User-Agent", agent) for agent in SDKS] + [
    ("X-Stainless-Lang", "python"),
    ("x-stainless-retry-count", "0"),
]


@pytest.mark.parametrize("field", NO_COOKIE, ids=lambda field: field[1][:20])
async def test_an_sdk_neither_gets_a_cookie_nor_is_its_cookie_honoured(
    start: "Start", field: tuple[str, str]
) -> None:
    proxy = await serve(start)
    for fields in ([bearer(), field], [bearer(), field, sealed()]):
        got = await proxy.post(FALCON, *fields)
        assert told(got)["receipt"] == "off;reason=no_conversation"
        assert cookie_of(got) is None


@pytest.mark.parametrize("field", NO_COOKIE[::6], ids=lambda field: field[1][:20])
async def test_always_has_no_exception(start: "Start", field: tuple[str, str]) -> None:
    proxy = await serve(start, session="always")
    assert cookie_of(await proxy.post(FALCON, bearer(), field)) is not None
    assert told(await proxy.post(FALCON, bearer(), field, sealed()))["conversation"] == "conv_1"


async def test_off_is_off(start: "Start") -> None:
    proxy = await serve(start, session="off")
    got = await proxy.post(FALCON, bearer(), sealed())
    assert told(got)["receipt"] == "off;reason=no_conversation"
    assert cookie_of(got) is None
    named = await proxy.post(FALCON, bearer(), (HEADER, "x"))
    assert told(named)["conversation"] == "x"


@pytest.mark.parametrize("mode", ["auto", "always"])
async def test_a_raw_prompt_needs_a_name_and_takes_no_cookie(start: "Start", mode: str) -> None:
    proxy = await serve(start, session=mode)
    got = await proxy.post(NAMED, bearer(), sealed())
    assert told(got)["receipt"] == "off;reason=no_conversation"
    assert cookie_of(got) is None
    assert told(await proxy.post(NAMED, bearer(), (HEADER, "x")))["conversation"] == "x"


async def test_the_fallback_is_one_conversation_a_subject(start: "Start") -> None:
    proxy = await serve(start, fallback="subject")
    sdk = ("X-Stainless-Lang", "js")
    seen = told(await proxy.post(FALCON, bearer(), sdk))
    assert (seen["conversation"], seen["source"], seen["receipt"]) == ("subject", "fallback", None)
    with_cookie = told(await proxy.post(FALCON, bearer(), sealed()))
    assert with_cookie["source"] == "cookie", "where a cookie may be set, it decides"
    named = told(await proxy.post(FALCON, bearer(), sdk, (HEADER, "x")))
    assert named["conversation"] == "x"


async def test_the_fallback_is_not_for_anonymous_callers(start: "Start") -> None:
    proxy = await serve(start, auth_mode="off", fallback="subject", session="off")
    assert told(await proxy.post(FALCON))["receipt"] == "off;reason=no_conversation"
    assert told(await proxy.post(FALCON, ("x-api-key", "k")))["conversation"] == "subject"


@pytest.mark.parametrize("outcome", get_args(Outcome))
async def test_a_cookie_is_set_only_where_memory_took_part(
    start: "Start", outcome: Outcome
) -> None:
    got = await (await serve(start, outcome=outcome)).post(FALCON, bearer())
    assert (cookie_of(got) is not None) is (outcome in ("new", "hit", "read"))


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (sealed(owner=Owner("default", "bob")), "foreign_cookie"),
        (sealed(owner=Owner("acme", "ann")), "foreign_cookie"),
        (sealed(seal=CookieSeal(Ring([b"gone"]), DAY)), "retired_key"),
        (sealed(age=31 * DAY), "expired_cookie"),
        (("Cookie", "backstory=junk"), "bad_cookie"),
        (("Cookie", "backstory="), "bad_cookie"),
        (("Cookie", "backstory=\udcff\udcfe"), "bad_cookie"),
        (("Cookie", "backstory=caf\xe9"), "bad_cookie"),
        (("Cookie", 'backstory="' + "x" * 5000 + '"'), "bad_cookie"),
    ],
)
async def test_a_cookie_that_does_not_count_is_replaced_and_the_reason_told(
    start: "Start", field: tuple[str, str], reason: str
) -> None:
    got = await (await serve(start)).post(FALCON, bearer(), field)
    seen = told(got)
    assert (seen["source"], seen["reason"]) == ("cookie", reason)
    assert seen["conversation"] != "conv_1"
    cookie = cookie_of(got)
    assert cookie is not None
    opened = SEAL.open(cookie.value.encode(), ANN, "backstory", time.time())
    assert isinstance(opened, Ticket)
    assert opened.conversation == seen["conversation"]


@pytest.mark.parametrize(
    "lines",
    [
        ["backstory=junk; " + sealed()[1]],
        [sealed()[1] + "; backstory=junk"],
        ["backstory=junk", sealed()[1]],
        [sealed()[1], "backstory=junk"],
        [sealed(owner=Owner("default", "eve"))[1], sealed()[1]],
    ],
)
async def test_a_tossed_cookie_does_not_hide_the_right_one(
    start: "Start", lines: list[str]
) -> None:
    fields = [("Cookie", line) for line in lines]
    got = await (await serve(start)).post(FALCON, bearer(), *fields)
    assert (told(got)["conversation"], told(got)["reason"]) == ("conv_1", None)
    assert cookie_of(got) is None


HTTPS = ("X-Forwarded-Proto", "https")


@pytest.mark.parametrize(
    ("trusted", "fields", "https"),
    [
        (("127.0.0.1",), [HTTPS], True),
        (("127.0.0.0/8", "::1"), [("x-forwarded-proto", "HTTPS")], True),
        (("127.0.0.1",), [("X-Forwarded-Proto", "http, https")], True),
        (("127.0.0.1",), [("X-Forwarded-Proto", "http"), HTTPS], True),
        (("127.0.0.1",), [("X-Forwarded-Proto", "https, http")], False),
        (("127.0.0.1",), [HTTPS, ("X-Forwarded-Proto", "http")], False),
        (("127.0.0.1",), [("X_Forwarded_Proto", "https")], False),
        (("127.0.0.1",), [("X-Forwarded-Proto", "https:")], False),
        (("127.0.0.1",), [("Forwarded", "proto=https")], False),
        (("127.0.0.1",), [], False),
        (("127.0.0.2",), [HTTPS], False),
        (("10.0.0.0/8", "::/0"), [HTTPS], False),
        ((), [HTTPS], False),
        ((), [HTTPS, ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Ssl", "on")], False),
    ],
)
async def test_only_a_trusted_proxy_says_that_a_request_came_by_https(
    start: "Start", trusted: tuple[str, ...], fields: list[tuple[str, str]], https: bool
) -> None:
    proxy = await serve(start, trusted=trusted)
    cookie = cookie_of(await proxy.post(FALCON, bearer(), *fields))
    assert cookie is not None
    assert cookie.key == ("__Host-backstory" if https else "backstory")
    assert bool(cookie["secure"]) is https
    assert cookie["domain"] == ""
    other = sealed(name="backstory" if https else "__Host-backstory")
    seen = told(await proxy.post(FALCON, bearer(), *fields, other))
    assert seen["conversation"] != "conv_1", "the other name does not count here"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything", ""])
async def test_a_page_of_another_site_cannot_use_the_cookie(start: "Start", site: str) -> None:
    proxy = await serve(start)
    fetch = ("Sec-Fetch-Site", site)
    got = await proxy.post(FALCON, bearer(), sealed(), fetch)
    assert (got.status, got.headers["Backstory-Error"]) == (403, "cross_site")
    assert cookie_of(got) is None
    for fields in (
        [(HEADER, "x")],
        [sealed(), (HEADER, "x")],
        [("X-Stainless-Lang", "js"), sealed()],
    ):
        assert (await proxy.post(FALCON, bearer(), *fields, fetch)).status == 200


async def test_where_no_cookie_of_ours_selects_there_is_nothing_to_misuse(start: "Start") -> None:
    proxy = await serve(start)
    fetch = ("Sec-Fetch-Site", "cross-site")
    for fields in ([], [("Cookie", "theme=dark")], [sealed(owner=Owner("default", "eve"))]):
        got = await proxy.post(FALCON, bearer(), *fields, fetch)
        assert told(got)["conversation"] is None, "nothing begins in a visitor's name"
        assert cookie_of(got) is None


@pytest.mark.parametrize("site", ["same-origin", "none", None])
async def test_our_own_page_and_no_page_may(start: "Start", site: str | None) -> None:
    fetch = [("Sec-Fetch-Site", site)] if site else []
    got = await (await serve(start)).post(FALCON, bearer(), sealed(), *fetch)
    assert told(got)["conversation"] == "conv_1"


async def test_the_receipt_says_why_a_cookie_did_not_count(start_proxy: "StartProxy") -> None:
    proxy = await start_proxy(jwt_secret=Secret(SECRET), session_secret=Secret("root"))
    ann = cookie_of(await proxy.post(FALCON, bearer("ann")))
    assert ann is not None
    jar = ("Cookie", f"backstory={ann.value}")
    bob = await proxy.post(FALCON, bearer("bob"), jar)
    assert bob.headers["Backstory-Memory"].startswith("new;")
    assert bob.headers["Backstory-Memory"].endswith(";reason=foreign_cookie")
    flipped = ("Cookie", jar[1][:-1] + ("A" if jar[1][-1] != "A" else "B"))
    bad = await proxy.post(FALCON, bearer("ann"), flipped)
    assert bad.headers["Backstory-Memory"].endswith(";reason=bad_cookie")
    other = await start_proxy(jwt_secret=Secret(SECRET), session_secret=Secret("other"))
    retired = await other.post(FALCON, bearer("ann"), jar)
    assert retired.headers["Backstory-Memory"].endswith(";reason=retired_key")
    kept = await proxy.post(FALCON, bearer("ann"), jar)
    assert kept.headers["Backstory-Memory"].startswith("hit;turns=1;")
    assert "reason" not in kept.headers["Backstory-Memory"]

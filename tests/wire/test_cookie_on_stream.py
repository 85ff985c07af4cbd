"""The session cookie: there before the first byte of a streamed answer, and nobody else's."""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import pytest
from tests.wire.clients import RawClient, Received
from tests.wire.conftest import StartProxy
from tests.wire.messages import Head
from tests.wire.talking import APIS, AUTHORIZATION, CHAT, FALCON, NAMED, Api, chunk, head, one, say
from tests.wire.upstreams import Answer, RecordingUpstream
from tests.wire.users import Jar, User, forwarded

from backstory.keys import Ring
from backstory.model import Owner
from backstory.session import CookieSeal, Ticket
from backstory.settings import Secret

KEY, OLD_KEY, RETIRED_KEY = "the newest of the keys", "the key before it", "a key of last year"
RING: Mapping[str, Any] = {
    "session_secret": Secret(KEY),
    "session_secrets_old": (Secret(OLD_KEY),),
}
MONTH = 2592000.0
ADA = Owner("acme", "ada")
STREAMS = {
    FALCON: b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
    CHAT: b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
}
HTTPS = ("X-Forwarded-Proto", "https")


def sealed(*, age: float = 0, key: str = KEY, owner: Owner = ADA, name: str = "backstory") -> str:
    """A cookie of the conversation ``kept``, as a proxy with this key has set it ``age`` seconds ago."""
    seal = CookieSeal(Ring([key.encode()]), MONTH)
    return seal.seal(Ticket("kept", time.time() - age), owner, name)


def receipt(answer: Received | Head) -> str:
    """What the answer says that memory did."""
    return one(answer, b"Backstory-Memory") or ""


def cookie(answer: Received | Head) -> str:
    """What the answer sets; empty if nothing."""
    return one(answer, b"Set-Cookie") or ""


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_it_is_set_before_the_first_byte(
    api: Api, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    gate = asyncio.Event()
    end = api.answer("Hello").partition(b"\r\n\r\n")[2] if api is FALCON else b"0\r\n\r\n"
    recording_upstream.script = Answer([STREAMS[api], gate, end])
    proxy = await start_proxy(recording_upstream.url)
    async with RawClient(proxy.url) as client:
        await client.send(User(proxy.url).question("Hi", api=api, stream=True))
        answer = await client.read_head()  # the upstream has not said a word yet
        assert re.fullmatch(
            r"backstory=v1\.[\w.-]+; Expires=\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT; HttpOnly; Max-Age=2592000; Path=/; SameSite=Lax",
            cookie(answer),
        )
        assert len(cookie(answer)) < 1024
        assert receipt(answer).startswith("new;")
        gate.set()
        assert (await client.read_body(answer)).complete


async def test_it_finds_the_conversation_again_and_is_not_set_again(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    user = User(proxy.url, jar={})
    first, second, third = [await user.ask(text) for text in "abc"]
    assert cookie(first)
    assert (cookie(second), cookie(third)) == ("", "")
    assert forwarded(recording_upstream.requests[-1].body) == ["a", "ok", "b", "ok", "c"]
    names = {one(answer, b"Backstory-Conversation") for answer in (first, second, third)}
    assert len(names) == 1


@pytest.mark.parametrize(
    ("age", "is_set", "reason"),
    [
        pytest.param(0.49 * MONTH, False, "", id="young"),
        pytest.param(0.51 * MONTH, True, "", id="half expired"),
        pytest.param(1.01 * MONTH, True, "expired_cookie", id="expired"),
    ],
)
async def test_it_is_renewed_when_half_of_its_time_is_over(
    age: float,
    is_set: bool,
    reason: str,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    proxy = await start_proxy(recording_upstream.url, **RING)
    user = User(proxy.url, jar={"backstory": sealed(age=age)})
    first = await user.ask("a")
    assert bool(cookie(first)) == is_set
    assert receipt(first).partition(";reason=")[2] == reason
    assert (one(first, b"Backstory-Conversation") == "kept") == (not reason)
    second = await user.ask("b")  # with the new one, if there was one
    assert cookie(second) == ""
    assert one(second, b"Backstory-Conversation") == one(first, b"Backstory-Conversation")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(sealed(owner=Owner("acme", "bob")), "foreign_cookie", id="foreign subject"),
        pytest.param(sealed(owner=Owner("other", "ada")), "foreign_cookie", id="foreign tenant"),
        pytest.param(sealed(key=RETIRED_KEY), "retired_key", id="retired"),
        pytest.param(sealed(name="__Host-backstory"), "bad_cookie", id="of the other name"),
        pytest.param(sealed()[:-2] + "AA", "bad_cookie", id="flipped"),
        pytest.param(sealed()[:-9], "bad_cookie", id="cut"),
        pytest.param(sealed() + "A" * 2000, "bad_cookie", id="long"),
        pytest.param("", "bad_cookie", id="empty"),
        pytest.param("v2..", "bad_cookie", id="of another version"),
        pytest.param('"%00; =', "bad_cookie", id="junk"),
        pytest.param("Grüße", "bad_cookie", id="not ASCII"),
    ],
)
async def test_one_that_does_not_count_is_replaced_and_the_receipt_says_so(
    value: str, reason: str, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, **RING)
    user = User(proxy.url, jar={"backstory": value})
    first = await user.ask("a")
    assert first.status == 200
    assert receipt(first).startswith("new;")
    assert receipt(first).endswith(f";reason={reason}")
    assert cookie(first)
    assert one(first, b"Backstory-Conversation") != "kept"
    second = await user.ask("b")
    assert receipt(second).startswith("hit;")
    assert cookie(second) == ""
    assert forwarded(recording_upstream.requests[-1].body) == ["a", "ok", "b"]


async def test_an_older_key_still_counts(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, **RING)
    answer = await User(proxy.url, jar={"backstory": sealed(key=OLD_KEY)}).ask("a")
    assert one(answer, b"Backstory-Conversation") == "kept"
    assert "reason" not in receipt(answer)


async def test_junk_beside_a_good_one_does_no_harm(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """Another host of the domain may set a cookie of our name: browsers then send both."""
    proxy = await start_proxy(recording_upstream.url, **RING)
    both = ("Cookie", f"backstory=junk; theme=dark; backstory={sealed()}; lang=de")
    answer = await User(proxy.url).ask("a", both)
    assert one(answer, b"Backstory-Conversation") == "kept"
    assert cookie(answer) == ""
    assert recording_upstream.requests[0].values(b"cookie") == [b"theme=dark; lang=de"]


@pytest.mark.parametrize(
    ("trusted", "proto", "name"),
    [
        pytest.param("127.0.0.1", "https", "__Host-backstory", id="trusted"),
        pytest.param("127.0.0.0/8", "http, HTTPS", "__Host-backstory", id="last value"),
        pytest.param("127.0.0.1", "https, http", "backstory", id="a client's word"),
        pytest.param("127.0.0.1", "http", "backstory", id="http"),
        pytest.param("10.0.0.0/8", "https", "backstory", id="another proxy"),
        pytest.param("", "https", "backstory", id="nobody is trusted"),
    ],
)
async def test_behind_a_trusted_proxy_with_https_it_is_secure(
    trusted: str,
    proto: str,
    name: str,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    networks = (trusted,) if trusted else ()
    proxy = await start_proxy(recording_upstream.url, trusted_proxies=networks)
    jar: Jar = {}
    user = User(proxy.url, jar=jar)
    first = await user.ask("a", ("X-Forwarded-Proto", proto))
    assert list(jar) == [name]
    attributes = cookie(first).split("; ")
    assert ("Secure" in attributes) == name.startswith("__Host-")
    assert "Path=/" in attributes
    assert not any(attribute.startswith("Domain") for attribute in attributes)
    assert receipt(await user.ask("b", ("X-Forwarded-Proto", proto))).startswith("hit;")
    assert not any(request.values(b"cookie") for request in recording_upstream.requests)


async def test_a_cookie_of_plain_http_selects_nothing_by_https(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    """Whoever sits on the unencrypted wire could have set it (RFC 6265 section 8.6)."""
    settings = {**RING, "trusted_proxies": ("127.0.0.1",)}
    proxy = await start_proxy(recording_upstream.url, **settings)
    jar = {"backstory": sealed()}
    answer = await User(proxy.url, jar=jar).ask("a", HTTPS)
    assert one(answer, b"Backstory-Conversation") != "kept"
    assert list(jar) == ["backstory", "__Host-backstory"]


CURL = ("User-Agent", "curl/8.5.0")
BROWSER = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
SDK = ("User-Agent", "AsyncOpenAI/Python 3.54.0")
STAINLESS = ("X-Stainless-Lang", "js")


@pytest.mark.parametrize(
    ("session", "header", "is_set"),
    [
        ("auto", CURL, True),
        ("auto", BROWSER, True),
        ("auto", SDK, False),
        ("auto", STAINLESS, False),
        ("auto", ("User-Agent", "litellm/1.80.0"), False),
        ("auto", ("User-Agent", "ollama-python/0.6.3"), False),
        ("always", CURL, True),
        ("always", SDK, True),
        ("always", STAINLESS, True),
        ("off", CURL, False),
        ("off", SDK, False),
    ],
    ids=lambda value: value[1].partition("/")[0] if isinstance(value, tuple) else str(value),
)
async def test_who_gets_one(
    session: str,
    header: tuple[str, str],
    is_set: bool,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    proxy = await start_proxy(recording_upstream.url, session=session, **RING)
    fresh = await User(proxy.url).ask("a", header)
    assert bool(cookie(fresh)) == is_set
    kept = await User(proxy.url, jar={"backstory": sealed()}).ask("b", header)
    if is_set:
        assert one(kept, b"Backstory-Conversation") == "kept"
    else:
        assert receipt(fresh) == receipt(kept) == "off;reason=no_conversation"
    assert not recording_upstream.requests[1].values(b"cookie")


@pytest.mark.parametrize(
    "how", ["header", "prefix", "off", "other path", "no token", "not understood"]
)
async def test_it_is_not_set_where_it_selects_nothing(
    how: str, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    user = User(proxy.url)
    if how == "no token":
        answer = await say(proxy.url, head("POST /conversation/m HTTP/1.1", ("Host", "x")))
        assert answer.status == 401
    elif how == "other path":
        start = "GET /v1/models HTTP/1.1"
        answer = await say(proxy.url, head(start, ("Host", "x"), AUTHORIZATION))
        assert answer.status == 200
    elif how == "not understood":
        size = ("Content-Length", "0")
        answer = await say(
            proxy.url, head("POST /conversation/m HTTP/1.1", ("Host", "x"), AUTHORIZATION, size)
        )
        assert receipt(answer) == "skipped;reason=not_understood"
    else:
        headers = {"header": [NAMED], "off": [("Backstory-Memory", "off")]}.get(how, [])
        answer = await user.ask("a", *headers, prefix="/-/c/c" if how == "prefix" else "")
        assert answer.status == 200
    assert cookie(answer) == ""


async def test_the_upstreams_cookies_pass_and_cannot_be_ours(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    theirs = b"Set-Cookie: a=1; Path=/x\r\nSet-Cookie: backstory=evil\r\nset-cookie: b=2\r\n"
    recording_upstream.script = STREAMS[FALCON].replace(b"\r\n\r\n", b"\r\n" + theirs + b"\r\n") + (
        chunk(b"ok") + b"0\r\n\r\n"
    )
    proxy = await start_proxy(recording_upstream.url, **RING)
    answer = await User(proxy.url).ask("a")
    values = answer.head.values(b"set-cookie")
    assert values[:2] == [b"a=1; Path=/x", b"b=2"]
    assert [value[:13] for value in values[2:]] == [b"backstory=v1."]
    again = await User(proxy.url).ask("a", ("Cookie", f"backstory={sealed()}"))
    assert again.head.values(b"set-cookie") == [b"a=1; Path=/x", b"b=2"]


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)],
)
async def test_a_page_of_another_site_cannot_use_it(
    site: str, status: int, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url, **RING)
    user = User(proxy.url, jar={"backstory": sealed()})
    answer = await user.ask("a", ("Sec-Fetch-Site", site))
    assert answer.status == status
    assert len(recording_upstream.requests) == (status == 200)
    if status == 403:
        assert one(answer, b"Backstory-Error") == "cross_site"
        named = await user.ask("a", ("Sec-Fetch-Site", site), NAMED)
        assert named.status == 200

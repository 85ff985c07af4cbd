"""The head that goes upstream: whose credential, which fields, and no byte more than that."""

from typing import TYPE_CHECKING

import jwt
import pytest

from backstory.settings import RouteSettings, Secret

if TYPE_CHECKING:
    from tests.proxy.conftest import StartProxy, Upstream

SECRET = "a secret of the clients, of 32 bytes and more"
TOKEN = jwt.encode({"sub": "ann"}, SECRET, "HS256")
BEARER = ("Authorization", f"Bearer {TOKEN}")
VIA = b"Via: 1.1 backstory"


def lines(upstream: "Upstream") -> list[bytes]:
    """The request line and the fields of the last request, without Host, which is another test's."""
    found = upstream.heads[-1].removesuffix(b"\r\n\r\n").split(b"\r\n")
    return [line for line in found if not line.startswith((b"Host: ", b"Content-"))]


async def test_the_clients_token_was_for_us_wherever_it_stood(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    proxy = await start_proxy(jwt_secret=Secret(SECRET))
    got = await proxy.get(
        f"/p?a=%2B&key={TOKEN}&b=",
        ("X-One", "1"),
        BEARER,
        ("x-API-key", "another"),
        ("Api-Key", "another"),
        ("x-goog-api-key", "another"),
        ("Authorization", "Basic another"),
        ("Proxy-Authorization", "Basic another"),
        ("X-one", "2"),
    )
    assert got.status == 200
    assert lines(upstream) == [b"GET /p?a=%2B&b= HTTP/1.1", b"X-One: 1", b"X-one: 2", VIA]


async def test_with_auth_off_every_credential_goes_upstream_as_it_was_sent(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    proxy = await start_proxy(auth="off")
    await proxy.get("/p?key=k", ("authorization", "Bearer  sk"), ("x-api-key", "k"))
    assert lines(upstream) == [
        b"GET /p?key=k HTTP/1.1",
        b"authorization: Bearer  sk",
        b"x-api-key: k",
        VIA,
    ]


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"upstream_authorization": Secret("ours")}, b"Authorization: Bearer ours"),
        ({"upstream_authorization": Secret(" ours ")}, b"Authorization: Bearer ours"),
        ({"upstream_authorization": Secret("Basic ours")}, b"Authorization: Basic ours"),
        (
            {
                "upstream_authorization": Secret("ours"),
                "upstream_credential_header": "x-api-key",
            },
            b"x-api-key: ours",
        ),
    ],
)
async def test_our_credential_stands_in_place_of_the_clients(
    start_proxy: "StartProxy", upstream: "Upstream", settings: dict[str, object], sent: bytes
) -> None:
    proxy = await start_proxy(jwt_secret=Secret(SECRET), **settings)
    assert (await proxy.get("/p", BEARER, ("x-api-key", "theirs"))).status == 200
    assert lines(upstream)[1:] == [sent, VIA]


async def test_with_auth_off_only_the_credential_that_ours_replaces_is_taken_out(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    proxy = await start_proxy(auth="off", upstream_authorization=Secret("ours"))
    await proxy.get("/p", ("authorization", "theirs"), ("x-api-key", "theirs"))
    assert lines(upstream)[1:] == [b"x-api-key: theirs", b"Authorization: Bearer ours", VIA]


async def test_a_preflight_gets_no_credential_of_ours(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    proxy = await start_proxy(upstream_authorization=Secret("ours"))
    asked = [("Origin", "https://app"), ("Access-Control-Request-Method", "POST")]
    assert (await proxy.request("OPTIONS", "/conversation/m", asked)).status == 200
    assert b"ours" not in upstream.heads[-1]


async def test_what_is_ours_or_ends_here_is_not_sent_on(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    proxy = await start_proxy(auth="off")
    await proxy.get(
        "/p",
        ("Connection", "X-Hop, keep-alive"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Backstory-Conversation", "x"),
        ("backstory_memory", "on"),
        ("Cookie", "a=1; backstory=x; b=2"),
        ("Cookie", "__Host-backstory=y"),
        ("Via", "1.0 front"),
    )
    assert lines(upstream)[1:] == [b"Cookie: a=1; b=2", b"Via: 1.0 front", VIA]


async def test_what_is_passed_through_keeps_what_memory_would_change(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    proxy = await start_proxy(auth="off")
    fields = [
        ("Accept-Encoding", "gzip, zstd"),
        ("If-Match", '"1"'),
        ("Content-Digest", "sha-256=:x:"),
    ]
    await proxy.post("/p", *fields)
    kept = [f"{name}: {value}".encode() for name, value in fields]
    assert set(kept) <= set(upstream.heads[-1].split(b"\r\n"))


async def test_memory_asks_for_an_answer_that_can_be_searched(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    proxy = await start_proxy(auth="off")
    named = ("Backstory-Conversation", "c")
    await proxy.post("/conversation/m", named, ("accept-encoding", "gzip"))
    assert lines(upstream)[-2:] == [b"Accept-Encoding: identity", VIA]
    assert b"gzip" not in upstream.heads[-1]
    got = await proxy.post(
        "/conversation/m",
        named,
        ("If-Match", '"1"'),
        ("Content-Digest", "sha-256=:x:"),
        ("Repr-Digest", "sha-256=:x:"),
        ("Digest", "x"),
        ("Content-MD5", "x"),
    )
    assert got.headers["Backstory-Memory"].startswith("hit;turns=1")
    head = upstream.heads[-1].lower()
    assert not any(name in head for name in (b"if-match", b"digest", b"content-md5"))


async def test_a_row_may_ask_another_upstream_for_another_path(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    row = RouteSettings(
        match="/chat/{model}",
        dialect="falcon",
        upstream=upstream.url,
        upstream_path="/v2/{model}/run",
    )
    proxy = await start_proxy(auth="off", upstream="http://127.0.0.1:9", routes=(row,))
    assert (await proxy.post("/-/c/x/chat/a%2Fb?q=1")).status == 200
    assert lines(upstream)[0] == b"POST /v2/a%2Fb/run?q=1 HTTP/1.1"
    assert (await proxy.post("/chat/")).status == 502, "no row: the default upstream, which is down"


async def test_a_credential_of_ours_that_is_refused_is_not_the_clients_fault(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.status = 401
    ours = await start_proxy(auth="off", upstream_authorization=Secret("canary"))
    for target in ("/p", "/conversation/m"):
        got = await ours.post(target)
        assert (got.status, got.headers["Backstory-Error"]) == (
            502,
            "upstream_rejected_credentials",
        )
        assert got.headers["x-should-retry"] == "false"
        assert b"canary" not in got.body
    theirs = await start_proxy(auth="off")
    got = await theirs.post("/p", ("Authorization", "Bearer theirs"))
    assert got.status == 401
    assert "Backstory-Error" not in got.headers

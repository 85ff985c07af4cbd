"""Who is asking: where a token may stand, what goes without, and names for those who show none."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.proxy.stages.tokens import FINE, bearer, serve, token

from backstory.keys import Ring

if TYPE_CHECKING:
    from tests.proxy.conftest import Server, Start


@pytest.mark.parametrize(
    "fields",
    [
        [bearer(FINE)],
        [("authorization", f"bearer {FINE}")],
        [("Authorization", f"BEARER   {FINE}  ")],
        [("Authorization", FINE)],
        [("x-api-key", FINE)],
        [("X-Api-Key", f"Bearer {FINE}")],
        [("api-key", FINE)],
        [("x-goog-api-key", FINE)],
        [("Authorization", ""), ("x-api-key", FINE)],
        [("Authorization", "Basic dXNlcjpwYXNz"), ("api-key", FINE)],
        [("Authorization", "AWS4-HMAC-SHA256 Credential=x"), ("x-goog-api-key", FINE)],
        [bearer(FINE), ("x-api-key", "sk-of-somebody-else")],
    ],
)
async def test_a_token_may_stand_where_sdks_put_their_key(
    start: "Start", fields: list[tuple[str, str]]
) -> None:
    got = await (await serve(start)).get("/p", *fields)
    assert json.loads(got.body)["owner"] == ["default", "ann"]


@pytest.mark.parametrize(
    "query",
    [
        f"key={FINE}",
        f"alt=sse&key={FINE}&x",
        f"key=&key={FINE}",
        f"key={FINE.replace('.', '%2E')}",
        f"key=Bearer%20{FINE}",
    ],
)
async def test_a_token_may_stand_in_the_query(start: "Start", query: str) -> None:
    got = await (await serve(start)).get(f"/p?{query}")
    assert json.loads(got.body)["owner"] == ["default", "ann"]


async def test_a_token_in_a_header_goes_before_one_in_the_query(start: "Start") -> None:
    proxy = await serve(start)
    got = await proxy.get(f"/p?key={token(sub='bob')}", bearer(FINE))
    assert json.loads(got.body)["owner"] == ["default", "ann"]
    wrong = await proxy.get(f"/p?key={FINE}", bearer("wrong"))
    assert wrong.status == 401, "the first that is shown counts, not the first that verifies"


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/p", []),
        ("/p", [("Authorization", "")]),
        ("/p", [("Authorization", "Basic dXNlcjpwYXNz")]),
        ("/p", [("Authorization", "Digest x=y")]),
        ("/p", [("Proxy-Authorization", f"Bearer {FINE}")]),
        ("/p", [("X_Api_Key", FINE)]),
        ("/p", [("Cookie", f"key={FINE}")]),
        ("/p?key=", []),
        ("/p?Key=" + FINE, []),
        ("/p?%6Bey=" + FINE, []),
        ("/key=" + FINE, []),
        ("/p?a=1?key=" + FINE, []),
    ],
)
async def test_without_a_token_the_answer_says_where_to_put_one(
    start: "Start", target: str, fields: list[tuple[str, str]]
) -> None:
    got = await (await serve(start)).get(target, *fields)
    assert (got.status, got.headers["Backstory-Error"]) == (401, "missing_token")
    assert 'error="invalid_request"' in got.headers["WWW-Authenticate"]
    assert "x-goog-api-key" in json.loads(got.body)["detail"]


@pytest.mark.parametrize("scheme", ["Bearer", "Bearer ", "bearer \t"])
async def test_a_scheme_without_a_token_is_refused(start: "Start", scheme: str) -> None:
    assert (await (await serve(start)).get("/p", ("Authorization", scheme))).status == 401


@pytest.mark.parametrize("target", ["/-/health/live", "/-/health/ready", "/-/health/live?probe=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_health_needs_no_token(start: "Start", method: str, target: str) -> None:
    assert (await (await serve(start)).request(method, target)).status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/-/health",
        "/-/health/live/",
        "/-/health/livex",
        "//-/health/live",
        "/-/health%2Flive",
        "/-/health/%6Cive",
        "/-/health/live/../../v1/conversations/x",
        "/v1/x?/-/health/live",
        "/-/v1/conversations/x",
    ],
)
async def test_nothing_that_resembles_health_goes_without(start: "Start", target: str) -> None:
    assert (await (await serve(start)).get(target)).status == 401


PREFLIGHT = [("Origin", "https://app"), ("Access-Control-Request-Method", "POST")]


async def test_a_preflight_needs_no_token_and_is_nobody(start: "Start") -> None:
    got = await (await serve(start)).request("OPTIONS", "/v1/chat/completions", PREFLIGHT)
    assert (got.status, json.loads(got.body)) == (200, None)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("GET", PREFLIGHT),
        ("POST", PREFLIGHT),
        ("OPTIONS", PREFLIGHT[:1]),
        ("OPTIONS", PREFLIGHT[1:]),
        ("OPTIONS", []),
    ],
)
async def test_what_is_no_preflight_needs_a_token(
    start: "Start", method: str, fields: list[tuple[str, str]]
) -> None:
    assert (await (await serve(start)).request(method, "/p", fields)).status == 401


async def name_of(proxy: "Server", *fields: tuple[str, str], target: str = "/p") -> Any:
    got = await proxy.get(target, *fields)
    assert got.status == 200
    return json.loads(got.body)


async def test_with_auth_off_a_credential_has_a_stable_name_of_its_own(start: "Start") -> None:
    proxy = await serve(start, auth="off")
    credentials: list[Callable[[], Any]] = [
        lambda: name_of(proxy, bearer("sk-1")),
        lambda: name_of(proxy, bearer("sk-2")),
        lambda: name_of(proxy, ("Authorization", "Basic c2stMQ==")),
        lambda: name_of(proxy, ("x-api-key", "sk-1")),
        lambda: name_of(proxy, ("api-key", "sk-3")),
        lambda: name_of(proxy, ("x-goog-api-key", "sk-4")),
        lambda: name_of(proxy, target="/p?key=sk-5"),
        lambda: name_of(proxy, bearer("sk-\udcff")),
        lambda: name_of(proxy, bearer("sk-\udcfe")),
    ]
    owners = [(await show())["owner"] for show in credentials]
    assert [(await show())["owner"] for show in credentials] == owners
    subjects = {subject for _, subject in owners}
    assert len(subjects) == len(credentials)
    assert {tenant for tenant, _ in owners} == {"default"}
    assert "sk-" not in str(owners)


async def test_with_auth_off_the_name_depends_on_the_key_ring(start: "Start") -> None:
    here, there = [await serve(start, Ring(roots), auth="off") for roots in ([b"here"], [b"there"])]
    assert (await name_of(here, bearer("k")))["owner"] != (await name_of(there, bearer("k")))[
        "owner"
    ]
    rotated = await serve(start, Ring([b"new", b"here"]), auth="off")
    assert await name_of(rotated, bearer("k")) == await name_of(here, bearer("k"))


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/p", []),
        ("/p", [("Authorization", " ")]),
        ("/p?key=", []),
        ("/p?k=v", [("X-User", "ann")]),
    ],
)
async def test_with_auth_off_and_no_credential_everybody_is_anonymous(
    start: "Start", target: str, fields: list[tuple[str, str]]
) -> None:
    who = await name_of(await serve(start, auth="off"), *fields, target=target)
    assert who["owner"] == ["default", "anonymous"]
    assert who["anonymous"] is True


async def test_with_auth_off_a_token_is_a_credential_like_any_other(start: "Start") -> None:
    who = await name_of(
        await serve(start, auth="off"), bearer(token(sub="ann", scope="a", conversation_id="c"))
    )
    assert who["owner"][1] != "ann"
    assert (who["conversation"], who["scopes"], who["anonymous"]) == (None, [], False)

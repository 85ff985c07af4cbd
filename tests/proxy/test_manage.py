"""What lives under ``/-/``: health, and the caller's own conversations and nobody else's."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from backstory.settings import Secret

if TYPE_CHECKING:
    from tests.proxy.conftest import Got, Server, StartProxy

SECRET = "a secret of the clients, of 32 bytes and more"
ALL = "/-/v1/conversations"


def bearer(subject: str = "ann", **claims: object) -> tuple[str, str]:
    return ("Authorization", "Bearer " + jwt.encode({"sub": subject} | claims, SECRET, "HS256"))


ANN = bearer()


@pytest.fixture
async def proxy(start_proxy: "StartProxy") -> "Server":
    return await start_proxy(jwt_secret=Secret(SECRET))


async def talk(proxy: "Server", count: int = 3, name: str = "c", who: Any = ANN) -> list[str]:
    """A conversation of ``count`` turns; their ids, oldest first."""
    ids = []
    for number in range(count):
        body = json.dumps({"text": f"question {number}"}).encode()
        got = await proxy.post("/conversation/m", who, ("Backstory-Conversation", name), body=body)
        assert got.headers["Backstory-Conversation"] == name
        ids.append(got.headers["Backstory-Turn"])
    return ids


def read(got: "Got") -> Any:
    assert (got.status, got.headers["Content-Type"]) == (200, "application/json"), got
    assert got.headers["Cache-Control"] == "no-store"
    return json.loads(got.body)


def refused(got: "Got", status: int, code: str) -> None:
    assert (got.status, got.headers["Backstory-Error"]) == (status, code)
    assert got.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(got.body)
    assert (problem["title"], problem["status"]) == (code, status)
    assert problem["detail"]


async def test_health_is_told_to_anybody(proxy: "Server") -> None:
    for name in ("live", "ready"):
        got = await proxy.get(f"/-/health/{name}")
        assert (got.status, got.body) == (200, b"ok\n")
        head = await proxy.request("HEAD", f"/-/health/{name}")
        assert (head.status, head.headers["Content-Length"]) == (200, "3")


async def test_a_server_that_stops_is_live_but_not_ready(proxy: "Server") -> None:
    await proxy.app.shutdown()  # what the runner does first on a signal
    refused(await proxy.get("/-/health/ready"), 503, "draining")
    assert (await proxy.get("/-/health/ready")).headers["Retry-After"] == "1"
    assert (await proxy.get("/-/health/live")).status == 200


async def test_a_conversation_tells_its_facts(proxy: "Server") -> None:
    ids = await talk(proxy)
    told = read(await proxy.get(f"{ALL}/c", ANN))
    assert told.keys() == {
        "id",
        "version",
        "dialects",
        "turns",
        "tokens",
        "head",
        "created",
        "updated",
    }
    assert (told["id"], told["version"], told["dialects"]) == ("c", 3, ["falcon"])
    assert (told["turns"], told["head"]) == (3, ids[-1])
    assert told["tokens"] > 0
    created, updated = (datetime.fromisoformat(told[name]) for name in ("created", "updated"))
    assert created <= updated
    assert created.utcoffset() is not None


async def test_turns_are_told_oldest_first_and_as_they_were_said(proxy: "Server") -> None:
    ids = await talk(proxy)
    told = read(await proxy.get(f"{ALL}/c/turns", ANN))
    assert told["next"] is None
    assert [turn["id"] for turn in told["turns"]] == ids
    assert [turn["parent"] for turn in told["turns"]] == [None, *ids[:2]]
    assert "question 0" in json.dumps(told["turns"][0]["messages"])
    assert "Hi!" in json.dumps(told["turns"][0]["messages"])
    assert {turn["dialect"] for turn in told["turns"]} == {"falcon"}
    assert not any(turn["truncated"] or turn["imported"] for turn in told["turns"])


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 1000])
async def test_pages_of_turns_follow_each_other_without_gap_or_overlap(
    proxy: "Server", limit: int
) -> None:
    ids = await talk(proxy)
    found, after, pages = [], None, 0
    while pages == 0 or after:
        more = f"&after={after}" if after else ""
        told = read(await proxy.get(f"{ALL}/c/turns?limit={limit}{more}", ANN))
        assert len(told["turns"]) <= limit
        found += [turn["id"] for turn in told["turns"]]
        after, pages = told["next"], pages + 1
    assert found == ids
    assert pages == max(1, -(-3 // limit))


async def test_after_the_last_turn_there_is_nothing(proxy: "Server") -> None:
    ids = await talk(proxy)
    told = read(await proxy.get(f"{ALL}/c/turns?after={ids[-1]}", ANN))
    assert told == {"turns": [], "next": None}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=1001",
        "limit=x",
        "limit=1.5",
        "limit=%2B1",
        "limit=%D9%A1",
        "limit=" + "9" * 5000,
        "limit=" + "0" * 5000 + "1",
        "after=turn_of_nobody",
        "after=%00",
        "after=%FF",
    ],
)
async def test_a_page_that_cannot_be_is_refused(proxy: "Server", query: str) -> None:
    await talk(proxy, 1)
    refused(await proxy.get(f"{ALL}/c/turns?{query}", ANN), 400, "bad_request")


async def test_a_turn_is_told_once_it_is_stored(proxy: "Server") -> None:
    (turn,) = await talk(proxy, 1)
    told = read(await proxy.get(f"{ALL}/c/turns/{turn}", ANN))
    assert told["id"] == turn
    assert told == read(await proxy.get(f"{ALL}/c/turns", ANN))["turns"][0]


async def test_head_is_get_without_the_body(proxy: "Server") -> None:
    (turn,) = await talk(proxy, 1)
    for target in (f"{ALL}/c", f"{ALL}/c/turns", f"{ALL}/c/turns/{turn}"):
        got, head = await proxy.get(target, ANN), await proxy.request("HEAD", target, [ANN])
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(got.body))
    missing = await proxy.request("HEAD", f"{ALL}/none", [ANN])
    assert (missing.status, missing.headers["Backstory-Error"]) == (404, "not_found")


async def test_what_is_erased_is_gone_and_may_begin_anew(proxy: "Server") -> None:
    (old, *_) = await talk(proxy, 2)
    got = await proxy.request("DELETE", f"{ALL}/c", [ANN])
    assert (got.status, got.body) == (204, b"")
    for target in (f"{ALL}/c", f"{ALL}/c/turns", f"{ALL}/c/turns/{old}"):
        refused(await proxy.get(target, ANN), 404, "not_found")
    refused(await proxy.request("DELETE", f"{ALL}/c", [ANN]), 404, "not_found")
    await talk(proxy, 1)
    assert read(await proxy.get(f"{ALL}/c", ANN))["version"] == 1


async def test_what_belongs_to_somebody_else_does_not_exist(proxy: "Server") -> None:
    (turn,) = await talk(proxy, 1)
    strangers = [
        bearer("bob"),
        bearer(team_id="acme"),
        bearer(scope="backstory:admin", team_id="x"),
    ]
    for stranger in strangers:
        for method, target in (
            ("GET", f"{ALL}/%s"),
            ("GET", f"{ALL}/%s/turns"),
            ("GET", f"{ALL}/%s/turns/{turn}"),
            ("DELETE", f"{ALL}/%s"),
        ):
            foreign = await proxy.request(method, target % "c", [stranger])
            unknown = await proxy.request(method, target % "nobody", [stranger])
            refused(foreign, 404, "not_found")
            for name in ("Date", "Server"):
                foreign.headers.popall(name, None)
                unknown.headers.popall(name, None)
            assert foreign == unknown
    assert read(await proxy.get(f"{ALL}/c", ANN))["turns"] == 1


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/-/health/live", "GET, HEAD"),
        ("PUT", f"{ALL}/c", "GET, HEAD, DELETE"),
        ("POST", f"{ALL}/c", "GET, HEAD, DELETE"),
        ("DELETE", f"{ALL}/c/turns", "GET, HEAD"),
        ("PATCH", f"{ALL}/c/turns/t", "GET, HEAD"),
        ("OPTIONS", f"{ALL}/c", "GET, HEAD, DELETE"),
    ],
)
async def test_another_method_is_answered_with_those_that_are_known(
    proxy: "Server", method: str, target: str, allowed: str
) -> None:
    got = await proxy.request(method, target, [ANN])
    refused(got, 405, "method_not_allowed")
    assert got.headers["Allow"] == allowed


@pytest.mark.parametrize(
    "target",
    [
        "/-/",
        "/-/x",
        "/-/v1/conversations/",
        "/-/v1/conversations//turns",
        "/-/v1/conversations/c/",
        "/-/v1/conversations/c/turns/",
        "/-/v1/conversations/c/turns/t/x",
        "/-/v2/conversations/c",
        "/-/%761/conversations/c",
        "/-/health/liv%65",
        "/-/health/../v1/conversations/c",
        "/-/v1/conversations/%00",
        "/-/v1/conversations/%FF%FE",
        "/-/v1/conversations/" + "x" * 3000,
    ],
)
async def test_anything_else_is_not_found_and_never_goes_upstream(
    proxy: "Server", upstream: Any, target: str
) -> None:
    refused(await proxy.get(target, ANN), 404, "not_found")
    assert upstream.heads == []


async def test_without_a_token_nothing_is_told(proxy: "Server") -> None:
    for target in ("/-/", f"{ALL}/c", f"{ALL}/c/turns"):
        refused(await proxy.get(target), 401, "missing_token")


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a/b", "a%2Fb"),
        ("a/b", "a%2fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a%2Fb", "a%252Fb"),
        ("a+b", "a+b"),
        ("a;b=c", "a;b=c"),
        ("conv_1", "%63onv_1"),
        ("..", ".."),
        ("'\"\\", "'%22%5C"),
    ],
)
async def test_an_id_is_decoded_once(proxy: "Server", name: str, escaped: str) -> None:
    await talk(proxy, 1, name)
    assert read(await proxy.get(f"{ALL}/{escaped}", ANN))["id"] == name
    assert len(read(await proxy.get(f"{ALL}/{escaped}/turns", ANN))["turns"]) == 1
    assert (await proxy.request("DELETE", f"{ALL}/{escaped}", [ANN])).status == 204


async def test_the_prefix_of_a_conversation_changes_nothing_here(proxy: "Server") -> None:
    await talk(proxy, 1)
    assert read(await proxy.get(f"/-/c/other{ALL}/c", ANN))["id"] == "c"


@pytest.fixture
async def locked(start_proxy: "StartProxy", tmp_path: Path) -> AsyncIterator["Server"]:
    """A proxy whose store stops answering: somebody else holds its file."""
    path = tmp_path / "backstory.db"
    proxy = await start_proxy(
        jwt_secret=Secret(SECRET), store=f"sqlite:///{path}", store_seconds=0.2
    )
    await talk(proxy, 1)
    holder = await asyncio.to_thread(sqlite3.connect, path, check_same_thread=False)
    await asyncio.to_thread(holder.execute, "BEGIN EXCLUSIVE")
    yield proxy
    await asyncio.to_thread(holder.close)


async def test_a_store_that_does_not_answer_is_503_and_says_when_to_try_again(
    locked: "Server",
) -> None:
    for method, target in (("GET", "/-/health/ready"), ("DELETE", f"{ALL}/c")):
        got = await locked.request(method, target, [ANN])
        refused(got, 503, "memory_unavailable")
        assert got.headers["Retry-After"] == "2"
    assert (await locked.get("/-/health/live")).status == 200

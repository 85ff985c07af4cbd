"""What the server is made of: the order of its stages, its keys, and what it refuses to start with."""

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

import backstory
from backstory.app import chain, create_app, key_ring
from backstory.config import Config
from backstory.errors import ConfigError
from backstory.keys import Ring
from backstory.run_options import RUN_APP
from backstory.settings import RouteSettings, Secret

if TYPE_CHECKING:
    from tests.proxy.conftest import Start, StartProxy, Upstream


def config(**settings: Any) -> Config:
    fixed: dict[str, Any] = {"upstream": "http://127.0.0.1:9", "auth": "off", "store": "memory://"}
    return Config(**fixed | settings)


def test_the_stages_have_one_order() -> None:
    names = [name for name, _ in chain(config(), Ring([b"x"]), Any, Any, Any, Any)]  # type: ignore[arg-type]
    assert names == ["exchange", "auth", "session", "memory"]


def test_what_a_program_needs_is_public() -> None:
    assert backstory.create_app is create_app
    assert backstory.RUN_APP is RUN_APP
    assert backstory.Config is Config
    assert RUN_APP["handler_cancellation"]
    assert not RUN_APP["auto_decompress"]
    assert RUN_APP["access_log"] is None, "it would hold the query"


@pytest.mark.parametrize(
    ("settings", "problems"),
    [
        ({"upstream": "", "listen": "x"}, ["upstream", "listen"]),
        ({"upstream": "http://h:0"}, ["upstream"]),
        ({"routes": (RouteSettings(match="x", dialect="falcon"),)}, ["route 1 match"]),
        (
            {
                "routes": (
                    RouteSettings(match="/a", dialect="none"),
                    RouteSettings(match="/b", dialect="neither"),
                )
            },
            ["route 1 dialect", "route 2 dialect"],
        ),
        ({"store": "none://"}, ["store"]),
        ({"auth": "jwt"}, ["jwt_secret"]),
        ({"session_secret": Secret("")}, ["session_secret"]),
    ],
)
def test_what_cannot_work_does_not_start(settings: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        create_app(config(**settings))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == problems


def test_the_keys_are_those_of_the_configuration_newest_first() -> None:
    given = config(session_secret=Secret("new"), session_secrets_old=(Secret("old"),))
    assert key_ring(given).keys("p") == Ring([b"new", b"old"]).keys("p")
    odd = config(session_secret=Secret("\udcff"))
    assert key_ring(odd).keys("p") == Ring([b"\xff"]).keys("p")


@pytest.mark.parametrize(
    ("store", "name"),
    [("a.db", "a.key"), ("a", "a.key"), ("a%20b.db", "a b.key"), ("a.b.db", "a.b.key")],
)
def test_without_a_secret_a_key_file_is_made_beside_the_database(
    tmp_path: Path, store: str, name: str
) -> None:
    given = config(store=f"sqlite:///{tmp_path}/{store}")
    assert key_ring(given).keys("p") == key_ring(given).keys("p")
    (made,) = tmp_path.iterdir()
    assert made.name == name
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_the_key_file_may_stand_elsewhere(tmp_path: Path) -> None:
    given = config(session_key_file=str(tmp_path / "mine"))
    assert key_ring(given).keys("p") == key_ring(given).keys("p")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_a_file_the_keys_live_as_long_as_the_memory() -> None:
    assert key_ring(config()).keys("p") != key_ring(config()).keys("p")


@pytest.mark.parametrize("content", ["", "canary"])
def test_a_key_file_that_cannot_be_used_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        key_ring(config(session_key_file=str(path)))
    (problem,) = caught.value.problems
    assert problem.startswith("session_key_file: ")
    assert "canary" not in problem


async def test_a_conversation_is_remembered_from_end_to_end(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    proxy = await start_proxy(auth="off")
    named = ("Backstory-Conversation", "c")
    upstream.body = b"94572.\nHuman:"
    first = await proxy.post("/conversation/m", named, body=b'{"text": "Repeat 94572."}')
    assert (first.status, first.body) == (200, b"94572.\nHuman:")
    second = await proxy.post("/conversation/m", named, body=b'{"text": "Which number?"}')
    assert second.headers["Backstory-Memory"].startswith("hit;turns=1;omitted=0;")
    turn = await proxy.get(f"/-/v1/conversations/c/turns/{second.headers['Backstory-Turn']}")
    assert json.loads(turn.body)["parent"] == first.headers["Backstory-Turn"]


async def test_a_head_of_ours_says_nothing_of_what_we_are_made_of(
    start_proxy: "StartProxy",
) -> None:
    proxy = await start_proxy(auth="off")
    for target in ("/p", "/-/health/live", "/-/nothing", "/p#x", "/conversation/m"):
        assert "Server" not in (await proxy.get(target)).headers


async def test_what_is_configured_is_warned_about_once(
    start: "Start", caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await start(create_app(config(auth="jwt", jwt_secret=Secret("s"))))
    for _ in range(3):
        await proxy.get("/p")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [warning.partition(":")[0] for warning in warnings] == ["jwt_secret", "require_exp"]


async def test_the_application_can_be_started_and_stopped(tmp_path: Path) -> None:
    app = create_app(config(store=f"sqlite:///{tmp_path}/a.db"))
    runner = web.AppRunner(app, **RUN_APP)
    await runner.setup()
    assert (tmp_path / "a.db").exists()
    await runner.cleanup()


def test_old_secrets_open_what_they_sealed_beside_a_key_file_too(tmp_path: Path) -> None:
    key_file = str(tmp_path / "b.key")
    old = Ring([b"the old one"])
    config = Config(session_key_file=key_file, session_secrets_old=(Secret("the old one"),))
    ring = key_ring(config)
    assert list(ring.keys("cookie/v1").items())[1:] == list(old.keys("cookie/v1").items())
    assert next(iter(ring.keys("x"))) == next(
        iter(key_ring(Config(session_key_file=key_file)).keys("x"))
    )

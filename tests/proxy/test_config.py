"""Where the configuration comes from, what beats what, and that every problem is said at once."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.proxy.configs import ENOUGH, UNKNOWN, read

from backstory.config import Config, load, settings
from backstory.errors import ConfigError
from backstory.settings import Secret


def problems_in(environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(flags or {}, environ)
    assert "canary" not in str(caught.value)
    return caught.value.problems


def test_the_defaults_are_those_of_the_contract() -> None:
    config = load({}, ENOUGH)
    assert (config.listen, config.auth, config.session, config.fallback, config.store) == (
        "127.0.0.1:7001",
        "jwt",
        "auto",
        "off",
        "sqlite:///backstory.db",
    )
    assert (config.max_body_bytes, config.max_decoded_bytes) == (32 * 2**20, 64 * 2**20)
    assert (config.max_history_turns, config.single_use_ttl) == (100, 24 * 3600)
    assert config.session_max_age_seconds == 30 * 24 * 3600
    assert (config.connect_seconds, config.first_byte_seconds, config.silence_seconds) == (
        5,
        600,
        600,
    )
    assert config == Config(upstream="http://127.0.0.1:8000", jwt_secret=Secret("s" * 32))


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(toml: Path) -> None:
    toml.write_text('listen = "h:1"\nstore = "memory://file"\nvia = "file"\nqueue_depth = 1\n')
    environ = ENOUGH | {"BACKSTORY_LISTEN": "h:2", "BACKSTORY_STORE": "memory://env"}
    config = load(
        {"listen": "h:3"}, environ, file=str(toml), defaults={"queue_depth": 9, "end_seconds": 7.0}
    )
    assert (config.listen, config.store, config.via) == ("h:3", "memory://env", "file")
    assert (config.queue_depth, config.end_seconds) == (1, 7.0)


def test_the_environment_names_the_file_and_the_flag_names_another(toml: Path) -> None:
    toml.write_text('via = "one"\n')
    other = toml.with_name("other.toml")
    other.write_text('via = "two"\n')
    environ = ENOUGH | {"BACKSTORY_CONFIG": str(toml)}
    assert Config.from_env(environ).via == "one"
    assert load({}, environ, file=str(other)).via == "two"


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("BACKSTORY_")]:
        monkeypatch.delenv(name)
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)
    assert Config.from_env() == load({}, ENOUGH)


@pytest.mark.parametrize("name", settings())
def test_every_setting_can_be_said_in_the_environment_and_in_the_file(
    name: str, toml: Path
) -> None:
    samples: dict[str, tuple[str, object]] = {
        "auth": ("off", "off"),
        "session": ("always", "always"),
        "fallback": ("subject", "subject"),
        "listen": ("localhost:80", "localhost:80"),
        "admin_listen": ("localhost:81", "localhost:81"),
        "upstream": ("https://h/v1", "https://h/v1"),
        "upstream_credential_header": ("api-key", "api-key"),
        "trusted_proxies": ("10.0.0.1, ::1", ("10.0.0.1", "::1")),
        "jwt_algorithms": ("HS512", ("HS512",)),
        "conversation_headers": ("X-A, X-B=window", ("X-A", "X-B=window")),
        "context_windows": ("m=8192, *=1", ("m=8192", "*=1")),
        "tokenizer": ("o200k_base", "o200k_base"),
    }
    default = settings()[name].default
    kind = "text"
    if name in samples:
        text, expected = samples[name]
    elif isinstance(default, bool):
        text, expected, kind = str(not default).lower(), not default, "bare"
    elif isinstance(default, int | float):
        large = name == "max_buffered_bytes"  # or no request would fit
        text, expected, kind = ("777777777", 777777777, "bare") if large else ("7", 7, "bare")
    elif "secret" in name or name == "upstream_authorization":
        text, expected = "x" * 32, Secret("x" * 32)
        expected = (expected,) if default == () else expected
    else:
        text = expected = "word"
    config = load({}, ENOUGH | {f"BACKSTORY_{name.upper()}": text})
    assert getattr(config, name) == expected
    environ = {k: v for k, v in ENOUGH.items() if k != f"BACKSTORY_{name.upper()}"}
    spelled = text if kind == "bare" else f'"{text}"'
    assert getattr(read(f"{name} = {spelled}\n", toml, environ), name) == expected


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("JWT_SECRET", "jwt_secret"),
        ("FLASK_SECRET", "session_secret"),
        ("TT_API_JWT", "upstream_authorization"),
    ],
)
def test_the_names_of_the_first_deployment_stay_valid(alias: str, name: str, toml: Path) -> None:
    environ = {"BACKSTORY_UPSTREAM": "http://h", "JWT_SECRET": "j" * 32, alias: "a" * 32}
    assert getattr(load({}, environ), name) == Secret("a" * 32)
    assert getattr(read(f'{name} = "{"f" * 32}"', toml, environ), name) == Secret("a" * 32)
    ours = environ | {f"BACKSTORY_{name.upper()}": "b" * 32}
    assert getattr(load({}, ours), name) == Secret("b" * 32), "our own name beats the alias"
    empty = environ | {f"BACKSTORY_{name.upper()}": ""}
    assert getattr(load({}, empty), name) == Secret("a" * 32)


def test_an_empty_variable_is_none() -> None:
    empty = {f"BACKSTORY_{name.upper()}": "" for name in settings()}
    empty |= {"JWT_SECRET": "", "FLASK_SECRET": "", "TT_API_JWT": "", "BACKSTORY_CONFIG": ""}
    assert load({}, empty | ENOUGH) == load({}, ENOUGH)


def test_other_peoples_variables_are_none_of_our_business() -> None:
    others = {"PATH": "/", "BACKSTORYLISTEN": "x", "MY_BACKSTORY_LISTEN": "x", "UPSTREAM": "x"}
    assert load({}, ENOUGH | others) == load({}, ENOUGH)


def test_what_kubernetes_says_about_a_service_of_our_name_is_no_setting() -> None:
    links = {
        "BACKSTORY_SERVICE_HOST": "10.0.0.1",
        "BACKSTORY_SERVICE_PORT": "7001",
        "BACKSTORY_SERVICE_PORT_HTTP": "7001",
        "BACKSTORY_PORT": "tcp://10.0.0.1:7001",
        "BACKSTORY_PORT_7001_TCP": "tcp://10.0.0.1:7001",
        "BACKSTORY_PORT_7001_TCP_PROTO": "tcp",
        "BACKSTORY_PORT_7001_TCP_PORT": "7001",
        "BACKSTORY_PORT_7001_TCP_ADDR": "10.0.0.1",
    }
    assert load({}, ENOUGH | links) == load({}, ENOUGH)
    assert problems_in(ENOUGH | {"BACKSTORY_PORT": "7001"}) == [f"BACKSTORY_PORT: {UNKNOWN}"]


@pytest.mark.parametrize(
    "variable", ["BACKSTORY_LISTN", "BACKSTORY_", "BACKSTORY_listen", "BACKSTORY_ROUTES"]
)
def test_an_unknown_variable_is_said(variable: str) -> None:
    assert problems_in(ENOUGH | {variable: "canary"}) == [f"{variable}: {UNKNOWN}"]


@pytest.mark.parametrize("text", ["true", "1", "yes", "ON", " True "])
def test_yes_has_many_spellings(text: str) -> None:
    assert load({}, ENOUGH | {"BACKSTORY_STRICT": text}).strict is True


@pytest.mark.parametrize("text", ["false", "0", "no", "Off"])
def test_no_has_as_many(text: str) -> None:
    assert load({"strict": "true"}, ENOUGH).strict is True
    assert load({}, ENOUGH | {"BACKSTORY_STRICT": text}).strict is False


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("STRICT", "canary", "not true or false"),
        ("AUTH", "canary", "not one of jwt, off"),
        ("AUTH", "JWT", "not one of jwt, off"),
        ("SESSION", "on", "not one of auto, always, off"),
        ("QUEUE_DEPTH", "canary", "not a whole number"),
        ("QUEUE_DEPTH", "1.5", "not a whole number"),
        ("QUEUE_DEPTH", "9" * 5000, "not a whole number"),
        ("CONNECT_SECONDS", "canary", "not a number"),
        ("CONNECT_SECONDS", "5s", "not a number"),
        ("CONNECT_SECONDS", "inf", "must be greater than zero"),
        ("LISTEN", "canary", "not of the form HOST:PORT"),
    ],
)
def test_a_wrong_value_is_said_once_with_what_would_be_right(
    name: str, text: str, expected: str
) -> None:
    (problem,) = problems_in(ENOUGH | {f"BACKSTORY_{name}": text})
    said, _, reason = problem.partition(": ")
    assert said.removeprefix("BACKSTORY_").lower() == name.lower()
    assert reason == expected


def test_a_wrong_flag_is_said_by_its_own_name() -> None:
    assert problems_in(ENOUGH, {"auth": "canary"}) == ["--auth: not one of jwt, off"]
    said = problems_in({**ENOUGH, "BACKSTORY_UPSTREAM": ""}, {"allow_open": "canary"})
    assert [problem.partition(":")[0] for problem in said] == ["--allow-open", "upstream"]


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        (problem,) = problems_in(ENOUGH | {"BACKSTORY_CONFIG": str(path)})
        assert problem.startswith(f"config: cannot read {path}: ")


def test_a_list_in_the_environment_is_separated_by_commas() -> None:
    environ = ENOUGH | {
        "BACKSTORY_SESSION_SECRETS_OLD": "one, two,",
        "BACKSTORY_TRUSTED_PROXIES": " 10.0.0.0/8 ,::1",
    }
    config = load({}, environ)
    assert config.session_secrets_old == (Secret("one"), Secret("two"))
    assert config.trusted_proxies == ("10.0.0.0/8", "::1")


def test_all_problems_are_said_at_once(toml: Path) -> None:
    toml.write_text("listn = 1\nqueue_depth = 'x'\n[[route]]\nmatch = '/p'\n")
    environ = {
        "BACKSTORY_LISTENN": "x",
        "BACKSTORY_STRICT": "x",
        "BACKSTORY_LISTEN": "x",
        "BACKSTORY_TRUSTED_PROXIES": "x",
        "BACKSTORY_CONFIG": str(toml),
    }
    said = [problem.partition(":")[0] for problem in problems_in(environ, {"session": "x"})]
    assert sorted(said) == [
        "--session",
        "BACKSTORY_LISTENN",
        "BACKSTORY_STRICT",
        "jwt_secret",
        "listen",
        "listn",
        "queue_depth",
        "route 1 dialect",
        "trusted_proxies",
        "upstream",
    ]


def test_without_a_key_tokens_cannot_be_verified_so_nothing_starts() -> None:
    (problem,) = problems_in({"BACKSTORY_UPSTREAM": "http://h"})
    assert "set BACKSTORY_JWT_SECRET (or JWT_SECRET)" in problem


def test_without_tokens_an_open_address_needs_a_word() -> None:
    environ = {"BACKSTORY_UPSTREAM": "http://h", "BACKSTORY_AUTH": "off"}
    assert load({}, environ).auth == "off"
    (problem,) = problems_in(environ | {"BACKSTORY_LISTEN": "0.0.0.0:7001"})
    assert problem.startswith("auth: off")
    opened = load({"allow_open": "true"}, environ | {"BACKSTORY_LISTEN": "0.0.0.0:7001"})
    assert opened.allow_open


def test_a_configuration_can_be_made_in_python() -> None:
    config = Config(upstream="http://127.0.0.1:8000", auth="off")
    assert config.problems() == []
    assert [p.partition(":")[0] for p in Config().problems()] == ["upstream", "jwt_secret"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["require_exp"]),
        ({"BACKSTORY_REQUIRE_EXP": "true"}, []),
        ({"BACKSTORY_STRICT": "true"}, []),
        ({"BACKSTORY_JWT_SECRET": "canary"}, ["jwt_secret", "require_exp"]),
        ({"BACKSTORY_AUTH": "off", "BACKSTORY_JWT_SECRET": "canary"}, []),
        (
            {"BACKSTORY_SESSION_SECRET": "canary", "BACKSTORY_REQUIRE_EXP": "1"},
            ["session_secret"],
        ),
        ({"BACKSTORY_SESSION_SECRET": "c" * 16, "BACKSTORY_REQUIRE_EXP": "1"}, []),
    ],
)
def test_what_works_but_should_be_mended_is_a_warning(
    more: dict[str, str], expected: list[str]
) -> None:
    warnings = load({}, ENOUGH | more).warnings()
    assert [warning.partition(":")[0] for warning in warnings] == expected
    assert "canary" not in " ".join(warnings)


def test_a_secret_that_is_not_utf_8_is_a_secret() -> None:
    typed = os.fsdecode(b"\xff" * 32)
    config = load({}, ENOUGH | {"JWT_SECRET": typed, "BACKSTORY_JWT_SECRET": ""})
    assert config.jwt_secret is not None
    assert config.jwt_secret.as_bytes() == b"\xff" * 32
    assert config.warnings() == [w for w in config.warnings() if not w.startswith("jwt_secret")]


def serve(tmp_path: Path, *argv: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [sys.executable, "-m", "backstory", "serve", *argv],
        cwd=tmp_path,
        env=clean | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_serve_says_every_problem_on_stderr_and_ends_with_2(tmp_path: Path) -> None:
    ran = serve(
        tmp_path,
        "--listen",
        "nowhere",
        BACKSTORY_QUEUE_DEPTH="many",
        BACKSTORY_TYPO="canary",
        TT_API_JWT="can\nary",
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    lines = ran.stderr.splitlines()
    assert {line.split(": ")[1] for line in lines} == {
        "BACKSTORY_QUEUE_DEPTH",
        "BACKSTORY_TYPO",
        "jwt_secret",
        "listen",
        "upstream",
        "upstream_authorization",
    }
    assert all(line.startswith("backstory: ") for line in lines)
    assert "canary" not in ran.stderr
    assert list(tmp_path.iterdir()) == [], "checking changes nothing"

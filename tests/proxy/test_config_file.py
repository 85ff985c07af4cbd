"""The TOML file: what it may hold, and that what is wrong in it is said without being quoted."""

from pathlib import Path

import pytest
from tests.proxy.configs import ENOUGH, UNKNOWN, read

from backstory.errors import ConfigError
from backstory.settings import RouteSettings, Secret


def problems_of(text: str | bytes, path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, path)
    assert "canary" not in str(caught.value)
    return caught.value.problems


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("listn = 1", f"listn: {UNKNOWN}"),
        ("[section]\na = 1", f"section: {UNKNOWN}"),
        ("config = 'x'", f"config: {UNKNOWN}"),
        ("queue_depth = 'canary'", "queue_depth: not a whole number"),
        ("queue_depth = 1.5", "queue_depth: not a whole number"),
        ("queue_depth = true", "queue_depth: not a whole number"),
        ("queue_depth = []", "queue_depth: one value, not a list"),
        ("queue_depth = ['1']", "queue_depth: one value, not a list"),
        ("queue_depth = [1]", "queue_depth: one value, not a list"),
        ("queue_depth = {a = 1}", "queue_depth: not a value that this setting takes"),
        ("connect_seconds = 2026-01-01", "connect_seconds: not a value that this setting takes"),
        ("connect_seconds = inf", "connect_seconds: must be greater than zero"),
        ("connect_seconds = nan", "connect_seconds: must be greater than zero"),
        ("auth = false", "auth: not one of jwt, off"),
        ("strict = 'canary'", "strict: not true or false"),
        ("jwt_secret = ['canary']", "jwt_secret: one value, not a list"),
        ("jwt_secret = {canary = 1}", "jwt_secret: not a value that this setting takes"),
        ("jwt_algorithms = []", "jwt_algorithms: only HS256, HS384 and HS512 are known"),
        ("jwt_algorithms = [5]", "jwt_algorithms: not a list of texts"),
        ("session_secrets_old = 5", "session_secrets_old: not a list of texts"),
        ("session_secret = ''", "session_secret: empty; leave it out, and a key file is made"),
        ("route = 5", "route: write [[route]], one table for each row"),
        ("[route]\nmatch = '/p'", "route: write [[route]], one table for each row"),
    ],
)
def test_a_wrong_line_in_the_file_is_said(line: str, expected: str, toml: Path) -> None:
    assert problems_of(line, toml) == [expected]


@pytest.mark.parametrize(
    "content",
    [
        b"jwt_secret = canary",
        b"jwt_secret = 'canary",
        b"jwt_secret = 'canary' 'canary'",
        b"jwt_secret = 'canary\xff'",
        b"jwt_secret = 'canary\0'",
        b"jwt_secret = 'canary'\njwt_secret = 'canary'",
        b"queue_depth = " + b"9" * 5000,
        b"\xff\xfe",
        b"{}",
    ],
)
def test_a_file_that_is_not_toml_is_said_without_quoting_it(content: bytes, toml: Path) -> None:
    (problem,) = problems_of(content, toml)
    assert problem.startswith(f"config: {toml} is not TOML: ")


def test_rows_of_the_route_table_are_read_in_order(toml: Path) -> None:
    config = read(
        """
        [[route]]
        match = "/batch/chat/completions"
        dialect = "openai.chat"
        memory = "off"

        [[route]]
        match = "/chat/{model}"
        dialect = "falcon"
        methods = ["POST", "PUT"]
        upstream = "http://127.0.0.1:9000"
        upstream_path = "/v2/{model}"
        """,
        toml,
    )
    assert config.routes == (
        RouteSettings(match="/batch/chat/completions", dialect="openai.chat", memory="off"),
        RouteSettings(
            match="/chat/{model}",
            dialect="falcon",
            methods=("POST", "PUT"),
            upstream="http://127.0.0.1:9000",
            upstream_path="/v2/{model}",
        ),
    )


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("", ["route 1 match: missing", "route 1 dialect: missing"]),
        ("match = '/p'", ["route 1 dialect: missing"]),
        ("match = '/p'\ndialect = 'falcon'\nmemori = 'off'", ["route 1 memori: unknown"]),
        (
            "match = '/p'\ndialect = 'falcon'\nmemory = 'canary'",
            ["route 1 memory: not one of always, named, off"],
        ),
        ("match = '/p'\ndialect = ['falcon']", ["route 1 dialect: one value, not a list"]),
        (
            "match = '/p'\ndialect = {a = 'canary'}",
            ["route 1 dialect: not a value that this setting takes"],
        ),
        (
            "match = '/p'\ndialect = 'falcon'\nmethods = [1]",
            ["route 1 methods: not a list of texts"],
        ),
        (
            "match = 'p'\ndialect = 'falcon'",
            ["route 1 match: must be a path that begins with / or with **/"],
        ),
        (
            "match = '/p'\ndialect = 'falcon'\nupstream = 'h'",
            ["route 1 upstream: not of the form http://host:port or https://host"],
        ),
    ],
)
def test_a_wrong_row_is_said_by_its_number(row: str, expected: list[str], toml: Path) -> None:
    assert problems_of(f"[[route]]\n{row}\n", toml) == expected


@pytest.mark.parametrize("wrong", ["5", "'canary'", "[{canary = 1}]"])
def test_options_are_a_table(wrong: str, toml: Path) -> None:
    row = f"[[route]]\nmatch = '/p'\ndialect = 'falcon'\noptions = {wrong}\n"
    said = ["route 1 options: write [route.options], a table below its [[route]]"]
    assert problems_of(row, toml) == said


def test_a_row_has_the_options_below_it(toml: Path) -> None:
    described = """
        [[route]]
        match = "/{}"
        dialect = "declarative"
        [route.options]
        prompt = "$.{}"
        message = {{ who = "{{role}}", what = ["{{text}}"] }}
        reply = "$.said"
        """
    config = read(described.format("a", "b") + described.format("c", "d"), toml)
    assert [(row.match, row.options["prompt"]) for row in config.routes] == [
        ("/a", "$.b"),
        ("/c", "$.d"),
    ]
    assert config.routes[0].options["message"] == {"who": "{role}", "what": ["{text}"]}


def test_the_problems_of_options_are_told_with_all_the_others(toml: Path) -> None:
    rows = (
        "queue_depth = 'canary'\nupstream = 'canary'\n"
        "[[route]]\nmatch = 'p'\ndialect = 'falcn'\n"
        "[[route]]\nmatch = '/p'\ndialect = 'declarative'\n"
        "[route.options]\nprompt = '$.a'\ncanary = 1\n"
    )
    with pytest.raises(ConfigError) as caught:
        read(rows, toml, {"BACKSTORY_JWT_SECRET": "s" * 32})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "queue_depth",
        "upstream",
        "route 1 match",
        "route 1 dialect",
        "route 2 options.message",
        "route 2 options.reply",
        "route 2 options.canary",
    ]


def test_a_row_that_is_left_out_does_not_renumber_the_others(toml: Path) -> None:
    rows = "[[route]]\nmatch = '/p'\n[[route]]\nmatch = 'q'\ndialect = 'falcon'\n"
    said = problems_of(rows, toml)
    assert [problem.partition(":")[0] for problem in said] == ["route 1 dialect", "route 2 match"]


def test_rows_that_are_no_tables_are_missing_everything(toml: Path) -> None:
    assert problems_of("route = ['canary']", toml) == [
        "route 1 match: missing",
        "route 1 dialect: missing",
    ]


def test_a_secret_keeps_its_blanks_wherever_it_stands(toml: Path) -> None:
    secret = " s" * 16 + " "
    config = read(
        f"session_secret = '{secret}'\nsession_secrets_old = ['{secret}', 'b,c']",
        toml,
        ENOUGH | {"BACKSTORY_JWT_SECRET": secret},
    )
    assert config.jwt_secret == config.session_secret == Secret(secret)
    assert config.session_secrets_old == (Secret(secret), Secret("b,c"))

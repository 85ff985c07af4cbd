"""Plugins are found by name, loaded only when named, and an unknown name says which there are."""

import subprocess
import sys

import pytest

from backstory.errors import ConfigError
from backstory.model import Answer, Verdict
from backstory.registry import (
    dialect_problems,
    dialects_of,
    load_dialects,
    load_store,
    load_tokenizer,
    tokenizer_problems,
)
from backstory.settings import RouteSettings


def test_a_dialect_is_loaded_once_for_each_name() -> None:
    loaded = load_dialects(["falcon", "openai.chat", "falcon"])
    assert {name: dialect.name for name, dialect in loaded.items()} == {
        "falcon": "falcon",
        "openai.chat": "openai.chat",
    }
    assert load_dialects([]) == {}


@pytest.mark.parametrize("name", ["", "Falcon", "falcon ", "os:system", "backstory_plugins"])
def test_an_unknown_dialect_says_which_there_are(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dialects(["falcon", name])
    (problem,) = caught.value.problems
    assert problem.startswith(f"dialect: {name!r} is unknown; there are ")
    for known in ("falcon", "openai.chat"):
        assert known in problem


def test_every_unknown_dialect_is_said() -> None:
    with pytest.raises(ConfigError) as caught:
        load_dialects(["one", "falcon", "two", "one"])
    assert [problem[:14] for problem in caught.value.problems] == [
        "dialect: 'one'",
        "dialect: 'two'",
    ]


def test_a_dialect_takes_options() -> None:
    answer = Answer(200, "text/plain", b"4", proved=True)
    for name, verdict in (
        ("falcon", Verdict.COMPLETE),
        ("falcon?require_end_marker=false", Verdict.COMPLETE),
        ("falcon?require_end_marker=true&cut_at_human=true", Verdict.UNPROVED),
    ):
        dialect = load_dialects([name])[name]
        prompt = dialect.read_prompt(b'{"text": "2+2?"}')
        assert prompt is not None
        assert dialect.read_reply(prompt, answer).verdict is verdict


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("falcon?self=true", "require_end_marker=true|false"),
        ("falcon?require_end_marker=1", "require_end_marker=true|false"),
        ("openai.chat?strict=true", "it has none"),
        ("openai.responses?state=true", "it has state=proxy|upstream"),
        ("openai.responses?state=", "it has state=proxy|upstream"),
        ("tgi?ai:=x", "ai=(text)"),
    ],
)
def test_an_option_that_a_dialect_does_not_have_is_said(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dialects([name])
    (problem,) = caught.value.problems
    assert problem.startswith(f"dialect: {name.partition('?')[0]} has no option ")
    assert said in problem


def test_an_option_may_be_a_text() -> None:
    name = "openai.completions?human=User: &ai=<|bot|>%0A&end=%26\n"
    dialect = load_dialects([name])[name]
    prompt = dialect.read_prompt(b'{"prompt": "2+2?"}')
    assert prompt is not None
    assert dialect.inject(prompt, (), ()) == rb'{"prompt": "User: 2+2?&\n<|bot|>\n"}'


def test_options_that_cannot_work_are_said_together_with_the_rest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_dialects(["tgi?human=", "tgi?cut_at_human=x", "one"])
    first, second, third = caught.value.problems
    assert first == "dialect: tgi?human=: human and ai must be two different titles"
    assert second.startswith("dialect: tgi has no option cut_at_human=x; it has human=(text), ")
    assert "cut_at_human=true|false" in second
    assert third.startswith("dialect: 'one' is unknown")


def described(**options: object) -> RouteSettings:
    return RouteSettings(match="/p", dialect="declarative", options=options)


PATHS: dict[str, object] = {
    "prompt": "$.ask",
    "transcript": {"user": "Q{text}", "assistant": "A{text}"},
    "reply": "$.said",
}


def test_a_table_of_options_describes_a_dialect() -> None:
    falcon = RouteSettings(match="/f", dialect="falcon?cut_at_human=true")
    one, other = described(**PATHS), described(**PATHS | {"prompt": "$.question"})
    loaded = dialects_of([falcon, one, other, described(**PATHS)])
    assert len(loaded) == 3
    for row, body in (
        (falcon, b'{"text":"x"}'),
        (one, b'{"ask":"x"}'),
        (other, b'{"question":"x"}'),
    ):
        assert loaded[row.dialect_key].read_prompt(body) is not None
    assert loaded[one.dialect_key].read_prompt(b'{"question":"x"}') is None


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (described(**PATHS | {"prompt": "ask"}), "options.prompt: a path begins with $"),
        (described(**PATHS | {"raply": "$.r"}), "options.raply: unknown; see docs/declarative.md"),
        (
            RouteSettings(match="/p", dialect="falcon", options={"cut_at_human": True}),
            "options: falcon takes its options behind its name, as in falcon?cut_at_human=true",
        ),
        (
            RouteSettings(match="/p", dialect="declarative?prompt=true", options=PATHS),
            "dialect: declarative takes its options from the table [route.options]",
        ),
        (RouteSettings(match="/p", dialect="falcn"), "dialect: 'falcn' is unknown; there are "),
    ],
)
def test_a_wrong_dialect_is_said_by_the_number_of_its_row(
    row: RouteSettings, expected: str
) -> None:
    (problem,) = dialect_problems([described(**PATHS), row])
    assert problem.startswith(f"route 2 {expected}")
    with pytest.raises(ConfigError) as caught:
        dialects_of([described(**PATHS), row])
    assert caught.value.problems == [problem]


def test_a_dialect_that_must_be_described_says_what_is_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        load_dialects(["declarative"])
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "options.prompt",
        "options.message",
        "options.reply",
    ]


def test_a_store_is_chosen_by_the_scheme() -> None:
    assert type(load_store("memory://")).__name__ == "MemoryStore"
    assert type(load_store("sqlite:///never_opened.db")).__name__ == "SqliteStore"


@pytest.mark.parametrize("url", ["", "/var/db", "mongodb://user:canary@h", "SQLITE:///x.db"])
def test_an_unknown_store_says_which_there_are_and_not_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_store(url)
    (problem,) = caught.value.problems
    assert problem.startswith("store: ")
    assert "memory, sqlite" in problem
    assert "canary" not in problem


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/x.db", "sqlite:///a?b"])
def test_a_url_that_a_store_does_not_understand_is_said(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_store(url)
    (problem,) = caught.value.problems
    assert problem.startswith("store: ")


PROGRAM = """
import sys
import backstory
from backstory.registry import load_dialects, load_store
assert not [name for name in sys.modules if name.startswith("backstory_plugins")]
load_dialects(["falcon"]); load_store("memory://")
assert "backstory_plugins.dialects.falcon" in sys.modules
for name in ("backstory_plugins.dialects.openai_chat", "backstory_plugins.stores.sqlite"):
    assert name not in sys.modules, name
"""


def test_what_nobody_names_is_not_loaded() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)


def test_an_unknown_tokenizer_says_which_there_are() -> None:
    there_are = "there are cl100k_base, estimate, o200k_base"
    assert tokenizer_problems("gpt") == [f"tokenizer: 'gpt' is unknown; {there_are}"]
    assert tokenizer_problems("o200k_base") == tokenizer_problems("estimate") == []
    assert load_tokenizer("estimate") is None

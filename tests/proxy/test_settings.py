"""What every setting has, and that a secret does not print itself."""

import copy
import dataclasses
import json
from typing import get_type_hints

import pytest

from backstory.config import Config, settings
from backstory.settings import RouteSettings, Secret, setting

UNITS = ("_seconds", "_bytes", "_tokens", "_turns")


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{0!r:>20}".format, lambda s: f"{[s]} {{{s!r}}}"]
)
def test_a_secret_does_not_print_itself(show: object) -> None:
    assert callable(show)
    assert "canary" not in show(Secret("canary"))


def test_a_secret_does_not_leave_in_json() -> None:
    with pytest.raises(TypeError):
        json.dumps({"secret": Secret("canary")})


def test_a_secret_is_revealed_when_asked() -> None:
    assert Secret("canary").reveal() == "canary"
    assert copy.deepcopy(Secret("canary")).reveal() == "canary"


def test_secrets_compare_by_value_and_with_secrets_only() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_configuration_prints_no_secret() -> None:
    config = Config(
        jwt_secret=Secret("canary"),
        session_secret=Secret("canary"),
        session_secrets_old=(Secret("canary"),),
        upstream_authorization=Secret("canary"),
    )
    assert "canary" not in f"{config!r} {config}"
    assert "canary" not in str(dataclasses.asdict(config))


def test_every_setting_with_a_secret_is_of_the_type_that_hides_it() -> None:
    hidden = {name for name, kind in get_type_hints(Config).items() if "Secret" in str(kind)}
    assert hidden == {
        "jwt_secret",
        "session_secret",
        "session_secrets_old",
        "upstream_authorization",
    }


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().upstream = "http://elsewhere"  # type: ignore[misc]


@pytest.mark.parametrize("name", settings())
def test_a_setting_has_a_sentence_and_a_default(name: str) -> None:
    entry = settings()[name]
    assert entry.metadata["doc"].strip() == entry.metadata["doc"] != ""
    assert not entry.metadata["doc"].endswith("."), "it is a cell of a table"
    assert entry.default is not dataclasses.MISSING


def test_a_number_has_its_unit_in_its_name() -> None:
    hints = get_type_hints(Config)
    bare = {n for n in settings() if hints[n] in (int, float) and not n.endswith(UNITS)}
    assert bare == {"single_use_ttl", "queue_depth", "workers"}, "the contract's names, and counts"


def test_an_alias_belongs_to_one_setting() -> None:
    aliases = [entry.metadata["alias"] for entry in settings().values()]
    given = sorted(alias for alias in aliases if alias)
    assert given == ["FLASK_SECRET", "JWT_SECRET", "TT_API_JWT"]


def test_a_setting_is_a_field_with_its_documentation() -> None:
    made = setting(5, "five", alias="FIVE")
    assert (made.default, dict(made.metadata)) == (5, {"doc": "five", "alias": "FIVE"})


def test_a_row_needs_its_match_and_its_dialect() -> None:
    with pytest.raises(TypeError):
        RouteSettings(match="/p")  # type: ignore[call-arg]
    assert RouteSettings(match="/p", dialect="falcon").methods == ("POST",)

"""The configuration: read once, at start.

A setting has one name. It is a keyword of ``Config``, a key of the TOML file, ``BACKSTORY_<NAME>``
in the environment and, where the command line has it, a flag. A flag beats the environment, which
beats the file. All problems are reported at once, unknown names included.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from backstory import problems as checks
from backstory.errors import ConfigError
from backstory.registry import dialect_problems, tokenizer_problems
from backstory.settings import (
    AuthSettings,
    MemorySettings,
    RouteSettings,
    Secret,
    ServerSettings,
    SessionSettings,
    UpstreamSettings,
)


@dataclass(frozen=True, kw_only=True)
class Config(
    ServerSettings,
    UpstreamSettings,
    AuthSettings,
    SessionSettings,
    MemorySettings,
):
    """All settings. Making one checks nothing; ``problems`` does."""

    routes: tuple[RouteSettings, ...] = ()
    """Rows in front of the built-in table: `[[route]]` in the file."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Config":
        """Read the environment, and the file that `BACKSTORY_CONFIG` names.

        Raises:
            ConfigError: with every problem.
        """
        return load({}, os.environ if environ is None else environ)

    def problems(self) -> list[str]:
        """Everything that is wrong, one sentence each: the setting, what, and the remedy."""
        numbers = {name: getattr(self, name) for name in settings() if _HINTS[name] in (int, float)}
        return [
            *checks.upstream_problems(self, self.routes),
            *checks.address_problems(self, self),
            *checks.worker_problems(self, self),
            *checks.auth_problems(self, strict=self.strict),
            *checks.session_problems(self),
            *checks.memory_problems(self),
            *checks.number_problems(numbers),
            *checks.row_problems(self.routes),
            *dialect_problems(self.routes),
            *tokenizer_problems(self.tokenizer),
        ]

    def warnings(self) -> list[str]:
        """What works for old deployments' sake and should be mended."""
        found = []
        if self.auth == "jwt":
            if checks.is_short(self.jwt_secret):
                found.append(
                    "jwt_secret: shorter than 32 bytes, so it can be guessed; use a longer one"
                )
            if not (self.require_exp or self.strict):
                found.append("require_exp: tokens without `exp` never expire; set it to true")
        if self.session_secret is not None and len(self.session_secret.reveal()) < 16:
            found.append("session_secret: shorter than 16 characters, so it can be guessed")
        return found


def load(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    file: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration of a command line, an environment and a file (``file``, or `BACKSTORY_CONFIG`).

    ``defaults``: values of settings in place of the documented ones.

    Raises:
        ConfigError: with every problem.
    """
    problems: list[str] = []
    values: dict[str, Any] = dict(defaults or {})
    path = file or environ.get("BACKSTORY_CONFIG")
    if path:
        _read_file(Path(path), values, problems)
    _read_environment(environ, values, problems)
    for name, text in flags.items():
        _take(name, text, f"--{name.replace('_', '-')}", values, problems)
    config = Config(**values)
    problems += [p for p in config.problems() if p.split(":")[0] not in _named(problems)]
    if problems:
        raise ConfigError(problems)
    return config


def settings() -> dict[str, "Field[Any]"]:
    """Every setting but the route table, by name."""
    return {f.name: f for f in fields(Config) if f.name != "routes"}


_HINTS = get_type_hints(Config)
_SERVICE_LINK = re.compile(
    r"BACKSTORY_(SERVICE_(HOST|PORT(_\w+)?)=.*|PORT(_\d+_[A-Z]+)?=\w+://.*|PORT_\d+_[A-Z]+_[A-Z]+=.*)"
)
"""What Kubernetes tells every pod about a service called ``backstory``."""


def _named(problems: Sequence[str]) -> set[str]:
    names = {p.split(":")[0] for p in problems}
    return names | {n.removeprefix("BACKSTORY_").lower() for n in names}


def _read_environment(
    environ: Mapping[str, str], values: dict[str, Any], problems: list[str]
) -> None:
    known = settings()
    for name, entry in known.items():
        alias = entry.metadata["alias"]
        if alias and environ.get(alias):
            _take(name, environ[alias], alias, values, problems)
    for variable, text in environ.items():
        if not variable.startswith("BACKSTORY_") or variable == "BACKSTORY_CONFIG":
            continue
        if _SERVICE_LINK.fullmatch(f"{variable}={text}"):
            continue
        name = variable.removeprefix("BACKSTORY_").lower()
        if name not in known or variable != variable.upper():
            problems.append(f"{variable}: unknown; see docs/settings.md for the names")
        elif text:
            _take(name, text, variable, values, problems)


def _read_file(path: Path, values: dict[str, Any], problems: list[str]) -> None:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        problems.append(f"config: cannot read {path}: {exc.strerror}")
        return
    except ValueError as exc:  # not only TOMLDecodeError: bytes that are not UTF-8, huge numbers
        problems.append(f"config: {path} is not TOML: {exc}")
        return
    known = settings()
    for name, value in table.items():
        if name == "route":
            values["routes"] = _read_routes(value, problems)
        elif name not in known:
            problems.append(f"{name}: unknown; see docs/settings.md for the names")
        else:
            _take(name, value, name, values, problems)


def _read_routes(rows: object, problems: list[str]) -> tuple[RouteSettings, ...]:
    if not isinstance(rows, list):
        problems.append("route: write [[route]], one table for each row")
        return ()
    hints = get_type_hints(RouteSettings)
    found = []
    for number, row in enumerate(rows, 1):
        row = row if isinstance(row, dict) else {}
        values: dict[str, Any] = {}
        for name, value in row.items():
            where = f"route {number} {name}"
            if name not in hints:
                problems.append(f"{where}: unknown")
                continue
            try:
                values[name] = _table(value) if name == "options" else _parse(hints[name], value)
            except ValueError as exc:
                problems.append(f"{where}: {exc}")
        needed = {"match": "/", "dialect": ""}
        problems += [f"route {number} {name}: missing" for name in needed if name not in row]
        found.append(RouteSettings(**needed | values))  # stands in, to keep the others' numbers
    return tuple(found)


def _take(
    name: str, given: object, where: str, values: dict[str, Any], problems: list[str]
) -> None:
    try:
        values[name] = _parse(_HINTS[name], given)
    except ValueError as exc:
        problems.append(f"{where}: {exc}")


def _parse(kind: Any, given: object) -> Any:
    """``given`` (text, or a value or a list from the file) as the type of a setting.

    Raises:
        ValueError: says what was expected, never what was given: it may be a secret.
    """
    if get_origin(kind) is tuple:
        return tuple(_parse(get_args(kind)[0], item) for item in _items(given))
    if isinstance(given, list):
        raise ValueError("one value, not a list")
    if not isinstance(given, str | int | float):
        raise ValueError("not a value that this setting takes")
    text = str(given).strip()
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError("not one of " + ", ".join(get_args(kind)))
        return text
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
            raise ValueError("not true or false")
        return text.lower() in ("true", "1", "yes", "on")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise ValueError("not a number" if kind is float else "not a whole number") from None
    if kind is str:
        return text
    return Secret(str(given))  # Secret, or Secret | None: blanks may belong to it


def _table(given: object) -> dict[str, Any]:
    if isinstance(given, dict):
        return given
    raise ValueError("write [route.options], a table below its [[route]]")


def _items(given: object) -> list[str]:
    if isinstance(given, str):
        return [item.strip() for item in given.split(",") if item.strip()]
    if isinstance(given, list) and all(isinstance(item, str) for item in given):
        return given
    raise ValueError("not a list of texts")

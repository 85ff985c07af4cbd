"""Plugins by name: found by their entry points, loaded only when the configuration names them."""

import inspect
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal, get_args, get_origin
from urllib.parse import parse_qsl

from backstory.errors import ConfigError
from backstory.settings import ESTIMATE, RouteSettings
from backstory.spi import Dialect, Policy, Store, Tokenizer

_SWITCH = {"true": True, "false": False}


def load_dialects(names: Iterable[str]) -> dict[str, Dialect]:
    """A dialect for each name; the name may have options: ``falcon?cut_at_human=true``.

    Raises:
        ConfigError: with every name or option that nobody knows.
    """
    loaded: dict[str, Dialect] = {}
    problems: list[str] = []
    for name in dict.fromkeys(names):
        try:
            loaded[name] = _described(name, {}) or _dialect(name)
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)
    return loaded


def dialects_of(rows: Iterable[RouteSettings]) -> dict[str, Dialect]:
    """The dialects that ``rows`` name, by ``RouteSettings.dialect_key``.

    Raises:
        ConfigError: with every problem, by the number of the row.
    """
    rows = list(rows)
    if problems := dialect_problems(rows):
        raise ConfigError(problems)
    return {row.dialect_key: _dialect_of(row) for row in rows}


def dialect_problems(rows: Iterable[RouteSettings]) -> list[str]:
    """What is wrong with the dialects of ``rows`` and their options, by the number of the row."""
    found: list[str] = []
    for number, row in enumerate(rows, 1):
        if not row.dialect:
            continue  # missing, which is said already
        try:
            _dialect_of(row)
        except ConfigError as exc:
            found += [f"route {number} {problem}" for problem in exc.problems]
    return found


def _dialect_of(row: RouteSettings) -> Dialect:
    return _described(row.dialect, row.options) or load_dialects([row.dialect])[row.dialect]


def _described(name: str, options: Mapping[str, object]) -> Dialect | None:
    """The dialect that the table ``options`` describes; ``None`` for one that takes no table."""
    bare, _, query = name.partition("?")
    factory = _load("backstory.dialects", bare)
    if not hasattr(factory, "from_options"):
        if options:
            switches = "behind its name, as in falcon?cut_at_human=true"
            raise ConfigError([f"options: {bare} takes its options {switches}"])
        return None
    if query:
        raise ConfigError([f"dialect: {bare} takes its options from the table [route.options]"])
    try:
        dialect: Dialect = factory.from_options(options)
    except ConfigError as exc:
        raise ConfigError([f"options.{problem}" for problem in exc.problems]) from exc
    return dialect


def _dialect(name: str) -> Dialect:
    bare, _, query = name.partition("?")
    factory = _load("backstory.dialects", bare)
    known = _options(factory)
    given: dict[str, bool | str] = {}
    for option, value in parse_qsl(query, keep_blank_values=True):
        is_text = known.get(option) == ()
        if not is_text and value not in known.get(option, ()):
            there = ", ".join(f"{each}={'|'.join(v) or '(text)'}" for each, v in known.items())
            problem = f"dialect: {bare} has no option {option}={value}; it has {there or 'none'}"
            raise ConfigError([problem])
        given[option] = value if is_text else _SWITCH.get(value, value)
    try:
        dialect: Dialect = factory(**given)
    except ValueError as exc:
        raise ConfigError([f"dialect: {name}: {exc}"]) from exc
    return dialect


def _options(factory: Any) -> dict[str, tuple[str, ...]]:
    """The values that each option may have: those of its ``Literal``, or a switch's; none: any text."""
    return {
        name: _values(parameter.annotation)
        for name, parameter in inspect.signature(factory, eval_str=True).parameters.items()
    }


def _values(annotation: object) -> tuple[str, ...]:
    if annotation is str:
        return ()
    return get_args(annotation) if get_origin(annotation) is Literal else tuple(_SWITCH)


def load_store(url: str) -> Store:
    """The store for a URL, by its scheme. Opens nothing yet.

    Raises:
        ConfigError: nobody provides it, or the URL is not one that it understands.
    """
    scheme = url.partition(":")[0]
    factory = _load("backstory.stores", scheme)
    try:
        store: Store = factory.from_url(url)
    except ValueError as exc:
        raise ConfigError([f"store: {exc}"]) from exc
    return store


def load_policy(name: str) -> Policy:
    """The policy of this name.

    Raises:
        ConfigError: nobody provides it.
    """
    policy: Policy = _load("backstory.policies", name)()
    return policy


def load_tokenizer(name: str) -> Tokenizer | None:
    """The tokenizer of this name; ``None`` for estimates, which need none.

    Raises:
        ConfigError: nobody provides it, or what it needs is not installed.
    """
    if name == ESTIMATE:
        return None
    tokenizer: Tokenizer = _load("backstory.tokenizers", name, ESTIMATE)()
    return tokenizer


def tokenizer_problems(name: str) -> list[str]:
    """Why there is no tokenizer of this name."""
    try:
        load_tokenizer(name)
    except ConfigError as exc:
        return list(exc.problems)
    return []


def _load(group: str, name: str, *built_in: str) -> Any:
    for entry in entry_points(group=group):
        if entry.name == name:
            return entry.load()
    known = ", ".join(sorted([*built_in, *(entry.name for entry in entry_points(group=group))]))
    kind = {"backstory.policies": "policy"}.get(group, group[len("backstory.") : -1])
    raise ConfigError([f"{kind}: {name!r} is unknown; there are {known}"])

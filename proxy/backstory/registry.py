"""Plugins by name: found by their entry points, loaded only when the configuration names them."""

import inspect
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import parse_qsl

from backstory.errors import ConfigError
from backstory.spi import Dialect, Store

_SWITCH = {"true": True, "false": False}


def load_dialects(names: Iterable[str]) -> dict[str, Dialect]:
    """A dialect for each name; the name may have options: ``falcon?cut_at_human=true``.

    An option is true or false, or a text, as the dialect's own constructor says.

    Raises:
        ConfigError: with every name or option that nobody knows.
    """
    loaded: dict[str, Dialect] = {}
    problems: list[str] = []
    for name in dict.fromkeys(names):
        try:
            loaded[name] = _dialect(name)
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)
    return loaded


def _dialect(name: str) -> Dialect:
    bare, _, query = name.partition("?")
    factory = _load("backstory.dialects", bare)
    known = inspect.signature(factory).parameters
    given = dict(parse_qsl(query, keep_blank_values=True))
    options: dict[str, bool | str] = {}
    for option, value in given.items():
        is_text = option in known and known[option].annotation is str
        if option not in known or not (is_text or value in _SWITCH):
            has = ", ".join(map(_shown, known.values())) or "none"
            raise ConfigError([f"dialect: {bare} has no option {option}={value}; it has {has}"])
        options[option] = value if is_text else _SWITCH[value]
    try:
        dialect: Dialect = factory(**options)
    except ValueError as exc:
        raise ConfigError([f"dialect: {name}: {exc}"]) from exc
    return dialect


def _shown(option: inspect.Parameter) -> str:
    return f"{option.name} (text)" if option.annotation is str else f"{option.name} (true or false)"


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


def _load(group: str, name: str) -> Any:
    for entry in entry_points(group=group):
        if entry.name == name:
            return entry.load()
    known = ", ".join(sorted(entry.name for entry in entry_points(group=group)))
    kind = group.removeprefix("backstory.").removesuffix("s")
    raise ConfigError([f"{kind}: {name!r} is unknown; there are {known}"])

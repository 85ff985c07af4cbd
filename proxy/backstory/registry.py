"""Plugins by name: found by their entry points, loaded only when the configuration names them."""

import inspect
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any, Literal, get_args, get_origin
from urllib.parse import parse_qsl

from backstory.errors import ConfigError
from backstory.spi import Dialect, Store

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
            loaded[name] = _dialect(name)
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)
    return loaded


def _dialect(name: str) -> Dialect:
    bare, _, query = name.partition("?")
    factory = _load("backstory.dialects", bare)
    known = _options(factory)
    given: dict[str, bool | str] = {}
    for option, value in parse_qsl(query, keep_blank_values=True):
        if value not in known.get(option, ()):
            there = ", ".join(f"{each}={'|'.join(values)}" for each, values in known.items())
            problem = f"dialect: {bare} has no option {option}={value}; it has {there or 'none'}"
            raise ConfigError([problem])
        given[option] = _SWITCH.get(value, value)
    dialect: Dialect = factory(**given)
    return dialect


def _options(factory: Any) -> dict[str, tuple[str, ...]]:
    """The values that each option may have: those of its ``Literal``, or a switch's."""
    return {
        name: get_args(parameter.annotation)
        if get_origin(parameter.annotation) is Literal
        else tuple(_SWITCH)
        for name, parameter in inspect.signature(factory, eval_str=True).parameters.items()
    }


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

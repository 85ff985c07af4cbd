"""Plugins by name: found by their entry points, loaded only when the configuration names them."""

import inspect
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import parse_qsl

from backstory.errors import ConfigError
from backstory.spi import Dialect, Policy, Store

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
    switches = inspect.signature(factory).parameters
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option, value in options.items():
        if option not in switches or value not in _SWITCH:
            known = ", ".join(switches) or "none"
            problem = (
                f"dialect: {bare} has no option {option}={value}; it has {known}, true or false"
            )
            raise ConfigError([problem])
    dialect: Dialect = factory(**{option: _SWITCH[value] for option, value in options.items()})
    return dialect


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


def _load(group: str, name: str) -> Any:
    for entry in entry_points(group=group):
        if entry.name == name:
            return entry.load()
    known = ", ".join(sorted(entry.name for entry in entry_points(group=group)))
    kind = {"backstory.policies": "policy"}.get(group, group[len("backstory.") : -1])
    raise ConfigError([f"{kind}: {name!r} is unknown; there are {known}"])

"""Plugins by name: found by their entry points, loaded only when the configuration names them."""

from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any

from backstory.errors import ConfigError
from backstory.spi import Dialect, Store


def load_dialects(names: Iterable[str]) -> dict[str, Dialect]:
    """A dialect for each name.

    Raises:
        ConfigError: with every name that nobody provides.
    """
    loaded: dict[str, Dialect] = {}
    problems: list[str] = []
    for name in dict.fromkeys(names):
        try:
            loaded[name] = _load("backstory.dialects", name)()
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)
    return loaded


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

"""Which requests have a memory, and in which dialect: a table, the first match wins."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from backstory.errors import ConfigError
from backstory.problems import PARAMETER, row_pattern, row_problems
from backstory.settings import RouteSettings
from backstory.spi import Dialect

BUILT_IN = (
    RouteSettings(match="/conversation/{model}", dialect="falcon"),
    RouteSettings(match="/inference/{model}", dialect="falcon", memory="named"),
    RouteSettings(match="**/chat/completions", dialect="openai.chat"),
    RouteSettings(match="**/completions", dialect="openai.completions", memory="named"),
    RouteSettings(match="**/responses", dialect="openai.responses"),
    RouteSettings(match="**/v1/messages", dialect="anthropic"),
    RouteSettings(match="/api/chat", dialect="ollama.chat"),
    RouteSettings(match="/api/generate", dialect="ollama.generate", memory="named"),
    RouteSettings(match="/generate", dialect="tgi", memory="named"),
    RouteSettings(match="/generate_stream", dialect="tgi", memory="named"),
    RouteSettings(match="/completion", dialect="llamacpp.completion", memory="named"),
    RouteSettings(match="**/models/{model}:generateContent", dialect="gemini"),
    RouteSettings(match="**/models/{model}:streamGenerateContent", dialect="gemini"),
)
"""Behind the configured rows. Raw-prompt routes act only when the request names its conversation."""


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the table, ready for use."""

    settings: RouteSettings
    dialect: Dialect
    pattern: re.Pattern[str]
    methods: frozenset[str]

    def target(self, target: str) -> str:
        """What to ask the upstream for: the target as sent, unless the row has its own path."""
        if not self.settings.upstream_path:
            return target
        path, mark, query = target.partition("?")
        found = self.pattern.fullmatch(path)
        assert found is not None
        fill = PARAMETER.sub(lambda m: found.group(m[1]), self.settings.upstream_path)
        return fill + mark + query


class RouteTable:
    """Finds the route of a request by the bytes that are forwarded, never by a decoded form."""

    def __init__(self, rows: Sequence[RouteSettings], dialects: dict[str, Dialect]) -> None:
        """``rows``: tried in order; ``dialects``: by ``RouteSettings.dialect_key``.

        Raises:
            ConfigError: with every row that cannot work.
        """
        if problems := row_problems(rows):
            raise ConfigError(problems)
        self._routes = [
            Route(
                row,
                dialects[row.dialect_key],
                row_pattern(row),
                frozenset(map(str.upper, row.methods)),
            )
            for row in rows
        ]
        self._found = lru_cache(maxsize=1024)(
            self._find
        )  # most requests are for the same few paths

    def find(self, method: str, target: str) -> Route | None:
        """The first row that matches, if it has a memory."""
        return self._found(method, target.partition("?")[0])

    def _find(self, method: str, path: str) -> Route | None:
        for route in self._routes:
            if method in route.methods and route.pattern.fullmatch(path):
                return route if route.settings.memory != "off" else None
        return None

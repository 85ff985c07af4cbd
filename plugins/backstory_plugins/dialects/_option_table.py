"""A table of a configuration, read with care: each value has its type, and every problem is told."""

from collections.abc import Mapping, Sequence

from backstory_plugins.dialects._jsonpath import JsonPath
from backstory_plugins.dialects._placeholders import fits_json


class OptionTable:
    """Takes values out by name. What is wrong is added to ``problems``, and the default taken."""

    def __init__(self, given: Mapping[str, object], problems: list[str], within: str = "") -> None:
        """``within``: what stands before each name in a problem, ``stream.`` for instance."""
        self._left = dict(given)
        self.problems = problems
        self._within = within

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def problem(self, name: str, what: str) -> None:
        """Note what is wrong with ``name``, and how it is mended."""
        self.problems.append(f"{self._within}{name}: {what}")

    def text(self, name: str, default: str = "", *, one_of: Sequence[str] = ()) -> str:
        """A text that is not empty."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, str) or not value:
            self.problem(name, "must be a text, and not empty; leave it out if there is none")
        elif one_of and value not in one_of:
            self.problem(name, "not one of " + ", ".join(one_of))
        else:
            return value
        return default

    def switch(self, name: str) -> bool:
        """True or false."""
        value = self._left.pop(name, False)
        if not isinstance(value, bool):
            self.problem(name, "must be true or false")
            return False
        return value

    def path(
        self, name: str, default: JsonPath | None = None, *, one_place: bool = False
    ) -> JsonPath | None:
        """A JSON path."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        try:
            path = JsonPath.read(value if isinstance(value, str) else "")
        except ValueError as exc:
            self.problem(name, str(exc))
            return default
        if one_place and not path.is_one_place:
            self.problem(name, "must name one place, without [*]")
            return default
        return path

    def table(self, name: str) -> Mapping[str, object] | None:
        """A table of JSON values; ``None`` if there is none."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.problem(name, "must be a table, as in { key = value }")
        elif not fits_json(value):
            self.problem(name, "holds a value that JSON does not have, such as a date")
        else:
            return value
        return None

    def texts(self, name: str) -> Mapping[str, str] | None:
        """A table of texts; ``None`` if there is none."""
        table = self.table(name)
        if table is None:
            return None
        wrong = [key for key, value in table.items() if not isinstance(value, str) or not value]
        for key in wrong:
            self.problem(f"{name}.{key}", "must be a text, and not empty")
        return {k: v for k, v in table.items() if isinstance(v, str) and k not in wrong}

    def words(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty if there is none."""
        value = self._left.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.problem(name, "must be a list of texts")
            return ()
        return tuple(value)

    def several(self, name: str) -> tuple[object, ...]:
        """A value, or a list of some: texts, whole numbers, true or false."""
        value = self._left.pop(name, [])
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str | int) for item in values):
            self.problem(name, "must be texts, whole numbers, true or false")
            return ()
        return tuple(values)

    def end(self) -> None:
        """Whatever nobody took is unknown."""
        for name in self._left:
            self.problem(name, "unknown; see docs/declarative.md for the names")

"""Places in JSON, as RFC 9535 writes them: ``$.answer.choices[0]['some text']``, and no more of it.

Names, indexes and the wildcard ``[*]``. Filters, slices and descendants are left out: a message
stands in one place.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from backstory.jsonbody import Value, walk_array, walk_object

_step = re.compile(
    r"""
    \.(?P<name>[A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff][\w\u0080-\ud7ff\ue000-\U0010ffff]*)
    | (?P<all>\.\*|\[[ ]*\*[ ]*\])
    | \[[ ]*(?P<index>0|-?[1-9][0-9]*)[ ]*\]
    | \[[ ]*(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')[ ]*\]
    """,
    re.VERBOSE,
).match
_quote = re.compile(r"""\\.|\"""", re.DOTALL)

Step = str | int | None
"""A name, an index, or ``None`` for every element."""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path, read."""

    steps: tuple[Step, ...]

    @classmethod
    def read(cls, text: str) -> "JsonPath":
        """The path that ``text`` spells.

        Raises:
            ValueError: it is none, or one that is not understood here; says what was expected.
        """
        if not text.startswith("$"):
            raise ValueError("a path begins with $, as in $.answer.text")
        steps: list[Step] = []
        at = 1
        while at < len(text):
            found = _step(text, at)
            if found is None:
                raise ValueError(
                    f"a path has names, indexes and [*], as in $.answers[0].text; not {text[at:]!r}"
                )
            steps.append(_taken(found))
            at = found.end()
        return cls(tuple(steps))

    @property
    def is_one_place(self) -> bool:
        """Whether it names one value at most."""
        return None not in self.steps

    def find(self, value: object) -> list[object]:
        """Every value there, in order; empty if there is none."""
        found = [value]
        for step in self.steps:
            found = [inner for outer in found for inner in _below(outer, step)]
        return found

    def first(self, value: object) -> object:
        """The first value there; ``None`` as well if there is none."""
        return next(iter(self.find(value)), None)

    def place(self, text: str, fields: Mapping[str, Sequence[Value]]) -> Value | None:
        """Where the value stands; ``None`` if nowhere, or if a name on the way is given twice.

        ``fields``: of the JSON object that ``text`` is, as ``jsonbody.walk_object`` found them.

        Raises:
            NotJson: nested too deep.
        """
        place: Value | None = None
        for step in self.steps:
            if isinstance(step, str):
                if place is not None:
                    if not isinstance(place.value, dict):
                        return None
                    fields = walk_object(text, place.start, whole=False)
                values: Sequence[Value] = fields.get(step, ())
            elif step is not None and place is not None and isinstance(place.value, list):
                values = walk_array(text, place.start)[step : step + 1 or None]
            else:
                return None
            if len(values) != 1:
                return None
            place = values[0]
        return place


def _taken(found: "re.Match[str]") -> Step:
    if found["all"]:
        return None
    if found["index"]:
        return int(found["index"])
    return found["name"] or _unquoted(found["quoted"])


def _unquoted(quoted: str) -> str:
    inner = quoted[1:-1]
    if quoted[0] == "'":
        inner = _quote.sub(lambda m: {"\\'": "'", '"': '\\"'}.get(m[0], m[0]), inner)
    try:
        name = json.loads(f'"{inner}"')
    except ValueError:
        raise ValueError(f"{quoted} is not a name: see RFC 9535 section 2.3.1.1") from None
    assert isinstance(name, str)
    return name


def _below(value: object, step: Step) -> Iterator[object]:
    if isinstance(step, str):
        if isinstance(value, dict) and step in value:
            yield value[step]
    elif step is None:
        if isinstance(value, list):
            yield from value
        elif isinstance(value, dict):
            yield from value.values()
    elif isinstance(value, list) and -len(value) <= step < len(value):
        yield value[step]

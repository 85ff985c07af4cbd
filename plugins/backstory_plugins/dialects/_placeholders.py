"""JSON with places to fill in: ``{"speaker": "{role}", "say": ["{text}"]}``, as a configuration has it.

One template serves both ways: what is written is the template filled in, and what is read is
looked for where its placeholders stand.
"""

import json
import re
from collections.abc import Mapping, Sequence

from backstory_plugins.dialects._jsonpath import JsonPath, Step

_placeholder = re.compile(r"\{(\w+)\}")


def filled(template: object, values: Mapping[str, object]) -> object:
    """The template with ``values`` in it; a value that stands alone keeps its type."""
    if isinstance(template, dict):
        return {key: filled(inner, values) for key, inner in template.items()}
    if isinstance(template, list):
        return [filled(inner, values) for inner in template]
    if not isinstance(template, str):
        return template
    alone = _placeholder.fullmatch(template)
    if alone and alone[1] in values:
        return values[alone[1]]
    # One pass: what is filled in is not looked at again, whatever a stranger wrote there.
    return _placeholder.sub(lambda m: str(values.get(m[1], m[0])), template)


def places(template: object, name: str, steps: Sequence[Step] = ()) -> list[JsonPath]:
    """Where the placeholder ``name`` stands alone."""
    if template == f"{{{name}}}":
        return [JsonPath(tuple(steps))]
    inner: Sequence[tuple[Step, object]] = ()
    if isinstance(template, dict):
        inner = list(template.items())
    elif isinstance(template, list):
        inner = list(enumerate(template))
    return [path for step, below in inner for path in places(below, name, (*steps, step))]


def fits_json(template: object) -> bool:
    """Whether JSON can hold it: TOML has dates, ``inf`` and ``nan`` besides."""
    try:
        json.dumps(template, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True

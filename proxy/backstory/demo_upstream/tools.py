"""How the demo upstream asks for a tool: by the words that the question and the tool share."""

import re
from collections.abc import Sequence
from typing import NamedTuple

_WORD = re.compile(r"[^\W\d_]+")
_DULL = frozenset(
    (
        "about",
        "call",
        "find",
        "from",
        "list",
        "look",
        "make",
        "show",
        "that",
        "this",
        "what",
        "with",
    )
)
_QUOTED = re.compile(r"(?<!\w)(?:'([^'\n]+)'|\"([^\"\n]+)\")")
_PLACE = re.compile(
    r"\b(?:in|at|for|near|of|to|from|about) (?:the )?([\w'-]+(?: (?![a-z])[\w'-]+){0,3})"
)


class Tool(NamedTuple):
    """A function that the caller offers."""

    name: str
    description: str
    arguments: dict[str, tuple[str, ...]]
    """Required string properties, each with the values it is limited to, if it is."""


class Call(NamedTuple):
    """The request to run a tool."""

    name: str
    arguments: dict[str, str]


def choose_call(asked: str, tools: Sequence[Tool]) -> Call | None:
    """A call of the tool that shares most words with ``asked``; ``None`` if none shares any."""
    words = _words(asked)
    scored = [
        (2 * len(words & _words(t.name)) + len(words & _words(t.description)), t) for t in tools
    ]
    score, tool = max(scored, key=lambda pair: pair[0], default=(0, None))
    if not score or tool is None:
        return None
    return Call(tool.name, _arguments(asked, tool))


def _words(text: str) -> frozenset[str]:
    """The words that tell something: ``get_weather`` and ``getWeather`` are about weather."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).replace("_", " ").casefold()
    return frozenset(w for w in _WORD.findall(parted) if len(w) > 3) - _DULL


def _arguments(asked: str, tool: Tool) -> dict[str, str]:
    """What is quoted, else what a preposition points at, else all of ``asked``, in that order."""
    quoted = [one or two for one, two in _QUOTED.findall(asked)]
    guesses = quoted or _PLACE.findall(asked) or [asked.strip()]
    arguments = {}
    for name, allowed in tool.arguments.items():
        if allowed:
            arguments[name] = next(
                (a for a in allowed if a.casefold() in asked.casefold()), allowed[0]
            )
        else:
            arguments[name] = guesses.pop(0) if len(guesses) > 1 else guesses[0]
    return arguments

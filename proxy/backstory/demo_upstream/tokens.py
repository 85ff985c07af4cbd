"""The demo's tokens: words of at most twelve characters, each with the blank before it."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_TOKEN = re.compile(r"\s?\S{1,12}|\s")


class Generated(NamedTuple):
    """What was generated, and whether the limit ended it."""

    tokens: tuple[str, ...]
    truncated: bool

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.tokens)


def count_tokens(texts: Iterable[str]) -> int:
    """How many tokens the texts are."""
    return sum(len(_TOKEN.findall(text)) for text in texts)


def generate(text: str, *, max_tokens: object = None, stop: object = None) -> Generated:
    """``text`` up to a stop sequence and the limit, as a request gives them.

    Args:
        text: the whole answer.
        max_tokens: counts if it is a positive integer.
        stop: a string or a list of strings; the one that comes first ends the text, without it.
    """
    for sequence in stop if isinstance(stop, list) else [stop]:
        if isinstance(sequence, str) and sequence:
            text = text.partition(sequence)[0]
    tokens = _TOKEN.findall(text)
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1:
        return Generated(tuple(tokens), truncated=False)
    return Generated(tuple(tokens[:max_tokens]), truncated=len(tokens) > max_tokens)

"""A conversation told in one text, each message between a title and an end of its own.

The titles come from a configuration: ``user = "Q: {text}\\n"``, ``assistant = "A: {text}\\n"``, and
``ending = "A: "``, with which the text ends for the model to go on. A text that was told so is
read again; one in which somebody typed the titles is read wrongly, and then matches nothing.
"""

import re
from collections.abc import Mapping

from backstory.model import Role

_FOLLOWED_BY: dict[Role, tuple[Role, ...]] = {
    "system": ("system", "user", "assistant"),
    "user": ("user", "assistant"),
    "assistant": ("user",),  # what looks like another answer is a part of this one
}
Part = tuple[Role, str]


class TitledText:
    """Tells messages in one text, and reads such a text."""

    def __init__(self, titles: Mapping[Role, tuple[str, str]], ending: str) -> None:
        """``titles``: what stands before and behind a message of each role; before: never empty."""
        self._titles = titles
        self._endings = tuple(dict.fromkeys((ending, ending.rstrip())))
        self._next = {role: self._boundary(role) for role in titles}

    def told(self, role: Role, text: str) -> str:
        """One message; empty for a role without a title."""
        if role not in self._titles:
            return ""
        before, behind = self._titles[role]
        return before + text + behind

    def asked(self, text: str) -> str:
        """A single prompt, wrapped for the model to answer."""
        return self.told("user", text) + self._endings[0]

    def parts(self, said: str) -> list[Part] | None:
        """The messages in a text that was told so; ``None`` for any other text."""
        for ending in self._endings:
            if said.endswith(ending):
                return self._parts(said.removesuffix(ending))
        return None

    def _parts(self, said: str) -> list[Part] | None:
        first = [role for role, title in self._titles.items() if said.startswith(title[0])]
        if not first:
            return None
        role = max(first, key=lambda role: len(self._titles[role][0]))
        at = len(self._titles[role][0])
        parts: list[Part] = []
        while found := self._next[role].search(said, at):
            parts.append((role, said[at : found.start()]))
            at = found.end()
            role = self._named(role, found.lastindex)
        behind = self._titles[role][1]
        end = len(said) - len(behind)
        if end < at or not said.endswith(behind):
            return None
        return [*parts, (role, said[at:end])]

    def _boundary(self, role: Role) -> re.Pattern[str]:
        """Where a message of ``role`` ends and another begins: a group for each role it may have."""
        titles = "|".join(f"({re.escape(self._titles[after][0])})" for after in self._after(role))
        return re.compile(f"{re.escape(self._titles[role][1])}(?:{titles})")

    def _after(self, role: Role) -> list[Role]:
        known = [after for after in _FOLLOWED_BY[role] if after in self._titles]
        return sorted(known, key=lambda after: -len(self._titles[after][0]))

    def _named(self, role: Role, group: int | None) -> Role:
        assert group is not None
        return self._after(role)[group - 1]

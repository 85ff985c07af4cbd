"""A conversation as one text: a title before what each side said, and an end behind it.

Falcon's way of telling is the default of every dialect of raw text (``docs/dialects.md`` 1)::

    Human: {input 1}
    AI: {output 1}
    Human: {prompt}
    AI:

with one blank after the last colon. A client that sends such a transcript itself is understood.
Whoever types the titles makes the split ambiguous: then alignment finds no match, and no more.
"""

import re
from collections.abc import Sequence

from backstory.model import Message, Role
from backstory_plugins.dialects._chat import plain_message, split, stored_text

_END_OF_TEXT = "<|endoftext|>"
_special_tokens = re.compile(r"<\|[^|<>]+\|>").findall


class Transcript:
    """How a conversation is told, and how one that was told is read."""

    def __init__(
        self,
        human: str = "Human: ",
        ai: str = "AI: ",
        end: str = "\n",
        *,
        neutralise_markers: bool = True,
    ) -> None:
        """The words around each message.

        Args:
            human: stands before each input.
            ai: stands before each reply, and last, where the model goes on.
            end: stands behind each message but the last.
            neutralise_markers: break up ``<|endoftext|>``, and what of the words is written in the
                same way, in told history: it would end the prompt, or speak for somebody else.

        Raises:
            ValueError: nobody could tell the two sides apart.
        """
        if not human.strip() or not ai.strip() or human == ai:
            raise ValueError("human and ai must be two different titles")
        self._titles = {"user": human, "assistant": ai}
        self._opening, self._end = human, end
        self._closings = (end + ai, (end + ai).rstrip())
        markers = {_END_OF_TEXT, *_special_tokens(human + end + ai)}
        self._markers = sorted(markers) if neutralise_markers else []

    def read(self, said: str) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """What ``said`` claims to be history, and what it asks: all of it, unless it is a transcript."""
        messages = [plain_message(role, part) for role, part in self._parts(said)]
        claimed, new = split(messages)
        if new[-1].role == "assistant":  # answered already: nothing is asked
            return tuple(messages), ()
        return claimed, new

    def tell(self, history: Sequence[Message], said: str) -> str:
        """``said`` with ``history`` in front, and wrapped as a transcript unless it is one."""
        told = "".join(map(self._told, history))
        if self._inside(said) is None:
            said = f"{self._opening}{said}{self._closings[0]}"
        return told + said

    def without_the_human(self, reply: str) -> str:
        """``reply`` up to where the model goes on to write the user's part itself."""
        return reply.partition((self._end + self._opening).rstrip())[0]

    def _told(self, message: Message) -> str:
        title = self._titles.get(message.role)
        text = stored_text(message) if title else ""
        for marker in self._markers:
            text = text.replace(marker, f"<| {marker[2:]}")
        return f"{title}{text}{self._end}" if text else ""

    def _inside(self, said: str) -> str | None:
        """What stands between the first title and the last; ``None`` if it is no transcript."""
        closing = next((closing for closing in self._closings if said.endswith(closing)), "")
        if not closing or not said.startswith(self._opening):
            return None
        return said[len(self._opening) : -len(closing)]

    def _parts(self, said: str) -> list[tuple[Role, str]]:
        """The messages in ``said``: one, unless it is a transcript."""
        inside = self._inside(said)
        if inside is None:
            return [("user", said)]
        parts: list[tuple[Role, str]] = []
        for segment in inside.split(self._end + self._opening):
            human, titled, ai = segment.partition(self._closings[0])
            parts.append(("user", human))
            if titled:
                parts.append(("assistant", ai))
        return parts

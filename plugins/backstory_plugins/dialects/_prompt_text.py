"""A prompt that is one text somewhere in a JSON body; history is told in front of it, with titles."""

import json
from collections.abc import Mapping, Sequence
from itertools import count

from backstory.jsonbody import Value, dump
from backstory.model import Message, Prompt
from backstory_plugins.dialects._chat import plain_message, split, stored_text
from backstory_plugins.dialects._jsonpath import JsonPath
from backstory_plugins.dialects._listed import leading_system
from backstory_plugins.dialects._titled_text import Part, TitledText


class PromptText:
    """Where the text is, and how a conversation is told in it."""

    def __init__(self, path: JsonPath, titled: TitledText, end_text: str) -> None:
        """``path``: names one place. ``end_text``: what must not stand in told history, if anything."""
        self._path = path
        self._titled = titled
        self._end_text, self._broken = end_text, _broken_up(end_text)

    def read(self, body: bytes, text: str, fields: Mapping[str, Sequence[Value]]) -> Prompt | None:
        """The prompt in ``body``, which is ``text`` with ``fields``; ``None`` if there is none.

        ``insert_at``: the bytes from and to which it is spelled.

        Raises:
            NotJson: nested too deep.
        """
        place = self._path.place(text, fields)
        if place is None or not isinstance(place.value, str):
            return None
        parts: Sequence[Part] = self._titled.parts(place.value) or [("user", place.value)]
        messages = [plain_message(role, part) for role, part in parts]
        pinned = leading_system(messages)
        claimed, new = split(messages[pinned:])
        if new and new[-1].role == "assistant":  # answered already: nothing is asked
            claimed, new = (*claimed, *new), ()
        begin = len(text[: place.start].encode())
        end = begin + len(text[place.start : place.end].encode())
        return Prompt(body, tuple(messages[:pinned]), claimed, new, insert_at=(begin, end))

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``. A single prompt is always wrapped."""
        start, end = prompt.insert_at
        said: str = json.loads(prompt.body[start:end].decode())
        stored = (*(Message("system", raw, b"", b"") for raw in pinned), *history)
        told = "".join(map(self._told, stored))
        if self._titled.parts(said) is None:
            said = self._titled.asked(said)
        elif not told:
            return prompt.body
        at = sum(len(self._titled.told("system", stored_text(m))) for m in prompt.pinned)
        return prompt.body[:start] + dump(said[:at] + told + said[at:]) + prompt.body[end:]

    def _told(self, message: Message) -> str:
        text = stored_text(message)
        if self._end_text:  # told as it is, it would end the prompt
            text = text.replace(self._end_text, self._broken)
        return self._titled.told(message.role, text) if text else ""


def _broken_up(marker: str) -> str:
    """What stands for ``marker``, so that it is not there any more, whatever stands around it."""
    between = next(char for char in map(chr, count(ord(" "))) if char not in marker)
    # One that ends as it begins would be there again where two meet.
    if len(marker) == 1 or any(marker.endswith(marker[:size]) for size in range(1, len(marker))):
        return between
    return marker[:1] + between + marker[1:]

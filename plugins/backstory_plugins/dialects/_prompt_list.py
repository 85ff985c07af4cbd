"""A prompt that is a list of messages somewhere in a JSON body; history goes in between."""

from collections.abc import Mapping, Sequence

from backstory.jsonbody import Value, walk_array
from backstory.model import Message, Prompt
from backstory_plugins.dialects._chat import split
from backstory_plugins.dialects._jsonpath import JsonPath
from backstory_plugins.dialects._spelled_message import SpelledMessage


class PromptList:
    """Where the list is, and how its messages are spelled."""

    def __init__(self, path: JsonPath, spelled: SpelledMessage) -> None:
        """``path``: names one place."""
        self._path = path
        self._spelled = spelled

    def read(self, body: bytes, text: str, fields: Mapping[str, Sequence[Value]]) -> Prompt | None:
        """The prompt in ``body``, which is ``text`` with ``fields``; ``None`` if there is none.

        ``insert_at``: an offset in the bytes, and how many elements follow.

        Raises:
            NotJson: nested too deep.
        """
        place = self._path.place(text, fields)
        if place is None or not isinstance(place.value, list):
            return None
        elements = walk_array(text, place.start)
        messages: list[Message] = []
        for value, start, end in elements:
            message = self._spelled.read(value, text[start:end].encode())
            if message is None:
                return None
            messages.append(message)
        pinned = leading_system(messages)
        follow = len(messages) - pinned
        at = elements[pinned].start if follow else place.end - 1
        claimed, new = split(messages[pinned:])
        return Prompt(
            body,
            tuple(messages[:pinned]),
            claimed,
            new,
            insert_at=(len(text[:at].encode()), follow),
            prefill=bool(new) and new[-1].role == "assistant",
        )

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``."""
        stored = (*(Message("system", raw, b"", b"") for raw in pinned), *history)
        told = b", ".join(filter(None, map(self._spelled.told, stored)))
        if not told:
            return prompt.body
        at, follow = prompt.insert_at
        if follow:
            told += b", "
        elif prompt.pinned:
            told = b", " + told
        return prompt.body[:at] + told + prompt.body[at:]


def leading_system(messages: Sequence[Message]) -> int:
    """How many system messages stand in front."""
    others = (at for at, message in enumerate(messages) if message.role != "system")
    return next(others, len(messages))

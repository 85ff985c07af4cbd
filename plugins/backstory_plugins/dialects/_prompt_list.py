"""A prompt that is a list of messages somewhere in a JSON body; history goes in between."""

from collections.abc import Mapping, Sequence

from backstory.jsonbody import Value
from backstory.model import Message, Prompt
from backstory_plugins.dialects._chat import split
from backstory_plugins.dialects._jsonpath import JsonPath
from backstory_plugins.dialects._listed import put_in, read_array
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
        listed = read_array(text, place, self._spelled.read)
        if listed is None:
            return None
        claimed, new = split(listed.messages[listed.pinned :])
        return Prompt(
            body,
            listed.messages[: listed.pinned],
            claimed,
            new,
            insert_at=listed.insert_at,
            prefill=bool(new) and new[-1].role == "assistant",
        )

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``."""
        stored = (*(Message("system", raw, b"", b"") for raw in pinned), *history)
        told = [spelled for spelled in map(self._spelled.told, stored) if spelled]
        return put_in(prompt.body, prompt.insert_at, told, preceded=bool(prompt.pinned))

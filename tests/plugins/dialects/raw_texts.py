"""What the tests of every dialect of raw text share: told history, and bodies as they were recorded."""

import json
from collections.abc import Sequence
from pathlib import Path

from backstory.model import Answer, Message, Prompt
from backstory.spi import Dialect
from backstory_plugins.dialects._chat import plain_message

HELLO = (plain_message("user", "Hi, I am Ada."), plain_message("assistant", "Hello Ada!"))
_TYPES = {
    ".sse": "text/event-stream",
    ".ndjson": "application/x-ndjson",
    ".json": "application/json",
}


class Recorded:
    """The bodies of one dialect."""

    def __init__(self, name: str) -> None:
        """``name``: the dialect's."""
        self._folder = Path(__file__).parent / "data" / name

    def body(self, name: str) -> bytes:
        """A body as it was sent."""
        return (self._folder / name).read_bytes()

    def answer(self, name: str, *, proved: bool = True, request: bytes = b"") -> Answer:
        """A body as an answer."""
        return Answer(200, _TYPES[Path(name).suffix], self.body(name), proved, request)


def prompt_of(dialect: Dialect, body: bytes) -> Prompt:
    """The prompt in ``body``, which holds one."""
    prompt = dialect.read_prompt(body)
    assert prompt is not None
    return prompt


def said(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Role and text of each message."""
    return [(message.role, json.loads(message.raw)["content"]) for message in messages]

"""Ollama's ``/api/chat`` (``docs/dialects.md`` 6): a list of messages, an answer of lines.

Streaming is the server's default; whether an answer is a stream is said by its media type.
"""

from collections.abc import Mapping, Sequence

from backstory.jsonbody import NotJson, Value, dump
from backstory.model import Answer, Beginning, Marker, Message, Prompt, Remedy, Reply, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects._chat import (
    asks_one_token,
    longest_reply,
    schema_tokens,
    split,
    without_calls,
    without_reasoning,
)
from backstory_plugins.dialects._listed import put_in, read_list, walk
from backstory_plugins.dialects._ndjson import MEDIA_TYPES
from backstory_plugins.dialects._ollama import DONE, FORM, paired, read_message, told
from backstory_plugins.dialects._ollama_reply import read_stream, read_whole
from backstory_plugins.dialects._overflow import overflow


class OllamaChat:
    """See ``spi.Dialect``."""

    name = "ollama.chat"
    form = FORM
    names_replies = False

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``. ``insert_at``: an offset in the bytes, and how many elements follow."""
        try:
            text, fields = walk(body, "messages", begun)
            # Go reads keys in any case: of "messages" and "Messages" it would take the last.
            named = [key for key in fields if key.casefold() == "messages"]
            if len(named) != 1:
                return None
            listed = read_list(text, fields, "messages", read_message, begun)
        except NotJson:
            return None
        if listed is None:
            return None
        messages = tuple(paired(listed.messages))
        claimed, new = split(messages[listed.pinned :])
        most = _most(fields)
        model = fields["model"][-1].value if "model" in fields else ""
        return Prompt(
            body,
            messages[: listed.pinned],
            claimed,
            new,
            insert_at=listed.insert_at,
            prefill=bool(new) and new[-1].role == "assistant",
            auxiliary=asks_one_token(most),
            model=model if isinstance(model, str) else "",
            reply_tokens=longest_reply(most),
            fixed_tokens=schema_tokens(fields.get("tools", ())),
            begins=listed.begins,
        )

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``."""
        said = [*pinned, *(message.raw for message in history)]
        return put_in(prompt.body, prompt.insert_at, said, preceded=bool(prompt.pinned))

    def told(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return told(message)

    def without_calls(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return without_calls(message)

    def without_reasoning(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return without_reasoning(message)

    def end_marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect``."""
        return DONE if media_type in MEDIA_TYPES else None

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        try:
            if answer.media_type in MEDIA_TYPES:
                return read_stream(prompt, answer)
            return read_whole(prompt, answer)
        except (NotJson, RecursionError):  # it could be parsed, but not be compared or written
            return Reply(Verdict.ERROR)

    def remedy(self, answer: Answer) -> Remedy | None:
        """See ``spi.Dialect``. By default Ollama leaves out old messages itself, and says nothing."""
        return overflow(answer)

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return "application/json", dump({"error": message})

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``. The API has no event streams."""
        return b""


def _most(fields: Mapping[str, Sequence[Value]]) -> list[object]:
    """The limit on the reply; negative numbers mean that there is none."""
    options = fields["options"][-1].value if "options" in fields else None
    return [options.get("num_predict")] if isinstance(options, dict) else []


_: type[Dialect] = OllamaChat

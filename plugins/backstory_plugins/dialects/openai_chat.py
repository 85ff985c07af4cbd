"""OpenAI's Chat Completions, and what other servers make of them (``docs/dialects.md`` 2).

A prompt is the list ``messages``; history goes behind its leading system messages. A reply is one
JSON object, or an event stream of its pieces.
"""

from collections.abc import Sequence

from backstory.jsonbody import NotJson
from backstory.model import Answer, Beginning, Marker, Message, Prompt, Remedy, Reply, Verdict, made
from backstory.spi import Dialect
from backstory_plugins.dialects._chat import (
    asks_one_token,
    longest_reply,
    read_message,
    schema_tokens,
    split,
    told,
    without_calls,
    without_reasoning,
)
from backstory_plugins.dialects._completion import read_completion, read_stream
from backstory_plugins.dialects._listed import RAW, put_in, read_list, walk
from backstory_plugins.dialects._openai import DONE, error_body, error_event
from backstory_plugins.dialects._overflow import overflow
from backstory_plugins.dialects._sse import EVENT_STREAM


class OpenAIChat:
    """See ``spi.Dialect``."""

    name = "openai.chat"
    form = "chat"
    names_replies = False

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``. ``insert_at``: an offset in the bytes, and how many elements follow."""
        try:
            text, fields = walk(body, "messages", begun)
            listed = read_list(text, fields, "messages", read_message, begun)
        except NotJson:
            return None
        if listed is None:
            return None
        claimed, new = split(listed.messages[listed.pinned :])
        most: Sequence[object] = ()
        if "max_tokens" in fields or "max_completion_tokens" in fields:
            limits = fields.get("max_tokens", []) + fields.get("max_completion_tokens", [])
            most = [limit.value for limit in limits]
        model = fields["model"][-1].value if "model" in fields else ""
        return made(
            Prompt,
            (
                body,
                listed.messages[: listed.pinned],
                claimed,
                new,
                listed.insert_at,
                bool(new) and new[-1].role == "assistant",  # a prefill
                bool(most) and asks_one_token(most),
                model if isinstance(model, str) else "",
                longest_reply(most) if most else None,
                schema_tokens(fields["tools"]) if "tools" in fields else 0,
                "",
                "",
                True,
                listed.begins,
                None,
            ),
        )

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``."""
        said = [*pinned, *map(RAW, history)]
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
        return DONE if media_type == EVENT_STREAM else None

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        try:
            if answer.media_type == EVENT_STREAM:
                return read_stream(prompt, answer)
            return read_completion(prompt, answer)
        except (NotJson, RecursionError):  # it could be parsed, but not be compared or written
            return Reply(Verdict.ERROR)

    def remedy(self, answer: Answer) -> Remedy | None:
        """See ``spi.Dialect``."""
        return overflow(answer)

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return error_body(status, code, message)

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``."""
        return error_event(code, message)


_: type[Dialect] = OpenAIChat

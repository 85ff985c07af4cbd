"""Declarative: an API that is described in the configuration (``docs/declarative.md``), without code.

The description says by JSON paths where the prompt is and how a conversation stands in it, where
the reply is, and what proves its end.
"""

from collections.abc import Mapping, Sequence

from backstory.jsonbody import NotJson, Value, decode, dump, walk_object
from backstory.model import Answer, Beginning, Marker, Message, Prompt, Remedy, Reply
from backstory.spi import Dialect
from backstory_plugins.dialects._chat import (
    asks_one_token,
    longest_reply,
    told,
    without_calls,
    without_reasoning,
)
from backstory_plugins.dialects._described import Description, read_description
from backstory_plugins.dialects._described_reply import DescribedReply
from backstory_plugins.dialects._overflow import overflow
from backstory_plugins.dialects._placeholders import filled
from backstory_plugins.dialects._prompt_list import PromptList
from backstory_plugins.dialects._prompt_text import PromptText
from backstory_plugins.dialects._titled_text import TitledText


class Declarative:
    """See ``spi.Dialect``."""

    name = "declarative"
    form = "chat"
    names_replies = False

    def __init__(self, description: Description) -> None:
        """``description``: of the API."""
        self._described = description
        self._reply = DescribedReply(description)
        self._prompt = _prompt_of(description)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> "Declarative":
        """The dialect that a row's options describe.

        Raises:
            ConfigError: with every problem.
        """
        return cls(read_description(options))

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``. ``insert_at`` is the matter of the list or the text."""
        try:
            text = decode(body)
            fields = walk_object(text)
            prompt = self._prompt.read(body, text, fields)
        except NotJson:
            return None
        return prompt and self._with_facts(prompt, fields)

    def _with_facts(self, prompt: Prompt, fields: Mapping[str, Sequence[Value]]) -> Prompt:
        described = self._described
        value = {key: values[-1].value for key, values in fields.items()}
        model = described.model.first(value) if described.model else ""
        limits = described.reply_tokens.find(value) if described.reply_tokens else []
        return prompt._replace(
            auxiliary=asks_one_token(limits),
            model=model if isinstance(model, str) else "",
            reply_tokens=longest_reply(limits),
        )

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``."""
        return self._prompt.inject(prompt, pinned, history)

    def told(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return told(message)

    def without_calls(self, message: Message) -> Message | None:
        """See ``spi.Dialect``. Only another dialect's messages have any."""
        return without_calls(message)

    def without_reasoning(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return without_reasoning(message)

    def end_marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect``."""
        return self._reply.marker(media_type)

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        return self._reply.read(prompt, answer)

    def remedy(self, answer: Answer) -> Remedy | None:
        """See ``spi.Dialect``."""
        return overflow(answer)

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        values = {"status": status, "code": code, "message": message}
        return "application/json", dump(filled(self._described.error_body, values))

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``."""
        stream = self._described.stream
        if stream is None or stream.kind != "sse":
            return b""
        return b"data: " + self.error_body(502, code, message)[1] + b"\n\n"


def _prompt_of(description: Description) -> PromptList | PromptText:
    if not isinstance(description.told, TitledText):
        return PromptList(description.prompt, description.told)
    stream = description.stream
    end_text = stream.end_text if stream and stream.kind == "text" else ""
    return PromptText(description.prompt, description.told, end_text)


_: type[Dialect] = Declarative

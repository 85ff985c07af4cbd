"""Falcon: a prompt of raw text, a reply of raw text (``docs/dialects.md`` 1).

The whole conversation is told in the one field ``text``, a line for each message::

    Human: {input 1}
    AI: {output 1}
    Human: {prompt}
    AI:

with one blank after the last colon. A client that sends such a transcript itself is understood.
"""

import json
from collections.abc import Sequence

from backstory.jsonbody import NotJson, decode, dump, walk_object
from backstory.model import Answer, Marker, Message, Prompt, Remedy, Reply, Role, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects._chat import (
    asks_one_token,
    plain_message,
    split,
    stored_text,
    told,
    without_calls,
    without_reasoning,
)
from backstory_plugins.dialects._overflow import overflow

_END = "<|endoftext|>"
_MARKER = Marker((_END.encode(),), line_start=False)
_TITLES = {"user": "Human", "assistant": "AI"}
_OPENING, _CLOSINGS = "Human: ", ("\nAI: ", "\nAI:")


class Falcon:
    """See ``spi.Dialect``."""

    name = "falcon"
    form = "chat"
    names_replies = False

    def __init__(
        self,
        *,
        neutralise_markers: bool = True,
        cut_at_human: bool = False,
        require_end_marker: bool = False,
    ) -> None:
        """What memory tells and keeps; what the client sees is never changed.

        Args:
            neutralise_markers: break up ``<|endoftext|>`` in told history, which would end it.
            cut_at_human: keep a reply up to the first ``\\nHuman:``, where a base model goes on
                to write the user's part itself.
            require_end_marker: a reply counts only with its end marker, however it is framed.
        """
        self._neutralise_markers = neutralise_markers
        self._cut_at_human = cut_at_human
        self._require_end_marker = require_end_marker

    def read_prompt(self, body: bytes) -> Prompt | None:
        """See ``spi.Dialect``. ``insert_at``: the bytes from and to which ``text`` is spelled."""
        try:
            text = decode(body)
            fields = walk_object(text)
        except NotJson:
            return None
        values = fields.get("text", ())
        if len(values) != 1 or not isinstance(values[0].value, str):
            return None
        said, start, end = values[0].value, values[0].start, values[0].end
        messages = [plain_message(role, part) for role, part in _parts(said)]
        claimed, new = split(messages)
        if new[-1].role == "assistant":  # answered already: nothing is asked
            claimed, new = tuple(messages), ()
        begin = len(text[:start].encode())
        return Prompt(
            body,
            (),
            claimed,
            new,
            insert_at=(begin, begin + len(text[start:end].encode())),
            auxiliary=asks_one_token([limit.value for limit in fields.get("max_tokens", ())]),
        )

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``. There is no place for ``pinned``; a single prompt is always wrapped."""
        start, end = prompt.insert_at
        said: str = json.loads(prompt.body[start:end].decode())
        told = "".join(map(self._told, history))
        if _inside(said) is None:
            said = f"Human: {said}\nAI: "
        elif not told:
            return prompt.body
        return prompt.body[:start] + dump(told + said) + prompt.body[end:]

    def _told(self, message: Message) -> str:
        title = _TITLES.get(message.role)
        text = stored_text(message) if title else ""
        if self._neutralise_markers:
            text = text.replace(_END, "<| endoftext|>")
        return f"{title}: {text}\n" if text else ""

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
        return _MARKER

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``. The end marker is never stored: told again, it would end the prompt."""
        try:
            text, marker, rest = answer.body.decode().partition(_END)
        except UnicodeDecodeError:
            return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
        if rest.strip():
            return Reply(Verdict.ERROR)
        if not marker and (self._require_end_marker or not answer.proved):
            return Reply(Verdict.UNPROVED)
        if self._cut_at_human:
            text = text.partition("\nHuman:")[0]
        if not text.strip():
            return Reply(Verdict.EMPTY)
        return Reply(Verdict.COMPLETE, (plain_message("assistant", text),))

    def remedy(self, answer: Answer) -> Remedy | None:
        """See ``spi.Dialect``."""
        return overflow(answer)

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return "text/plain; charset=utf-8", f"{message}\n".encode("utf-8", "replace")

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``. Raw text has no place for an error."""
        return b""


def _inside(said: str) -> str | None:
    """What stands between the first title and the last; ``None`` if it is no transcript."""
    closing = next((closing for closing in _CLOSINGS if said.endswith(closing)), "")
    if not closing or not said.startswith(_OPENING):
        return None
    return said[len(_OPENING) : -len(closing)]


def _parts(said: str) -> list[tuple[Role, str]]:
    """The messages in ``said``: one, unless it is a transcript."""
    inside = _inside(said)
    if inside is None:
        return [("user", said)]
    parts: list[tuple[Role, str]] = []
    for segment in inside.split("\n" + _OPENING):
        human, titled, ai = segment.partition(_CLOSINGS[0])
        parts.append(("user", human))
        if titled:
            parts.append(("assistant", ai))
    return parts


_: type[Dialect] = Falcon

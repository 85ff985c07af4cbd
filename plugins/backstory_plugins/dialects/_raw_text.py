"""What all dialects of raw text do alike: the conversation is told inside one JSON string.

Such an API has no roles and no list of messages. A dialect says which string it is, and reads the
answer; the rest is here. Only that string changes.
"""

import json
import logging
from collections.abc import Mapping, Sequence

from backstory.jsonbody import NotJson, Value, decode, dump
from backstory.model import Answer, Message, Prompt, Remedy, Reply, Verdict
from backstory_plugins.dialects._chat import (
    asks_one_token,
    longest_reply,
    plain_message,
    told,
    without_calls,
    without_reasoning,
)
from backstory_plugins.dialects._overflow import overflow
from backstory_plugins.dialects._transcript import Transcript

log = logging.getLogger(__name__)

Fields = Mapping[str, Sequence[Value]]
"""As ``walk_object`` reads them."""


class RawText:
    """The part of ``spi.Dialect`` that does not depend on the API."""

    name: str
    form = "chat"
    names_replies = False

    def __init__(
        self,
        *,
        human: str = "Human: ",
        ai: str = "AI: ",
        end: str = "\n",
        neutralise_markers: bool = True,
        cut_at_human: bool = False,
    ) -> None:
        """What memory tells and keeps; what the client sees is never changed.

        Args:
            human: see ``Transcript``, as the next three.
            ai: stands before each reply.
            end: stands behind each message.
            neutralise_markers: break up what would end the prompt.
            cut_at_human: keep a reply up to where a base model writes the user's part itself.
        """
        self._transcript = Transcript(human, ai, end, neutralise_markers=neutralise_markers)
        self._cut_at_human = cut_at_human

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``. There is no place for ``pinned``; a single prompt is always wrapped."""
        start, end = prompt.insert_at
        said: str = json.loads(prompt.body[start:end].decode())
        text = self._transcript.tell(history, said)
        if text == said:
            return prompt.body
        return prompt.body[:start] + dump(text) + prompt.body[end:]

    def told(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return told(message)

    def without_calls(self, message: Message) -> Message | None:
        """See ``spi.Dialect``. Only another dialect's messages have any."""
        return without_calls(message)

    def without_reasoning(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return without_reasoning(message)

    def remedy(self, answer: Answer) -> Remedy | None:
        """See ``spi.Dialect``."""
        return overflow(answer)

    def prompt_in(
        self,
        body: bytes,
        text: str,
        place: Value,
        *,
        limits: Sequence[object] = (),
        model: str = "",
    ) -> Prompt:
        """The prompt in ``body``, which is ``text``.

        Args:
            body: as the client sent it.
            text: the same, decoded.
            place: the string in it. ``insert_at``: the bytes from and to which it is spelled.
            limits: on the reply, in tokens, as the client gives them.
            model: see ``Prompt.model``.
        """
        assert isinstance(place.value, str)
        claimed, new = self._transcript.read(place.value)
        begin = len(text[: place.start].encode())
        return Prompt(
            body,
            (),
            claimed,
            new,
            insert_at=(begin, begin + len(text[place.start : place.end].encode())),
            auxiliary=asks_one_token(limits),
            model=model,
            reply_tokens=longest_reply(limits),
        )

    def reply_of(self, verdict: Verdict, text: str, counted: object = None) -> Reply:
        """The reply ``text``, for which the upstream says that it counted so many prompt tokens."""
        if not verdict.kept:
            return Reply(verdict)
        if self._cut_at_human:
            text = self._transcript.without_the_human(text)
        if not text.strip():
            return Reply(Verdict.EMPTY)
        tokens = counted if type(counted) is int and counted >= 0 else None
        return Reply(verdict, (plain_message("assistant", text),), prompt_tokens=tokens)

    def verdict_of(self, why: object, verdicts: Mapping[str, Verdict]) -> Verdict:
        """The verdict on a word for how the reply ended; an unknown one is a natural stop."""
        if not isinstance(why, str) or not why:
            return Verdict.ABORTED
        if why not in verdicts:
            log.info("%s: %.40r is read as a natural stop", self.name, why)
        return verdicts.get(why, Verdict.COMPLETE)


def one_string(fields: Fields, key: str) -> Value | None:
    """The value of ``key`` if it is given once, and is a string."""
    values = fields.get(key, ())
    return values[0] if len(values) == 1 and isinstance(values[0].value, str) else None


def given(fields: Fields, *keys: str) -> list[object]:
    """Every value that one of ``keys`` is given, but null, false, zero and what is empty."""
    return [value.value for key in keys for value in fields.get(key, ()) if value.value]


def values_of(fields: Fields, *keys: str) -> list[object]:
    """Every value that one of ``keys`` is given."""
    return [value.value for key in keys for value in fields.get(key, ())]


def text_in(fields: Fields, key: str) -> str:
    """The string that ``key`` was given last; empty if it is none."""
    value = fields[key][-1].value if key in fields else ""
    return value if isinstance(value, str) else ""


def first_object(body: bytes) -> dict[str, object]:
    """The JSON object that an answer is, or that its array begins with.

    Raises:
        NotJson: it is neither.
    """
    try:
        value = json.loads(decode(body))
    except (RecursionError, ValueError) as exc:
        raise NotJson(str(exc)) from exc
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        raise NotJson("not an object")
    return value

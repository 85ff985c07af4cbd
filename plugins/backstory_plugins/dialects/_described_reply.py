"""A reply as a configuration describes it: where its text is, why it ended, what proves that.

Three ways to stream it, and one JSON value. Nothing is kept that the description does not prove:
a word that it does not list is no proof.
"""

import logging
from dataclasses import dataclass, field

from backstory.jsonbody import NotJson, dump
from backstory.model import Answer, Marker, Prompt, Reply, Verdict
from backstory_plugins.dialects._chat import plain_message, stored_text
from backstory_plugins.dialects._described import Description, Stream
from backstory_plugins.dialects._described_stream import (
    END,
    event_ended,
    is_end,
    marker,
    read_json,
    values,
)
from backstory_plugins.dialects._jsonpath import JsonPath

log = logging.getLogger(__name__)

ANY_WORD = "*"
"""In ``verdicts``: every word that is not listed."""


@dataclass(slots=True)
class _Said:
    """What has been found so far."""

    texts: list[str] = field(default_factory=list)
    finish: object = None
    ended: bool = False
    failed: bool = False
    reply_id: object = None
    prompt_tokens: object = None


class DescribedReply:
    """Reads replies by a description."""

    def __init__(self, description: Description) -> None:
        """``description``: of the whole dialect."""
        self._described = description

    def marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect.end_marker``."""
        stream = self._stream(media_type)
        return marker(stream) if stream else None

    def read(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect.read_reply``."""
        stream = self._stream(answer.media_type)
        try:
            if stream is None:
                return self._whole(prompt, answer)
            if stream.kind == "text":
                return self._text(prompt, answer, stream)
            return self._streamed(prompt, answer, stream)
        except RecursionError:  # nested too deep to be written again
            return Reply(Verdict.ERROR)

    def _stream(self, media_type: str) -> Stream | None:
        stream = self._described.stream
        if stream is None:
            return None
        if stream.media_types:
            return stream if media_type in stream.media_types else None
        whole = self._described.reply is not None and media_type == "application/json"
        return None if whole else stream

    def _whole(self, prompt: Prompt, answer: Answer) -> Reply:
        """One JSON value, which proves its own end."""
        described = self._described
        if described.reply is None:
            log.warning("declarative: an answer of another media type than those of the stream")
            return Reply(Verdict.UNPROVED)
        try:
            value = read_json(answer.body)
        except NotJson:
            return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
        said = _Said(ended=True)
        if described.finish is not None:
            found = described.finish.find(value)
            if found and found[0] is None:
                return Reply(Verdict.ABORTED)  # the server itself says that it has not finished
        self._note(said, value, described.reply, described.finish, described.error)
        return self._judged(prompt, said)

    def _text(self, prompt: Prompt, answer: Answer, stream: Stream) -> Reply:
        """Raw text, up to its end marker if it has one."""
        try:
            text = answer.body.decode()
        except UnicodeDecodeError:
            return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
        ended = False
        if stream.end_text:
            text, end, rest = text.partition(stream.end_text)
            if rest.strip():
                return Reply(Verdict.ERROR)
            ended = bool(end)
        if not (ended or answer.proved):
            return Reply(Verdict.UNPROVED)
        return self._judged(prompt, _Said([text], ended=ended))

    def _streamed(self, prompt: Prompt, answer: Answer, stream: Stream) -> Reply:
        """Events of JSON."""
        said = _Said()
        try:
            for value in values(answer.body, stream):
                if value is END:
                    said.ended = True
                    break
                self._note(said, value, stream.text, stream.finish, stream.error)
                if stream.end is not None and is_end(stream, stream.end.find(value)):
                    said.ended = True
                    break
        except NotJson:
            said.failed = True
        said.ended = said.ended or event_ended(answer.body, stream)
        if said.failed:
            return Reply(Verdict.ERROR)
        if stream.cumulative:
            said.texts = said.texts[-1:]
        has_end = bool(stream.end_text or stream.end_event or stream.end)
        if stream.finish is not None:
            if said.finish is None or not (said.ended or answer.proved):
                return Reply(Verdict.ABORTED)
        elif has_end and not said.ended:
            return Reply(Verdict.ABORTED)
        elif not has_end and not answer.proved:
            return Reply(Verdict.UNPROVED)
        return self._judged(prompt, said)

    def _note(
        self,
        said: _Said,
        value: object,
        text: JsonPath | None,
        finish: JsonPath | None,
        error: JsonPath | None,
    ) -> None:
        if error is not None and any(error.find(value)):
            said.failed = True
        if text is not None:
            said.texts += [piece for piece in text.find(value) if isinstance(piece, str)]
        if finish is not None:
            said.finish = _last_of(finish, value, said.finish)
        if self._described.reply_id is not None:
            said.reply_id = _last_of(self._described.reply_id, value, said.reply_id)
        if self._described.prompt_tokens is not None:
            count = _last_of(self._described.prompt_tokens, value, said.prompt_tokens)
            said.prompt_tokens = count

    def _judged(self, prompt: Prompt, said: _Said) -> Reply:
        if said.failed:
            return Reply(Verdict.ERROR)
        text = "".join(said.texts)
        verdict = self._verdict(said.finish)
        if not verdict.kept:
            return Reply(verdict)
        if not text.strip():
            return Reply(Verdict.EMPTY)
        if prompt.prefill:
            text = stored_text(prompt.new[-1]) + text
        count = said.prompt_tokens
        return Reply(
            verdict,
            (plain_message("assistant", text),),
            reply_id=said.reply_id if isinstance(said.reply_id, str) else "",
            prompt_tokens=count if type(count) is int and count >= 0 else None,
        )

    def _verdict(self, finish: object) -> Verdict:
        verdicts = self._described.verdicts
        if finish is None or not verdicts:
            return Verdict.COMPLETE
        word = finish if isinstance(finish, str) else dump(finish).decode()
        verdict = verdicts.get(word, verdicts.get(ANY_WORD))
        if verdict is None:
            log.warning(
                "declarative: finish %.40r is not in verdicts: the turn is not remembered", word
            )
            return Verdict.UNPROVED
        return verdict


def _last_of(path: JsonPath, value: object, before: object) -> object:
    found = [item for item in path.find(value) if item is not None]
    return found[-1] if found else before

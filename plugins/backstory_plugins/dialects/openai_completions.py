"""OpenAI's legacy Completions, and what other servers make of them (``docs/dialects.md`` 3).

The conversation is told inside ``prompt``, a string or an array of exactly one. A reply is one JSON
object, or an event stream of its pieces. A request that sets no limit gets 16 tokens, so that a
reply at its limit is the usual one.
"""

from collections.abc import Mapping

from backstory.jsonbody import NotJson, Value, decode, read_object, walk_array, walk_object
from backstory.model import Answer, Beginning, Marker, Prompt, Reply, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects._chunks import read_chunks
from backstory_plugins.dialects._completion import counted
from backstory_plugins.dialects._openai import DONE, error_body, error_event
from backstory_plugins.dialects._raw_text import (
    Fields,
    RawText,
    given,
    one_string,
    text_in,
    values_of,
)
from backstory_plugins.dialects._sse import EVENT_STREAM

_VERDICTS = {
    "stop": Verdict.COMPLETE,
    "length": Verdict.TRUNCATED,
    "content_filter": Verdict.FILTERED,
    "error": Verdict.ERROR,
    "abort": Verdict.ERROR,
}


class OpenAICompletions(RawText):
    """See ``spi.Dialect``."""

    name = "openai.completions"

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``. Batches, token arrays, infill and echo are not understood."""
        try:
            text = decode(body)
            fields = walk_object(text)
            place = _string(text, fields)
        except NotJson:
            return None
        if place is None or given(fields, "suffix", "echo"):
            return None
        limits = values_of(fields, "max_tokens")
        return self.prompt_in(body, text, place, limits=limits, model=text_in(fields, "model"))

    def end_marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect``."""
        return DONE if media_type == EVENT_STREAM else None

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        try:
            if answer.media_type == EVENT_STREAM:
                return self._read_stream(answer)
            return self._read_object(answer)
        except (NotJson, RecursionError):
            return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)

    def _read_stream(self, answer: Answer) -> Reply:
        message, finish, done, usage = read_chunks(answer.body, delta_of=_delta)
        if finish != "error" and not (done or answer.proved):
            return Reply(Verdict.ABORTED)  # only the connection's close ended it: anything may lack
        return self._reply(finish, message.get("content"), usage)

    def _read_object(self, answer: Answer) -> Reply:
        fields = read_object(answer.body)
        if fields.get("error"):
            return Reply(Verdict.ERROR)
        choices = fields.get("choices")
        found = [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
        if not found:
            return Reply(Verdict.ERROR)
        choice = min(found, key=_index)
        finish = choice.get("finish_reason", "stop")
        return self._reply(finish, choice.get("text"), fields.get("usage"))

    def _reply(self, finish: object, text: object, usage: object) -> Reply:
        verdict = self.verdict_of(finish, _VERDICTS)
        return self.reply_of(
            verdict, text if isinstance(text, str) else "", counted(usage, "prompt_tokens")
        )

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return error_body(status, code, message)

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``."""
        return error_event(code, message)


def _string(text: str, fields: Fields) -> Value | None:
    """The prompt, where it is one string."""
    prompts = fields.get("prompt", ())
    if len(prompts) == 1 and isinstance(prompts[0].value, list):
        return one_string({"prompt": walk_array(text, prompts[0].start)}, "prompt")
    return one_string(fields, "prompt")


def _delta(choice: Mapping[str, object]) -> object:
    return {"content": choice.get("text")}


def _index(choice: Mapping[str, object]) -> int:
    index = choice.get("index")
    return index if type(index) is int else 0


_: type[Dialect] = OpenAICompletions

"""Ollama's ``/api/generate`` (``docs/dialects.md`` 6).

The conversation is told inside ``prompt``. Streaming is the default: a line of JSON for each piece,
the last with ``"done":true``; else one JSON object. A client that sends ``context`` back keeps its
own memory, as tokens, and none is put beside it.
"""

from collections.abc import Mapping

from backstory.jsonbody import NotJson, decode, dump, read_object, walk_object
from backstory.model import Answer, Beginning, Marker, Prompt, Reply, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects._chat import IMAGE_TOKENS, schema_tokens
from backstory_plugins.dialects._ndjson import MEDIA_TYPES, read_lines
from backstory_plugins.dialects._ollama import DONE
from backstory_plugins.dialects._raw_text import RawText, given, one_string, text_in, values_of

_VERDICTS = {
    "stop": Verdict.COMPLETE,
    "length": Verdict.TRUNCATED,
    "load": Verdict.EMPTY,
    "unload": Verdict.EMPTY,
}


class OllamaGenerate(RawText):
    """See ``spi.Dialect``."""

    name = "ollama.generate"

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``. Loading a model, infill and the client's own ``context`` are not understood."""
        try:
            text = decode(body)
            fields = walk_object(text)
        except NotJson:
            return None
        place = one_string(fields, "prompt")
        if place is None or not place.value or given(fields, "context", "suffix"):
            return None
        if given(fields, "raw") and given(fields, "system", "template"):
            return None  # a 400 of the upstream's own
        options = values_of(fields, "options")
        limits = [each.get("num_predict") for each in options if isinstance(each, dict)]
        prompt = self.prompt_in(body, text, place, limits=limits, model=text_in(fields, "model"))
        images = [each for each in values_of(fields, "images") if isinstance(each, list)]
        fixed = schema_tokens(fields.get("system", ())) + IMAGE_TOKENS * sum(map(len, images))
        return prompt._replace(fixed_tokens=fixed)

    def end_marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect``."""
        return DONE if media_type in MEDIA_TYPES else None

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        try:
            if answer.media_type in MEDIA_TYPES:
                said, cut = read_lines(answer.body)
            else:
                said, cut = (read_object(answer.body),), False
        except NotJson:
            return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
        if any(piece.get("error") for piece in said):
            return Reply(Verdict.ERROR)  # in a stream, its status stays 200
        last = next((piece for piece in said if piece.get("done") is True), None)
        if last is None or cut:
            return Reply(Verdict.ABORTED)
        pieces = [piece.get("response") for piece in said]
        text = "".join([piece for piece in pieces if isinstance(piece, str)])
        return self.reply_of(self._verdict(last, text), text, last.get("prompt_eval_count"))

    def _verdict(self, last: Mapping[str, object], text: str) -> Verdict:
        why = last.get("done_reason")
        if why:
            return self.verdict_of(why, _VERDICTS)
        # Older servers say no reason, and newer ones none when they lost the model.
        count = last.get("eval_count")
        generated = type(count) is int and count > 0 and text.strip()
        return Verdict.COMPLETE if generated else Verdict.ABORTED

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return "application/json", dump({"error": message})

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``. A line."""
        return dump({"error": message}) + b"\n"


_: type[Dialect] = OllamaGenerate

"""Text Generation Inference's own API (``docs/dialects.md`` 7).

The conversation is told inside ``inputs``. An answer is one JSON object (an array of one where
``/`` answers), or an event stream whose last event holds the whole text once more.
"""

from collections.abc import Mapping

from backstory.jsonbody import NotJson, decode, dump, read_object, walk_object
from backstory.model import Answer, Beginning, Marker, Prompt, Reply, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects._raw_text import RawText, first_object, one_string, values_of
from backstory_plugins.dialects._sse import EVENT_STREAM, objects

# Of the last event only: in the others it is null.
_LAST = Marker((b'"generated_text":"', b'"generated_text": "'), line_start=False, top_level=True)
_VERDICTS = {
    "eos_token": Verdict.COMPLETE,
    "stop_sequence": Verdict.COMPLETE,
    "length": Verdict.TRUNCATED,
}
# Clients know these and raise an exception for each; of another word they say the status.
_ERROR_TYPES = {
    **dict.fromkeys((400, 413, 422), "validation"),
    **dict.fromkeys((409, 429, 503), "overloaded"),
}


class Tgi(RawText):
    """See ``spi.Dialect``."""

    name = "tgi"

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``."""
        try:
            text = decode(body)
            fields = walk_object(text)
        except NotJson:
            return None
        place = one_string(fields, "inputs")
        if place is None:
            return None
        parameters = values_of(fields, "parameters")
        limits = [each.get("max_new_tokens") for each in parameters if isinstance(each, dict)]
        return self.prompt_in(body, text, place, limits=limits)

    def end_marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect``."""
        return _LAST if media_type == EVENT_STREAM else None

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        try:
            streamed = answer.media_type == EVENT_STREAM
            said = _last_of(answer.body) if streamed else first_object(answer.body)
        except NotJson:
            return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
        if said.get("error"):
            return Reply(Verdict.ERROR)
        text, details = said.get("generated_text"), said.get("details")
        if not isinstance(text, str):
            return Reply(Verdict.ABORTED if streamed else Verdict.ERROR)
        forwarded = _told_back(prompt, answer)
        if forwarded is None or not text.startswith(forwarded):
            return Reply(Verdict.ERROR)  # where the reply begins is not known
        why = details.get("finish_reason") if isinstance(details, dict) else None
        counted = details.get("input_length") if isinstance(details, dict) else None
        verdict = Verdict.COMPLETE if why is None else self.verdict_of(why, _VERDICTS)
        return self.reply_of(verdict, text[len(forwarded) :], counted)

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return "application/json", _error(_ERROR_TYPES.get(status, code), message)

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``."""
        return b"data:" + _error("generation", message) + b"\n\n"


def _last_of(body: bytes) -> dict[str, object]:
    """The event that holds the whole text; one that says an error, wherever it stands."""
    last: dict[str, object] = {}
    for said in objects(body):
        if said.get("error"):
            return said
        if isinstance(said.get("generated_text"), str):
            last = said
    return last


def _told_back(prompt: Prompt, answer: Answer) -> str | None:
    """What the text begins with that the model did not write: the prompt, if the client wants it.

    ``None``: it does, and what was forwarded is not known.
    """
    if not _wants_all(prompt.body):
        return ""
    try:
        inputs = read_object(answer.request).get("inputs")
    except NotJson:
        return None
    return inputs if isinstance(inputs, str) else None


def _wants_all(body: bytes) -> bool:
    if b"return_full_text" not in body:
        return False
    try:
        parameters = read_object(body).get("parameters")
    except NotJson:
        return False
    return isinstance(parameters, Mapping) and parameters.get("return_full_text") is True


def _error(kind: str, message: str) -> bytes:
    return dump({"error": message, "error_type": kind})


_: type[Dialect] = Tgi

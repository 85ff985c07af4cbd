"""The llama.cpp server's own ``/completion`` (``docs/dialects.md`` 8).

The conversation is told inside ``prompt``, a string. An answer is one JSON object, or an event
stream whose last event says ``"stop":true`` and why.
"""

from collections.abc import Mapping

from backstory.jsonbody import NotJson, decode, dump, walk_object
from backstory.model import Answer, Beginning, Marker, Prompt, Reply, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects._raw_text import RawText, first_object, one_string, values_of
from backstory_plugins.dialects._sse import EVENT_STREAM, objects

_STOP = Marker((b'"stop":true', b'"stop": true'), line_start=False, top_level=True)
_VERDICTS = {
    "eos": Verdict.COMPLETE,
    "word": Verdict.COMPLETE,
    "limit": Verdict.TRUNCATED,
    "none": Verdict.ABORTED,
}
_EARLIER = ("stopped_limit", "stopped_eos", "stopped_word")
_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    503: "unavailable_error",
    **dict.fromkeys((400, 405, 409, 412, 413, 422), "invalid_request_error"),
}


class LlamaCppCompletion(RawText):
    """See ``spi.Dialect``."""

    name = "llamacpp.completion"

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``. Tokens, several prompts and media are not understood."""
        try:
            text = decode(body)
            fields = walk_object(text)
        except NotJson:
            return None
        place = one_string(fields, "prompt")
        if place is None:
            return None
        return self.prompt_in(
            body, text, place, limits=values_of(fields, "n_predict", "max_tokens")
        )

    def end_marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect``."""
        return _STOP if media_type == EVENT_STREAM else None

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        if answer.media_type == EVENT_STREAM:
            return self._read_stream(answer.body)
        try:
            said = first_object(answer.body)
        except NotJson:
            return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
        if said.get("error"):
            return Reply(Verdict.ERROR)
        content = said.get("content")
        return self._reply(said, content if isinstance(content, str) else "")

    def _read_stream(self, body: bytes) -> Reply:
        pieces: list[str] = []
        last: Mapping[str, object] | None = None
        for said in objects(body):
            if said.get("error"):
                return Reply(Verdict.ERROR)
            if said.get("index") not in (0, None) or last is not None:
                continue  # another of several replies
            content = said.get("content")
            pieces.append(content if isinstance(content, str) else "")
            if said.get("stop") is True:
                last = said
        if last is None:
            return Reply(Verdict.ABORTED)
        return self._reply(last, "".join(pieces))

    def _reply(self, last: Mapping[str, object], text: str) -> Reply:
        verdict = _verdict(last)
        if verdict is Verdict.COMPLETE and last.get("truncated") is True:
            verdict = Verdict.TRUNCATED
        return self.reply_of(verdict, text, last.get("tokens_evaluated"))

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return "application/json", dump(_error(status, message))

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``."""
        return b"data: " + dump(_error(500, message)) + b"\n\n"


def _verdict(last: Mapping[str, object]) -> Verdict:
    """How it ended; unproved where the client has the server leave that out (``response_fields``)."""
    if last.get("stop") is False:
        return Verdict.ABORTED
    why = last.get("stop_type")
    if isinstance(why, str):
        return _VERDICTS.get(why, Verdict.UNPROVED)
    limit, *natural = [last.get(key) for key in _EARLIER]  # older builds
    if limit is True:
        return Verdict.TRUNCATED
    if True in natural:
        return Verdict.COMPLETE
    return Verdict.ABORTED if False in (limit, *natural) else Verdict.UNPROVED


def _error(status: int, message: str) -> dict[str, object]:
    kind = _ERROR_TYPES.get(status, "server_error")
    return {"error": {"code": status, "message": message, "type": kind}}


_: type[Dialect] = LlamaCppCompletion

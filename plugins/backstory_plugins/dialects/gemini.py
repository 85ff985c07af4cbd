"""Google's Gemini, ``generateContent`` and ``streamGenerateContent`` (``docs/dialects.md`` 9).

A prompt is the list ``contents``; history goes to its head. The model, and whether the answer is a
stream, stand in the path. A stream is events with ``alt=sse``, else one JSON array sent in pieces.
"""

from collections.abc import Mapping, Sequence
from itertools import dropwhile

from backstory.jsonbody import NotJson, Value, decode, dump, walk_object
from backstory.model import Answer, Beginning, Marker, Message, Prompt, Remedy, Reply, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects._chat import asks_one_token, longest_reply, schema_tokens, split
from backstory_plugins.dialects._gemini import (
    FORM,
    read_message,
    runs_joined,
    system_instruction,
    system_message,
    told,
    without_calls,
    without_reasoning,
)
from backstory_plugins.dialects._gemini_parts import get
from backstory_plugins.dialects._gemini_reply import read_stream, read_whole
from backstory_plugins.dialects._listed import put_in, read_list, walk
from backstory_plugins.dialects._overflow import overflow
from backstory_plugins.dialects._sse import EVENT_STREAM

_SYSTEM = ("systemInstruction", "system_instruction")
_CACHED = ("cachedContent", "cached_content")  # it brings a system instruction of its own
_CORRUPTED = b"corrupted thought signature"

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Gemini:
    """See ``spi.Dialect``."""

    name = "gemini"
    form = FORM
    names_replies = False

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``. ``insert_at``: an offset in the bytes, and how many elements follow."""
        try:
            text, fields = walk(body, "contents", begun)
            listed = read_list(text, fields, "contents", read_message, begun)
            systems = _values(fields, _SYSTEM)
            if listed is None or len(systems) > 1:
                return None
            messages = tuple(runs_joined(listed.messages))
        except NotJson:
            return None
        system = system_message(systems[0]) if systems else None
        claimed, new = split(messages)
        configs = _values(fields, ("generationConfig", "generation_config"))
        most = [
            get(config, "maxOutputTokens", "max_output_tokens")
            for config in configs
            if isinstance(config, dict)
        ]
        model = fields["model"][-1].value if "model" in fields else ""
        return Prompt(
            body,
            (system,) if system else (),
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
        """See ``spi.Dialect``. Contents must begin with the user, so told history does."""
        said = [m.raw for m in dropwhile(lambda message: message.role != "user", history)]
        body = put_in(prompt.body, prompt.insert_at, said, preceded=False)
        system = system_instruction(pinned)
        if not system or walk_object(decode(prompt.body)).keys() & {*_SYSTEM, *_CACHED}:
            return body
        before, brace, after = body.partition(b"{")
        return before + brace + b'"systemInstruction":' + system + b", " + after

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
        """See ``spi.Dialect``. No bytes say "complete": a finish reason may stand in any event."""
        return None

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        try:
            if answer.media_type == EVENT_STREAM:
                return read_stream(prompt, answer)
            return read_whole(prompt, answer)
        except (NotJson, RecursionError):  # it could be parsed, but not be compared
            return Reply(Verdict.ERROR)

    def remedy(self, answer: Answer) -> Remedy | None:
        """See ``spi.Dialect``. Another model's thought signatures count as corrupted."""
        if answer.status == 400 and _CORRUPTED in answer.body.lower():
            return Remedy.NO_REASONING
        return overflow(answer)

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return "application/json", _error(status, code, message)

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``."""
        return b"data: " + _error(503, code, message) + b"\n\n"


def _error(status: int, code: str, message: str) -> bytes:
    reason = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": code.upper(),
        "domain": "backstory",
    }
    named = _STATUSES.get(status, "INTERNAL")
    return dump(
        {"error": {"code": status, "message": message, "status": named, "details": [reason]}}
    )


def _values(fields: Mapping[str, Sequence[Value]], names: Sequence[str]) -> list[object]:
    return [place.value for name in names for place in fields.get(name, ())]


_: type[Dialect] = Gemini

"""Anthropic's Messages API (``docs/dialects.md`` 5).

A prompt is the list ``messages``, history goes to its head; instructions stand beside it, in
``system``. A reply is one JSON object, or an event stream of its blocks.
"""

from collections.abc import Mapping, Sequence

from backstory.jsonbody import NotJson, Value, dump
from backstory.jsonbody import read_object as read_json
from backstory.model import Answer, Beginning, Marker, Message, Prompt, Remedy, Reply, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects import _adjacency, _chat, _thinking
from backstory_plugins.dialects._anthropic_reply import read_object, read_stream
from backstory_plugins.dialects._blocks import (
    FORM,
    merged,
    read_message,
    text_of,
    without_thinking,
)
from backstory_plugins.dialects._cache_marks import unmarked, unmarked_value
from backstory_plugins.dialects._event_blocks import STOPS
from backstory_plugins.dialects._listed import put_in, read_list, walk
from backstory_plugins.dialects._overflow import overflow
from backstory_plugins.dialects._sse import EVENT_STREAM

_STOP = Marker(STOPS, line_start=True)

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    **dict.fromkeys((400, 405, 409, 412, 422), "invalid_request_error"),
}
# As servers spell it, in lower case and without the backticks that only some of them set.
_REFUSED_THINKING = (
    b"invalid signature in thinking block",
    b"thinking or redacted_thinking blocks in the latest assistant message cannot be modified",
)


class Anthropic:
    """See ``spi.Dialect``."""

    name = "anthropic"
    form = FORM
    names_replies = False

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``. ``insert_at``: an offset in the bytes, and how many elements follow."""
        try:
            text, fields = walk(body, "messages", begun)
            listed = read_list(text, fields, "messages", read_message, begun, pins=False)
            if listed is None or _keeps_thread(fields):
                return None
            claimed, new = _chat.split(merged(listed.messages))
            pinned = _pinned(fields)
        except NotJson:
            return None
        limits = [limit.value for limit in fields.get("max_tokens", ())]
        model = fields["model"][-1].value if "model" in fields else ""
        return Prompt(
            body,
            pinned,
            claimed,
            new,
            insert_at=listed.insert_at,
            prefill=bool(new) and new[-1].role == "assistant",
            auxiliary=_chat.asks_one_token(limits),
            model=model if isinstance(model, str) else "",
            reply_tokens=_chat.longest_reply(limits),
            fixed_tokens=_chat.schema_tokens(fields.get("tools", ())),
            begins=listed.begins,
        )

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``. ``pinned`` is told if the client says nothing of ``system``."""
        body = prompt.body
        following = (*prompt.claimed, *prompt.new)
        told = _adjacency.legal(history, following)
        system = _system(pinned) if not prompt.pinned else None
        if any(b"thinking" in message.raw for message in told):
            loop = _adjacency.loop_start(told, following)
            told = _thinking.told(told, loop, _bound(body, system))
        spelled = [unmarked(message.raw) for message in told]
        body = put_in(body, prompt.insert_at, spelled, preceded=False)
        if system is not None:
            begin = body.index(b"{") + 1
            body = body[:begin] + b'"system": ' + dump(system) + b", " + body[begin:]
        return body

    def told(self, message: Message) -> Message | None:
        """See ``spi.Dialect``. Instructions within a conversation have no place that all models allow."""
        told = _chat.told(message)
        if told is None or told.role == "system" or not _chat.stored_text(told).strip():
            return None
        return told._replace(form=FORM)

    def without_calls(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return _adjacency.without_calls(message)

    def without_reasoning(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return without_thinking(message)

    def end_marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect``."""
        return _STOP if media_type == EVENT_STREAM else None

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        try:
            if answer.media_type == EVENT_STREAM:
                return read_stream(prompt, answer)
            return read_object(prompt, answer)
        except (NotJson, RecursionError):  # it could be parsed, but not be compared or written
            return Reply(Verdict.ERROR)

    def remedy(self, answer: Answer) -> Remedy | None:
        """See ``spi.Dialect``."""
        said = answer.body.lower().replace(b"`", b"")
        if answer.status == 400 and any(words in said for words in _REFUSED_THINKING):
            return Remedy.NO_REASONING
        return overflow(answer)

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return "application/json", _error(_ERROR_TYPES.get(status, "api_error"), message)

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``."""
        return b"event: error\ndata: " + _error("api_error", message) + b"\n\n"


def _error(kind: str, message: str) -> bytes:
    return dump({"type": "error", "error": {"type": kind, "message": message}})


def _keeps_thread(fields: Mapping[str, Sequence[Value]]) -> bool:
    """The upstream keeps this conversation: told by us, it would be there twice."""
    return any(thread.value is not None for thread in fields.get("thread", ()))


def _pinned(fields: Mapping[str, Sequence[Value]]) -> tuple[Message, ...]:
    """What ``system`` says, as a message that other dialects can tell too; one that says nothing counts."""
    if "system" not in fields:
        return ()
    system = fields["system"][-1].value
    content = unmarked_value(system) if isinstance(system, str | list) else ""
    try:
        message = _chat.read_message(value := {"role": "system", "content": content}, dump(value))
    except RecursionError as exc:
        raise NotJson("nested too deep") from exc
    assert message is not None
    return (message._replace(form=FORM),)


def _system(pinned: Sequence[bytes]) -> object:
    """``system`` for stored instructions of whichever form; ``None`` if they say nothing."""
    texts = [text for raw in pinned for text in _texts(raw) if text.strip()]
    if len(texts) > 1:
        return [{"type": "text", "text": text} for text in texts]
    return texts[0] if texts else None


def _texts(raw: bytes) -> list[str]:
    try:
        content = read_json(raw).get("content")
    except NotJson:
        return []  # nested as deep as can be
    return (
        [text_of([block]) for block in content] if isinstance(content, list) else [text_of(content)]
    )


def _bound(body: bytes, system: object) -> dict[str, object]:
    """The fields of ``body`` that bind thinking, with the ``system`` that is put in."""
    try:
        fields = read_json(body)
    except NotJson:  # read before, but nested as deep as can be
        return {}
    return fields if system is None else fields | {"system": system}


_: type[Dialect] = Anthropic

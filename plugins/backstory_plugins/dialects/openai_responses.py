"""OpenAI's Responses, and what other servers make of them (``docs/dialects.md`` 4).

A prompt is ``input``, a string or a list of items; history goes behind its leading system messages.
What a client says of state that the upstream should keep is taken out of the request: it is kept here.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from backstory.fingerprint import estimate_tokens
from backstory.jsonbody import NotJson, Value, decode, dump
from backstory.model import Answer, Beginning, Marker, Message, Prompt, Remedy, Reply, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects._chat import (
    asks_one_token,
    longest_reply,
    schema_tokens,
    split,
    stored_text,
)
from backstory_plugins.dialects._fields import places_of
from backstory_plugins.dialects._input import Edit, insert, read_input
from backstory_plugins.dialects._items import items_of
from backstory_plugins.dialects._listed import walk
from backstory_plugins.dialects._openai import error_body, error_object
from backstory_plugins.dialects._overflow import overflow
from backstory_plugins.dialects._references import has_references, resolved
from backstory_plugins.dialects._responses import read_events, read_response
from backstory_plugins.dialects._runs import (
    FORM,
    NOT_TOLD,
    without_calls,
    without_reasoning,
)
from backstory_plugins.dialects._sse import EVENT_STREAM

_STATE = ("previous_response_id", "conversation")
_PARAMS = {"previous_response_not_found": "previous_response_id"}

# A failure has nothing to wait for: it goes to the client at once.
_ENDS = (b"response.completed", b"response.incomplete")
_MARKER = Marker(
    tuple(opening + end for end in _ENDS for opening in (b"event: ", b"event:"))
    + tuple(
        b"data:" + blank + b'{"type":' + inner + b'"' + end + b'"'
        for end in _ENDS
        for blank in (b" ", b"")
        for inner in (b"", b" ")
    ),
    line_start=True,
)

# The words of OpenAI's errors, in lower case, as its users report them (November 2026).
_ABOUT_REASONING = (
    b"invalid_encrypted_content",  # openai/codex #8145
    b"without its required",  # "following item", "reasoning item": continuedev/continue #8933, #11466
    b"items are not persisted",  # when `store` is set to false
)


class OpenAIResponses:
    """See ``spi.Dialect``."""

    name = "openai.responses"
    form = FORM

    def __init__(self, *, state: Literal["proxy", "upstream"] = "proxy") -> None:
        """Who keeps what ``previous_response_id``, ``conversation`` and references to items refer to.

        Args:
            state: ``upstream``: requests that have one of them are passed through.
        """
        self._keeps_state = self.names_replies = state == "proxy"

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``. ``insert_at``: see ``read_input``."""
        try:
            # What the last message that is known consists of may go on.
            begun = begun and begun.first(len(begun.messages) - 1)
            text, fields = walk(body, "input", begun)
            follows, conversation = _state(fields)
            if _last(fields, "background") is True or len(fields.get("input", ())) != 1:
                return None
            if (follows or conversation) and not self._keeps_state:
                return None
            stores = _last(fields, "store") is not False
            if self._keeps_state and has_references(fields["input"][0]):
                return Prompt(
                    *(body, (), (), ()),
                    follows=follows,
                    conversation=conversation,
                    stores=stores,
                    resolve=partial(resolved, body),
                )
            listed = read_input(text, fields["input"][0], begun)
        except NotJson:
            return None
        claimed, new = split(listed.messages[listed.pinned :])
        most = [limit.value for limit in fields.get("max_output_tokens", ())]
        model = _last(fields, "model")
        return Prompt(
            body,
            listed.messages[: listed.pinned],
            claimed,
            new,
            insert_at=listed.insert_at,
            prefill=bool(new) and new[-1].role == "assistant",
            auxiliary=asks_one_token(most),
            model=model if isinstance(model, str) else "",
            reply_tokens=longest_reply(most),
            fixed_tokens=schema_tokens([*fields.get("tools", ()), *fields.get("instructions", ())]),
            follows=follows,
            conversation=conversation,
            stores=stores,
            begins=listed.begins,
        )

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """See ``spi.Dialect``. What refers to state of ours is left out, whatever is told."""
        told = [raw for each in pinned if (raw := _pinned(each))]
        told += [message.raw for message in history if message.note != NOT_TOLD]
        edits = insert(prompt, b", ".join(told)) if told else []
        if prompt.follows or prompt.conversation:
            edits += _state_places(prompt.body)
        if not edits:
            return prompt.body
        pieces, at = [], 0
        for start, end, piece in sorted(edits):
            pieces += [prompt.body[at:start], piece]
            at = end
        return b"".join([*pieces, prompt.body[at:]])

    def told(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        text = stored_text(message)
        if not text or message.role == "tool":
            return None
        raw = _spelled(message.role, text)
        tokens = estimate_tokens(len(raw))
        return message._replace(raw=raw, calls=(), answers=(), tokens=tokens, form=FORM, note=b"")

    def without_calls(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return without_calls(message)

    def without_reasoning(self, message: Message) -> Message | None:
        """See ``spi.Dialect``."""
        return without_reasoning(message)

    def end_marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect``."""
        return _MARKER if media_type == EVENT_STREAM else None

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``."""
        try:
            if answer.media_type == EVENT_STREAM:
                return read_events(prompt, answer)
            return read_response(prompt, answer)
        except (NotJson, RecursionError):  # it could be parsed, but not be compared or written
            return Reply(Verdict.ERROR)

    def remedy(self, answer: Answer) -> Remedy | None:
        """See ``spi.Dialect``."""
        if answer.status in (400, 404):
            said = answer.body.lower()
            if any(words in said for words in _ABOUT_REASONING):
                return Remedy.NO_REASONING
        return overflow(answer)

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return error_body(status, code, message, param=_PARAMS.get(code))

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``. With ``error`` in it as well: SDKs raise for that alone."""
        error = error_object("server_error", code, message)
        event = {"type": "error", "code": code, "message": message, "param": None, "error": error}
        return b"event: error\ndata: " + dump(event) + b"\n\n"


def _last(fields: Mapping[str, Sequence[Value]], key: str) -> object:
    return fields[key][-1].value if key in fields else None


def _state(fields: Mapping[str, Sequence[Value]]) -> tuple[str, str]:
    """The response and the conversation that the request names; each empty if it names none.

    Raises:
        NotJson: twice, or not as the API spells it.
    """
    names: list[str] = []
    for key in _STATE:
        value = _last(fields, key)
        if key == "conversation" and isinstance(value, dict):
            value = value.get("id") or ""
        if value is None:
            names.append("")
            continue
        if not isinstance(value, str) or not value or len(fields[key]) != 1:
            raise NotJson(f"{key} is no name")
        names.append(value)
    return names[0], names[1]


def _state_places(body: bytes) -> list[Edit]:
    text = decode(body)
    return [
        (len(text[:start].encode()), len(text[:end].encode()), b"")
        for start, end in places_of(text, _STATE)
    ]


def _pinned(raw: bytes) -> bytes:
    """A stored system message, perhaps of another dialect, as this one spells it; empty if it cannot."""
    message = Message("system", raw, b"", b"", form=FORM)
    try:
        contents = [item.value.get("content") for item in items_of(message)]
    except NotJson:
        return b""
    parts = [part for content in contents if isinstance(content, list) for part in content]
    others = any(not isinstance(part, dict) or part.get("type") == "text" for part in parts)
    return _spelled("system", stored_text(message)) if others else raw


def _spelled(role: str, text: str) -> bytes:
    """A message with every key that the API's schema asks for."""
    kind = "output_text" if role == "assistant" else "input_text"
    part: dict[str, object] = {"type": kind, "text": text}
    message: dict[str, object] = {"type": "message", "role": role, "content": [part]}
    if role == "assistant":
        part["annotations"] = []
        ident = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        message |= {"id": f"msg_{ident[:32]}", "status": "completed"}
    return dump(message)


_: type[Dialect] = OpenAIResponses

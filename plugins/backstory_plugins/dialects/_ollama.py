"""A message as Ollama spells it: text and pictures apart, tool calls without ids.

The form ``ollama``. Calls and results are paired by their position: the n-th result behind a
message answers the n-th call in it. Newer servers give calls an id, but few clients send it back.
"""

from collections.abc import Iterable, Iterator, Mapping

from backstory.fingerprint import estimate_tokens, fingerprints
from backstory.jsonbody import NotJson
from backstory.model import Marker, Message, Role
from backstory_plugins.dialects import _chat
from backstory_plugins.dialects._chat import Call, says_something, text_of

FORM = "ollama"

DONE = Marker((b'"done":true', b'"done": true'), line_start=False, top_level=True)
"""How a stream of lines says that it is complete, here and in ``/api/generate``."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_IMAGE_TOKENS = 1500  # dialects.md C.4: base64 says nothing about the tokens of what it spells


def read_message(value: object, raw: bytes) -> Message | None:
    """The message ``value``, spelled ``raw``; ``None`` if it has no role that this API knows.

    What a result answers is known from its neighbours alone: see ``paired``.

    Raises:
        NotJson: nested too deep to be compared with anything.
    """
    if not isinstance(value, dict):
        return None
    named = value.get("role")
    role = _ROLES.get(named.lower()) if isinstance(named, str) else None
    if role is None:
        return None
    try:
        return _noted(role, value, raw)
    except RecursionError as exc:
        raise NotJson("nested too deep") from exc


def _noted(role: Role, value: Mapping[str, object], raw: bytes) -> Message:
    text = text_of(value)
    images = list(_images(value))
    calls = calls_of(value) if role == "assistant" else []
    results: list[tuple[str, str]] = []
    if role == "tool":
        results, text = [(_answered(value), text)], ""
    fingerprint, spine = fingerprints(
        role,
        text,
        media=images,
        calls=[(call.name, call.arguments) for call in calls],
        results=results,
    )
    size = len(raw) - sum(map(len, images))
    return Message(
        role,
        raw,
        fingerprint,
        spine,
        calls=tuple(_place(at) for at in range(len(calls))),
        tokens=_IMAGE_TOKENS * len(images) + estimate_tokens(max(size, 0)),
        form=FORM,
    )


def paired(messages: Iterable[Message]) -> Iterator[Message]:
    """``messages``, each result with the place of the call that it answers."""
    at = 0
    for message in messages:
        if message.role == "tool":
            yield message._replace(answers=(_place(at),))
            at += 1
        else:
            yield message
            at = 0


def calls_of(value: Mapping[str, object]) -> list[Call]:
    """The tool calls of a message. Arguments that are ``null`` are none: Go spells an empty map so."""
    calls = _chat.calls_of({"tool_calls": value.get("tool_calls")})
    return [_whole(call) if call.arguments is None and call.name else call for call in calls]


def shows_something(value: Mapping[str, object]) -> bool:
    """Whether the message has something to show, calls aside."""
    return says_something(value) or any(True for _ in _images(value))


def told(message: Message) -> Message | None:
    """See ``spi.Dialect``: role and text are spelled as in Chat Completions."""
    plain = _chat.told(message)
    return plain and plain._replace(form=FORM)


def _whole(call: Call) -> Call:
    return call._replace(arguments={}, whole=True)


def _images(value: Mapping[str, object]) -> Iterator[str]:
    images = value.get("images")
    for image in images if isinstance(images, list) else ():
        if isinstance(image, str):
            yield image


def _answered(value: Mapping[str, object]) -> str:
    """Whose result it is, as far as the message says."""
    names = (value.get(key) for key in ("tool_name", "tool_call_id"))
    return next((name for name in names if isinstance(name, str) and name), "")


def _place(at: int) -> str:
    return f"#{at}"

"""A message in chat form, ``{"role": …, "content": …}``: what it says and what memory notes of it.

The form ``chat``, which the dialects of raw text share. Messages of other forms are told by their
text, so that each dialect can tell the history of the others. Values come from strangers: any key
may hold any JSON.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from backstory.fingerprint import estimate_tokens, fingerprints, text_fingerprints
from backstory.jsonbody import NotJson, Value, dump, walk_object
from backstory.model import Message, Role, made

_ROLES: dict[str, Role] = {
    "developer": "system",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_TEXT_PARTS = ("text", "input_text", "output_text")
_REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
_WITH_CALLS = ("tool_calls", "function_call", *_REASONING)

# dialects.md C.4: base64 says nothing about the tokens of what it spells.
IMAGE_TOKENS = 1500
_MEDIA_BYTES_PER_TOKEN = 20


class Call(NamedTuple):
    """One tool call that an assistant message asks for."""

    id: str
    """The function's name for a legacy ``function_call``; empty if the server gave none."""
    name: str
    arguments: object
    """Parsed, or as they came if they do not parse."""
    whole: bool
    """The arguments parse: the call was not cut."""


def read_message(value: object, raw: bytes) -> Message | None:
    """The message ``value``, spelled ``raw``; ``None`` if it has no role that this API knows.

    Raises:
        NotJson: nested too deep to be compared with anything.
    """
    if not isinstance(value, dict):
        return None
    named = value.get("role")
    role = _ROLES.get(named) if isinstance(named, str) else None
    if role is None:
        return None
    content = value.get("content")
    if type(content) is str and len(value) == 2 and role != "tool":
        plain, spine = text_fingerprints(role, content)
        tokens = estimate_tokens(len(raw))
        return made(Message, (role, raw, plain, spine, (), (), tokens, "chat", b""))
    try:
        return _noted(role, value, raw)
    except RecursionError as exc:
        raise NotJson("nested too deep") from exc


def _noted(role: Role, value: Mapping[str, object], raw: bytes) -> Message:
    text = text_of(value)
    media = list(_media(value.get("content")))
    calls = calls_of(value) if role == "assistant" else ()
    results: tuple[tuple[str, str], ...] = ()
    if role == "tool":
        named = "name" if value["role"] == "function" else "tool_call_id"
        results, text = ((_string(value.get(named)), text),), ""
    fingerprint, spine = fingerprints(
        role,
        text,
        media=[data for data, _ in media],
        calls=[(call.name, call.arguments) for call in calls],
        results=results,
    )
    size, tokens = len(raw), 0
    for data, worth in media:
        size -= len(data)
        tokens += worth
    return Message(
        role,
        raw,
        fingerprint,
        spine,
        calls=tuple([call.id for call in calls if call.id]),
        answers=tuple([answered for answered, _ in results if answered]),
        tokens=tokens + estimate_tokens(size),
    )


def plain_message(role: Role, text: str) -> Message:
    """A message of nothing but text, in the spelling that all dialects can tell."""
    value = {"role": role, "content": text}
    return _noted(role, value, dump(value))


def split(messages: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """What is claimed to be history, and what is new: the run at the end without an assistant.

    An assistant message at the very end is a prefill, and new with the run before it.
    """
    at = len(messages)
    if messages and messages[-1].role == "assistant":
        at -= 1
    while at and messages[at - 1].role != "assistant":
        at -= 1
    return tuple(messages[:at]), tuple(messages[at:])


def asks_one_token(values: Sequence[object]) -> bool:
    """Whether a limit among ``values`` leaves no room for a reply: a cache warm-up, a probe."""
    # Not for negative numbers: LM Studio and llama.cpp read -1 as "no limit".
    for value in values:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return True
    return False


def longest_reply(values: Sequence[object]) -> int | None:
    """The limit on the reply among ``values``, where there is one."""
    longest: int | None = None
    for value in values:
        if type(value) is int and value > (longest or 0):
            longest = value
    return longest


def schema_tokens(values: Sequence[Value]) -> int:
    """Estimate of what tool schemas fill: tokens of the JSON at ``values``."""
    return sum([estimate_tokens(value.end - value.start) for value in values])


def text_of(value: Mapping[str, object]) -> str:
    """All text parts joined, exactly as spelled; a refusal if there is no text."""
    content = value.get("content", value.get("parts"))
    if isinstance(content, list):
        content = "".join(_part_text(part) for part in content)
    return _string(content) or _string(value.get("refusal"))


def _part_text(part: object) -> str:
    if isinstance(part, dict):
        if part.get("thought") is True:
            return ""  # Gemini's reasoning
        if part.get("type", "text") in _TEXT_PARTS:
            return _string(part.get("text"))
        return _string(part.get("refusal"))
    return _string(part)


def says_something(value: Mapping[str, object]) -> bool:
    """Whether the message has something to show, calls aside: text, a refusal, media, speech."""
    return bool(
        text_of(value).strip() or value.get("audio") or next(_media(value.get("content")), None)
    )


def _media(content: object) -> Iterator[tuple[str, int]]:
    """Each URL or base64 string in ``content``, with an estimate of its tokens."""
    if not isinstance(content, list):
        return
    for part in content:
        match part:
            case {"image_url": {"url": str(url)}} | {"image_url": str(url)}:
                yield url, IMAGE_TOKENS
            case (
                {"input_audio": {"data": str(data)}}
                | {"file": {"file_data": str(data)}}
                | {"file": {"file_id": str(data)}}
            ):
                yield data, len(data) // _MEDIA_BYTES_PER_TOKEN
            case _:
                pass


def calls_of(value: Mapping[str, object]) -> list[Call]:
    """The tool calls of an assistant message; what cannot be read as one is a call not whole."""
    items = value.get("tool_calls") or []
    calls = [_call(item) for item in (items if isinstance(items, list) else [items])]
    if legacy := value.get("function_call"):
        call = _function("", legacy)
        calls.append(call._replace(id=call.name))
    return calls


def _call(item: object) -> Call:
    if not isinstance(item, dict):
        return Call("", "", item, False)
    ident, custom = _string(item.get("id")), item.get("custom")
    if isinstance(custom, dict):
        text = custom.get("input")
        return Call(ident, _string(custom.get("name")), text, isinstance(text, str))
    return _function(ident, item.get("function"))


def _function(ident: str, function: object) -> Call:
    if not isinstance(function, dict):
        return Call(ident, "", function, False)
    name, arguments = _string(function.get("name")), function.get("arguments")
    if not isinstance(arguments, str):  # some servers send the object itself
        return Call(ident, name, arguments, isinstance(arguments, dict))
    try:
        return Call(ident, name, json.loads(arguments), True)
    except (RecursionError, ValueError):
        return Call(ident, name, arguments, False)


def without_calls(message: Message) -> Message | None:
    """See ``spi.Dialect``. The fingerprint stays: it is still that stored message."""
    if not message.calls:
        return message
    try:
        text = message.raw.decode()
        fields = walk_object(text)
        kept = {key: values[-1] for key, values in fields.items() if key not in _WITH_CALLS}
    except (NotJson, UnicodeDecodeError):
        return None
    if not says_something({key: place.value for key, place in kept.items()}):
        return None
    return _respelled(message, text, kept)._replace(calls=())


def joined(values: Sequence[object]) -> object:
    """Contents that follow each other as one: a string if all are, else an array of parts.

    ``None`` if there is no content among them.
    """
    contents = [value for value in values if isinstance(value, str | list)]
    if not contents:
        return None
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "".join(texts)
    parts: list[object] = []
    run: list[str] = []
    for content in [*contents, []]:
        if isinstance(content, str):
            run.append(content)
            continue
        if text := "".join(run):
            parts.append({"type": "text", "text": text})
        run = []
        parts += content
    return parts


def stored_text(message: Message) -> str:
    """The text of a stored message of any form; empty if it has none that can be read."""
    try:
        objects = json.loads(b"[" + message.raw + b"]")
        return "".join(text_of(value) for value in objects if isinstance(value, dict))
    except (RecursionError, ValueError):
        return ""


def told(message: Message) -> Message | None:
    """See ``spi.Dialect``, for dialects whose form is ``chat``."""
    text = stored_text(message)
    if not text or message.role == "tool":
        return None
    raw = dump({"role": message.role, "content": text})
    tokens = estimate_tokens(len(raw))
    return message._replace(raw=raw, calls=(), answers=(), tokens=tokens, form="chat", note=b"")


def without_reasoning(message: Message) -> Message | None:
    """See ``spi.Dialect``. The fingerprint stays: it never covered the reasoning."""
    if not any(key.encode() in message.raw for key in _REASONING):
        return message
    try:
        text = message.raw.decode()
        fields = walk_object(text)
    except (NotJson, UnicodeDecodeError):
        return None
    kept = {key: values[-1] for key, values in fields.items() if key not in _REASONING}
    if len(kept) == len(fields):
        return message
    if not says_something({key: place.value for key, place in kept.items()}) and not message.calls:
        return None
    return _respelled(message, text, kept)


def _respelled(message: Message, text: str, kept: Mapping[str, Value]) -> Message:
    """``message`` with the fields ``kept`` of its ``text``, each as it was spelled."""
    spelled = (dump(key) + b":" + text[p.start : p.end].encode() for key, p in kept.items())
    raw = b"{" + b",".join(spelled) + b"}"
    tokens = max(1, message.tokens - estimate_tokens(len(message.raw)) + estimate_tokens(len(raw)))
    return message._replace(raw=raw, tokens=tokens)


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""

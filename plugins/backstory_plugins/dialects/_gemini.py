"""A message as Gemini spells it: a content, ``{"role": "user" | "model", "parts": [...]}``.

The form ``gemini``. The system instruction stands outside the list, and is told as a message in
chat form, which the other dialects can pin too.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from backstory.fingerprint import estimate_tokens, fingerprints
from backstory.jsonbody import NotJson, dump
from backstory.model import Message, Role
from backstory_plugins.dialects._chat import plain_message, stored_text, text_of
from backstory_plugins.dialects._gemini_parts import (
    Keep,
    Part,
    Spelled,
    by_place,
    calls_in,
    is_signed,
    is_thought,
    joined,
    media_in,
    parts_of,
    replaced,
    results_in,
    shows,
    spelled_parts,
    without_signature,
)

FORM = "gemini"

_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "tool"}


def read_message(value: object, raw: bytes) -> Message | None:
    """The message ``value``, spelled ``raw``; ``None`` if it is no content that this API knows.

    Raises:
        NotJson: nested too deep to be compared with anything.
    """
    if not isinstance(value, dict):
        return None
    named = value.get("role") or "user"
    role = _ROLES.get(named) if isinstance(named, str) else None
    parts = parts_of(value)
    if role is None or parts is None:
        return None
    try:
        return _noted(role, value, parts, raw)
    except RecursionError as exc:
        raise NotJson("nested too deep") from exc


def _noted(role: Role, value: Mapping[str, object], parts: Sequence[Part], raw: bytes) -> Message:
    calls = calls_in(parts) if role == "assistant" else []
    results = results_in(parts) if role != "assistant" else []
    if role != "assistant":
        role = "tool" if results else "user"
    media = list(media_in(parts))
    fingerprint, spine = fingerprints(
        role,
        text_of({"parts": value.get("parts")}),
        media=[data for data, _ in media],
        calls=[(call.name, call.arguments) for call in calls],
        # By name: many clients leave out the id that the server gave.
        results=[(result.name, result.text) for result in results],
    )
    size = len(raw) - sum(len(data) for data, _ in media)
    # A call is known by both, because a result may come back without the id.
    asked = [call.id for call in calls if call.id] + by_place(calls)
    answered = [
        result.id or place for result, place in zip(results, by_place(results), strict=True)
    ]
    return Message(
        role,
        raw,
        fingerprint,
        spine,
        calls=tuple(asked),
        answers=tuple(answered),
        tokens=sum(worth for _, worth in media) + estimate_tokens(max(size, 0)),
        form=FORM,
    )


def runs_joined(messages: Iterable[Message]) -> Iterator[Message]:
    """``messages``, those of the model that follow each other as the one that they were.

    Google's SDK keeps each piece of a streamed reply as a content of its own.
    """
    for by_model, run in groupby(messages, lambda message: message.role == "assistant"):
        contents = list(run)
        if not by_model or len(contents) == 1:
            yield from contents
            continue
        parts = [part for content in contents for part in spelled_parts(content.raw.decode())]
        raw = model_content(parts)
        whole = read_message(json.loads(raw), raw)
        assert whole is not None
        yield whole


def model_content(parts: Iterable[Spelled]) -> bytes:
    """A content of the model, each part as it was spelled but for text that runs on."""
    return ('{"role":"model","parts":[' + ",".join(joined(parts)) + "]}").encode()


def system_message(value: object) -> Message | None:
    """The system instruction as a message in chat form; ``None`` if it has no text."""
    text = text_of(value) if isinstance(value, dict) else ""
    return plain_message("system", text) if text else None


def system_instruction(pinned: Sequence[bytes]) -> bytes:
    """Stored system messages of any form as one system instruction; empty without text."""
    try:
        values = json.loads(b"[" + b",".join(pinned) + b"]")
    except (RecursionError, ValueError):
        return b""
    texts = [text_of(value) for value in values if isinstance(value, dict)]
    parts = [{"text": text} for text in texts if text]
    return dump({"parts": parts}) if parts else b""


def told(message: Message) -> Message | None:
    """See ``spi.Dialect``. A system message among the others is told as the user's: no other role fits."""
    text = stored_text(message)
    if not text or message.role == "tool":
        return None
    role = "model" if message.role == "assistant" else "user"
    raw = dump({"role": role, "parts": [{"text": text}]})
    tokens = estimate_tokens(len(raw))
    return message._replace(raw=raw, calls=(), answers=(), tokens=tokens, form=FORM, note=b"")


def without_calls(message: Message) -> Message | None:
    """See ``spi.Dialect``. The reasoning that led to the calls goes with them."""
    if not message.calls:
        return message
    left = _with_parts(message, lambda part: part.raw if shows(part.value) else None)
    return left and left._replace(calls=())


def without_reasoning(message: Message) -> Message | None:
    """See ``spi.Dialect``: without thoughts, and without the signatures of those that are left out."""
    if b"hought" not in message.raw:
        return message
    return _with_parts(message, _without_reasoning)


def _without_reasoning(part: Spelled) -> str | None:
    if is_thought(part.value):
        return None
    if not is_signed(part.value):
        return part.raw
    unsigned = without_signature(part)
    return None if json.loads(unsigned) in ({}, {"text": ""}) else unsigned


def _with_parts(message: Message, keep: Keep) -> Message | None:
    """``message`` with its parts as ``keep`` tells them; itself if it keeps them all as they are."""
    try:
        text = message.raw.decode()
        parts = spelled_parts(text)
        kept = [spelled for part in parts if (spelled := keep(part)) is not None]
        if kept == [part.raw for part in parts]:
            return message
        if not kept:
            return None
        raw = replaced(text, kept)
    except (NotJson, UnicodeDecodeError):
        return None
    tokens = max(1, message.tokens - estimate_tokens(len(message.raw)) + estimate_tokens(len(raw)))
    return message._replace(raw=raw, tokens=tokens)

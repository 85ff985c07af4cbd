"""A reply of Gemini as memory keeps it (``docs/dialects.md`` 9): one object, an array, or events."""

import json
import logging
from collections.abc import Sequence
from typing import NamedTuple

from backstory.jsonbody import NotJson, Value, decode, walk_array, walk_object
from backstory.model import Answer, Prompt, Reply, Verdict
from backstory_plugins.dialects._completion import counted, is_json
from backstory_plugins.dialects._gemini import model_content, read_message
from backstory_plugins.dialects._gemini_parts import (
    Spelled,
    calls_in,
    shows,
    spelled_parts,
)
from backstory_plugins.dialects._sse import events

log = logging.getLogger(__name__)


_UNSPECIFIED = ("FINISH_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED", "")
_FILTERED = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR"}
    | {"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER"}
    | {"ESCALATION", "PUP_LIMITED_DISABLED"}
)
_FAILED = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "OTHER", "NO_IMAGE"}
    | {"MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"}
)


class _Said(NamedTuple):
    """What one response object says of the candidate with the lowest index."""

    parts: list[Spelled]
    finish: str
    blocked: bool
    failed: bool
    usage: object
    content: str = ""
    """As it was spelled."""


def read_stream(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in an event stream. It has no end of its own: only the framing proves it."""
    said: list[_Said] = []
    for event in events(answer.body):
        data = event.data.strip()
        if not data or data == b"[DONE]":  # gateways send what Google does not
            continue
        try:
            text = decode(data)
            said.append(_response(text, 0, whole=True))
        except NotJson:
            if not event.closed:
                break  # the input was cut in this event; the finish reason decides
            return Reply(Verdict.ERROR)
        if event.name == b"error":
            return Reply(Verdict.ERROR)
    reply = _reply(prompt, said)
    if reply.verdict.kept and not answer.proved:
        return Reply(Verdict.UNPROVED)
    return reply


def read_whole(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in one object or in an array of them; the last bracket proves the end."""
    try:
        text = decode(answer.body)
        said = [_response(text, at, whole=False) for at in _starts(text)]
    except NotJson:
        return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
    return _reply(prompt, said)


def _starts(text: str) -> list[int]:
    """Where each response object begins."""
    try:
        json.loads(text)  # all of it, and nothing behind it
    except (RecursionError, ValueError) as exc:
        raise NotJson(str(exc)) from exc
    at = len(text) - len(text.lstrip(" \t\r\n"))
    if text[at] == "[":
        return [element.start for element in walk_array(text, at)]
    return [at]


def _response(text: str, start: int, *, whole: bool) -> _Said:
    fields = walk_object(text, start, whole=whole)
    values = {key: places[-1].value for key, places in fields.items()}
    feedback = values.get("promptFeedback")
    blocked = feedback.get("blockReason") if isinstance(feedback, dict) else None
    said = _Said(
        [],
        "",
        blocked=isinstance(blocked, str) and blocked not in _UNSPECIFIED,
        failed=bool(values.get("error")),
        usage=values.get("usageMetadata"),
    )
    places = walk_array(text, fields["candidates"][-1].start) if values.get("candidates") else []
    candidates = [place for place in places if isinstance(place.value, dict)]
    if not candidates:
        return said
    candidate = walk_object(text, min(candidates, key=_index).start, whole=False)
    finish = candidate["finishReason"][-1].value if "finishReason" in candidate else ""
    said = said._replace(finish=finish if isinstance(finish, str) else "")
    content = candidate.get("content", [Value(None, 0, 0)])[-1]
    if not isinstance(content.value, dict):
        return said
    parts = spelled_parts(text, content.start)
    return said._replace(parts=parts, content=text[content.start : content.end])


def _index(candidate: Value) -> int:
    index = candidate.value.get("index") if isinstance(candidate.value, dict) else None
    return index if isinstance(index, int) else 0


def _reply(prompt: Prompt, said: Sequence[_Said]) -> Reply:
    verdict = _verdict(said)
    if not verdict.kept:
        return Reply(verdict)
    parts = [part for each in said for part in each.parts]
    if prompt.prefill:
        parts = spelled_parts(prompt.new[-1].raw.decode()) + parts
    raw = model_content(parts)
    if len(said) == 1 and not prompt.prefill and _is_told_by(said[0].content):
        raw = said[0].content.encode()
    stored = read_message(json.loads(raw), raw)
    if stored is None or stored.role != "assistant" or not is_json(raw):
        return Reply(Verdict.ERROR)
    usage = next((each.usage for each in reversed(said) if each.usage), None)
    return Reply(verdict, (stored,), prompt_tokens=counted(usage, "promptTokenCount"))


def _is_told_by(content: str) -> bool:
    """Whether a content can be sent as it came: some servers leave out the role."""
    fields = walk_object(content)
    return fields.keys() == {"role", "parts"} and fields["role"][-1].value == "model"


def _verdict(said: Sequence[_Said]) -> Verdict:
    if any(each.failed for each in said):
        return Verdict.ERROR
    if any(each.blocked for each in said):
        return Verdict.FILTERED
    # The last one: some servers send STOP with every piece.
    reasons = [each.finish for each in said if each.finish not in _UNSPECIFIED]
    finish = reasons[-1] if reasons else "CONTINUATION"
    if finish == "CONTINUATION":
        return Verdict.ABORTED  # the server itself says that there is more to come
    if finish in _FILTERED:
        return Verdict.FILTERED
    parts = [part.value for each in said for part in each.parts]
    calls = calls_in(parts)
    if finish in _FAILED or not all(call.whole for call in calls):
        return Verdict.ERROR
    shown = any(shows(part) for part in parts)
    if not shown and (not calls or finish == "MAX_TOKENS"):
        return Verdict.EMPTY
    if finish == "MAX_TOKENS":
        return Verdict.TRUNCATED
    if finish != "STOP":
        log.info("gemini: finishReason %.40r is read as a natural stop", finish)
    return Verdict.TOOL if calls else Verdict.COMPLETE

"""A reply of Ollama's chat as memory keeps it (``docs/dialects.md`` 6.1), streamed and not."""

import logging
from collections.abc import Iterable, Mapping

from backstory.jsonbody import NotJson, decode, dump, read_object, walk_object
from backstory.model import Answer, Prompt, Reply, Verdict
from backstory_plugins.dialects._chat import joined
from backstory_plugins.dialects._completion import counted, is_json
from backstory_plugins.dialects._ndjson import read_lines
from backstory_plugins.dialects._ollama import calls_of, read_message, shows_something

log = logging.getLogger(__name__)

_APPENDED = ("content", "thinking")
_EXTENDED = ("tool_calls", "images")


def read_stream(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in a stream of lines, the last of which says ``"done": true``."""
    objects, cut = read_lines(answer.body)
    if any(line.get("error") for line in objects):
        return Reply(Verdict.ERROR)  # under status 200, as one more line
    if cut:
        return Reply(Verdict.ABORTED)
    last = next((line for line in objects if line.get("done") is True), {})
    return _reply(prompt, _folded(line.get("message") for line in objects), last)


def read_whole(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in one JSON object, which proves its own end: the closing brace."""
    try:
        text = decode(answer.body)
        fields = walk_object(text)
    except NotJson:
        return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
    values = {key: places[-1].value for key, places in fields.items()}
    if values.get("error"):
        return Reply(Verdict.ERROR)
    message = values.get("message")
    if not isinstance(message, dict):
        return _reply(prompt, {}, values)
    place = fields["message"][-1]
    return _reply(prompt, message, values, text[place.start : place.end].encode())


def _folded(pieces: Iterable[object]) -> dict[str, object]:
    """One message from the pieces of it, its keys in the order in which they first came."""
    collected: dict[str, list[object]] = {}
    for piece in pieces:
        for key, value in piece.items() if isinstance(piece, dict) else ():
            if value is not None:
                collected.setdefault(key, []).append(value)
    return {key: _folded_values(key, values) for key, values in collected.items()}


def _folded_values(key: str, values: list[object]) -> object:
    if key in _APPENDED:
        return joined(values) or ""
    if key in _EXTENDED:
        return [item for value in values if isinstance(value, list) for item in value]
    return values[-1]


def _reply(
    prompt: Prompt, message: Mapping[str, object], last: Mapping[str, object], spelled: bytes = b""
) -> Reply:
    kept = {"role": "assistant"} | dict(message) | {"role": "assistant"}
    verdict = _verdict(kept, last)
    if not verdict.kept:
        return Reply(verdict)
    if prompt.prefill:
        began = read_object(prompt.new[-1].raw).get("content")
        kept["content"] = joined([began, kept.get("content")])
    raw = spelled if spelled and kept == message else dump(kept)
    stored = read_message(kept, raw)
    if stored is None or not is_json(raw):
        return Reply(Verdict.ERROR)
    return Reply(verdict, (stored,), prompt_tokens=counted(last, "prompt_eval_count"))


def _verdict(message: Mapping[str, object], last: Mapping[str, object]) -> Verdict:
    if last.get("done") is not True:
        return Verdict.ABORTED
    reason = last.get("done_reason")
    if reason in ("load", "unload"):
        return Verdict.EMPTY
    calls = calls_of(message)
    if not all(call.whole for call in calls):
        return Verdict.ERROR
    shown = shows_something(message)
    if not reason and not (shown or calls):
        return Verdict.ABORTED
    if not shown and (not calls or reason == "length"):
        return Verdict.EMPTY
    if reason == "length":
        return Verdict.TRUNCATED
    if not reason and not counted(last, "eval_count"):
        return Verdict.ABORTED  # "connection closed" inside the server prints as no reason at all
    if reason and reason != "stop":
        log.info("ollama.chat: done_reason %.40r is read as a natural stop", reason)
    return Verdict.TOOL if calls else Verdict.COMPLETE

"""A chat completion as memory keeps it: what the answer was, and one message to tell again.

The tables of ``docs/dialects.md`` 2.5 (verdicts) and 2.6 (what of a reply a request may hold).
"""

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backstory.jsonbody import NotJson, decode, dump, read_object, read_object_text
from backstory.model import Answer, Prompt, Reply, Verdict, made
from backstory_plugins.dialects._chat import (
    calls_of,
    joined,
    read_message,
    says_something,
)
from backstory_plugins.dialects._chunks import read_chunks

log = logging.getLogger(__name__)

# What a server says beside the message, and a strict server refuses to hear again with a 422.
_NEVER_KEPT = frozenset({"annotations", "logprobs", "index", "parsed"})
_NATURAL_STOPS = frozenset({"stop", "tool_calls", "function_call"})
_COMPLETE = Verdict.COMPLETE  # to ask an enum for a member is a call (Python 3.11)
_KEY = '"message"'
_MARK = secrets.token_hex(16)
"""What no upstream can have put there."""
_decode = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in typeshed


def read_stream(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in an event stream, which ends with a finish reason and then ``[DONE]``."""
    message, finish, done, usage = read_chunks(answer.body)
    if finish is None:
        return Reply(Verdict.ABORTED)  # even after [DONE]: vLLM and TGI send that after errors too
    if finish != "error" and not (done or answer.proved):
        return Reply(Verdict.ABORTED)  # only the connection's close ended it: anything may lack
    return _reply(prompt, finish, message, usage=usage)


def read_completion(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in a JSON object, which proves its own end: the closing brace."""
    try:
        text = decode(answer.body)
    except NotJson:
        return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
    return _read(prompt, answer, text, _parted(text))


def _read(prompt: Prompt, answer: Answer, text: str, parted: "_Parted | None") -> Reply:
    try:
        fields = read_object_text(text if parted is None else parted.rest)
    except NotJson:
        return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
    if fields.get("error"):
        return Reply(Verdict.ERROR)
    choices = fields.get("choices", [])
    if not isinstance(choices, list):
        return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
    choice = _first_choice(choices)
    said, spelled = choice.get("message"), ""
    if parted is not None:
        if said != _MARK:
            return _read(prompt, answer, text, None)
        _, said, spelled = parted
    message = said if isinstance(said, dict) else {}
    finish = choice.get("finish_reason")
    if finish is None and "finish_reason" in choice:
        return Reply(Verdict.ABORTED)  # the server itself says that it has not finished
    why = finish if isinstance(finish, str) else "stop"
    return _reply(prompt, why, message, spelled, usage=fields.get("usage"))


def _first_choice(choices: Sequence[object]) -> dict[str, object]:
    """The choice with the lowest index: the one that memory keeps."""
    if len(choices) == 1 and isinstance(choices[0], dict):
        return choices[0]
    return min([each for each in choices if isinstance(each, dict)], key=_index, default={})


def _index(choice: Mapping[str, object]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


class _Parted(NamedTuple):
    """A whole answer and the message in it, so that what is long is read once and its place known."""

    rest: str
    """The answer with ``_MARK`` in the place of the message."""
    message: object
    spelled: str
    """The message as it stands in the answer."""


def _parted(text: str) -> _Parted | None:
    """``None``: not exactly one value stands under a key ``message``, or it is no JSON."""
    if text.count(_KEY) != 1:
        return None
    at = text.index(_KEY) + len(_KEY)
    try:
        while text[at] in " \t\n\r:":
            at += 1
        message, end = _decode(text, at)
    except (IndexError, RecursionError, StopIteration, ValueError):
        return None  # the text of somebody's message
    return made(_Parted, (f'{text[:at]}"{_MARK}"{text[end:]}', message, text[at:end]))


def _reply(
    prompt: Prompt,
    finish: str,
    message: Mapping[str, object],
    spelled: str = "",
    *,
    usage: object,
) -> Reply:
    content = message.get("content")
    kept: dict[str, object]
    is_plain = len(message) == 2 and "role" in message
    if is_plain and finish == "stop" and type(content) is str and content.strip():
        kept, verdict = {"role": "assistant", "content": content}, _COMPLETE  # nearly always
    else:
        kept = _kept(message)
        verdict = _verdict(finish, kept)
    if not verdict.kept:
        return Reply(verdict)
    if prompt.prefill:
        began = read_object(prompt.new[-1].raw).get("content")
        kept["content"] = joined([began, kept.get("content")])
    raw = spelled.encode() if spelled and kept == message else dump(kept)
    stored = read_message(kept, raw)
    if stored is None or not is_json(raw):
        return Reply(Verdict.ERROR)
    return made(Reply, (verdict, (stored,), "", counted(usage, "prompt_tokens")))


def counted(usage: object, *names: str) -> int | None:
    """The sum of the counts ``names`` in an answer's ``usage``; ``None`` if none is there."""
    if not isinstance(usage, dict):
        return None
    total: int | None = None
    for name in names:
        count = usage.get(name)
        if type(count) is int and count >= 0:
            total = count + (total or 0)
    return total


def _kept(message: Mapping[str, object]) -> dict[str, object]:
    """The reply as a message that can be sent in a request."""
    kept: dict[str, object] = {"role": "assistant"}
    content = message.get("content")
    if "content" in message and (content is None or isinstance(content, str | list)):
        kept["content"] = content
    for key, value in message.items():
        if key in _NEVER_KEPT or key.startswith("content_filter") or key in ("role", "content"):
            continue
        if key == "tool_calls" and isinstance(value, list):
            value = [_without_index(call) for call in value]
        elif key == "audio":
            value = _audio(value)
        if value is not None and value != []:
            kept[key] = value
    return kept


def _without_index(call: object) -> object:
    if isinstance(call, dict) and "index" in call:
        return {key: value for key, value in call.items() if key != "index"}
    return call


def _audio(value: object) -> object:
    """Speech is told again by its id alone."""
    ident = value.get("id") if isinstance(value, dict) else None
    return {"id": ident} if ident else None


def _verdict(finish: str, message: Mapping[str, object]) -> Verdict:
    calls = calls_of(message)
    if finish in ("error", "abort"):
        return Verdict.ERROR
    if finish == "content_filter":
        return Verdict.FILTERED
    if not all(call.whole for call in calls):
        return Verdict.ERROR
    said = says_something(message)
    if not said and (not calls or finish == "length"):
        return Verdict.EMPTY
    if finish == "length":
        return Verdict.TRUNCATED
    if finish not in _NATURAL_STOPS:
        log.info("openai.chat: finish_reason %.40r is read as a natural stop", finish)
    return Verdict.TOOL if calls else Verdict.COMPLETE


def is_json(raw: bytes) -> bool:
    """Whether ``raw``, which Python has read or written, is JSON for everybody else too.

    Python reads 1E400 and writes Infinity: told again, that would fail every later request.
    """
    if b"NaN" not in raw and b"Infinity" not in raw:
        return True
    try:
        json.loads(raw, parse_constant=_refuse)
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> object:
    raise ValueError(constant)

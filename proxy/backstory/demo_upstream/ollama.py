"""Ollama's chat: messages and tools as in Chat Completions, an answer as lines of JSON or as one."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from backstory.demo_upstream import openai_chat
from backstory.demo_upstream.openai_completion import Completion
from backstory.jsonbody import dump

_Fields = dict[str, object]


def complete(fields: Mapping[str, object]) -> Completion | None:
    """The answer to a request body; ``None`` if it has no list of messages."""
    given = fields.get("options")
    options = given if isinstance(given, dict) else {}
    limits = {"max_tokens": options.get("num_predict"), "stop": options.get("stop")}
    asked = {key: fields.get(key) for key in ("model", "messages", "tools")}
    return openai_chat.complete(asked | limits)


def whole(answer: Completion) -> bytes:
    """One object."""
    said: _Fields = {"content": answer.said.text} if answer.tool is None else _called(answer)
    return dump(_line(answer, said) | _end(answer))


def lines(answer: Completion) -> Iterator[bytes]:
    """A line for each token, or one for a tool call; the last says that the answer is done."""
    said: list[_Fields] = [{"content": token} for token in answer.said.tokens]
    for piece in said if answer.tool is None else [_called(answer)]:
        yield dump(_line(answer, piece) | {"done": False}) + b"\n"
    yield dump(_line(answer, {"content": ""}) | _end(answer)) + b"\n"


def error(message: str) -> bytes:
    """The body of a refusal."""
    return dump({"error": message})


def _called(answer: Completion) -> _Fields:
    function = {"index": 0, "name": answer.tool, "arguments": json.loads(answer.said.text)}
    return {"content": "", "tool_calls": [{"function": function}]}


def _line(answer: Completion, said: _Fields) -> _Fields:
    created = datetime.fromtimestamp(answer.created, UTC).isoformat().replace("+00:00", "Z")
    message = {"role": "assistant"} | said
    return {"model": answer.model, "created_at": created, "message": message}


def _end(answer: Completion) -> _Fields:
    return {
        "done": True,
        "done_reason": "length" if answer.said.truncated else "stop",
        "prompt_eval_count": answer.prompt_tokens,
        "eval_count": len(answer.said.tokens),
    }

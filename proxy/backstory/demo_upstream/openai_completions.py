"""OpenAI's legacy Completions: one JSON object, or server-sent events."""

import time
import uuid
from collections.abc import Iterator

from backstory.demo_upstream.openai_chat import MODEL
from backstory.demo_upstream.raw_prompt import (
    EVENT_STREAM,
    Fields,
    Said,
    Spoken,
    answered,
    object_in,
    whole,
)
from backstory.jsonbody import dump

_MOST_TOKENS = 16  # as OpenAI has it, where a request does not say


def speak(fields: Fields) -> Spoken:
    """The answer to a request body."""
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        message = "'prompt' must be a string, or an array of one."
        error = {"message": message, "type": "invalid_request_error", "param": "prompt"}
        return whole({"error": error | {"code": None}}, status=400)
    limit = fields.get("max_tokens", _MOST_TOKENS)
    said = answered(prompt, max_tokens=limit, stop=fields.get("stop"))
    model = fields.get("model")
    common: dict[str, object] = {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model if isinstance(model, str) else MODEL,
    }
    if fields.get("stream") is not True:
        choice = _choice(said.generated.text, _finish(said))
        return whole(common | {"choices": [choice], "usage": _usage(said)})
    usage = object_in(fields, "stream_options").get("include_usage") is True
    return Spoken(EVENT_STREAM, tuple(_events(common, said, usage=usage)))


def _events(common: dict[str, object], said: Said, *, usage: bool) -> Iterator[bytes]:
    chunks: list[dict[str, object]] = [
        {"choices": [_choice(token, None)]} for token in said.generated.tokens
    ]
    chunks.append({"choices": [_choice("", _finish(said))]})
    if usage:
        chunks.append({"choices": [], "usage": _usage(said)})
    for chunk in chunks:
        yield b"data: " + dump(common | chunk) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _choice(text: str, finish_reason: str | None) -> dict[str, object]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish_reason}


def _finish(said: Said) -> str:
    return "length" if said.generated.truncated else "stop"


def _usage(said: Said) -> dict[str, int]:
    prompt, tokens = said.prompt_tokens, len(said.generated.tokens)
    return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}

"""Ollama's ``/api/generate``: lines of JSON unless the request says ``"stream": false``."""

import time
from collections.abc import Iterator

from backstory.demo_upstream.openai_chat import MODEL
from backstory.demo_upstream.raw_prompt import Fields, Said, Spoken, answered, object_in, whole
from backstory.jsonbody import dump

LINES = "application/x-ndjson"


def speak(fields: Fields) -> Spoken:
    """The answer to a request body; to one without a prompt, that the model is loaded."""
    model = fields.get("model")
    if not isinstance(model, str) and model is not None:
        return whole({"error": "model must be a string"}, status=400)
    prompt = fields.get("prompt", "")
    if not isinstance(prompt, str):
        return whole({"error": "prompt must be a string"}, status=400)
    common: dict[str, object] = {
        "model": model or MODEL,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if not prompt:
        return whole(common | {"response": "", "done": True, "done_reason": "load"})
    options = object_in(fields, "options")
    said = answered(prompt, max_tokens=options.get("num_predict"), stop=options.get("stop"))
    if fields.get("stream") is False:
        return whole(common | {"response": said.generated.text} | _end(said))
    return Spoken(LINES, tuple(_lines(common, said)))


def _lines(common: dict[str, object], said: Said) -> Iterator[bytes]:
    for token in said.generated.tokens:
        yield dump(common | {"response": token, "done": False}) + b"\n"
    yield dump(common | {"response": ""} | _end(said)) + b"\n"


def _end(said: Said) -> dict[str, object]:
    return {
        "done": True,
        "done_reason": "length" if said.generated.truncated else "stop",
        "prompt_eval_count": said.prompt_tokens,
        "eval_count": len(said.generated.tokens),
    }

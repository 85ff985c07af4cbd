"""The llama.cpp server's own ``/completion``: one JSON object, or server-sent events."""

from collections.abc import Iterator

from backstory.demo_upstream.openai_chat import MODEL
from backstory.demo_upstream.raw_prompt import EVENT_STREAM, Fields, Said, Spoken, answered, whole
from backstory.jsonbody import dump


def speak(fields: Fields) -> Spoken:
    """The answer to a request body."""
    prompt = fields.get("prompt")
    if not isinstance(prompt, str):
        message = '"prompt" must be a string'
        error = {"code": 400, "message": message, "type": "invalid_request_error"}
        return whole({"error": error}, status=400)
    said = answered(prompt, max_tokens=fields.get("n_predict"), stop=fields.get("stop"))
    if fields.get("stream") is not True:
        return whole(_last(said, prompt, said.generated.text))
    return Spoken(EVENT_STREAM, tuple(_events(said, prompt)))


def _events(said: Said, prompt: str) -> Iterator[bytes]:
    for token in said.generated.tokens:
        yield b"data: " + dump({"index": 0, "content": token, "stop": False}) + b"\n\n"
    yield b"data: " + dump(_last(said, prompt, "")) + b"\n\n"


def _last(said: Said, prompt: str, content: str) -> dict[str, object]:
    return {
        "index": 0,
        "content": content,
        "stop": True,
        "model": MODEL,
        "tokens_predicted": len(said.generated.tokens),
        "tokens_evaluated": said.prompt_tokens,
        "prompt": prompt,
        "truncated": False,
        "stop_type": "limit" if said.generated.truncated else "eos",
        "stopping_word": "",
    }

"""Text Generation Inference: ``/generate`` answers at once, ``/generate_stream`` in events."""

from collections.abc import Iterator

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


def speak(fields: Fields) -> Spoken:
    """The answer of ``/generate``."""
    said = _said(fields)
    if said is None:
        return _refused()
    details = _details(said) if object_in(fields, "parameters").get("details") is True else None
    answer: dict[str, object] = {"generated_text": _told_back(fields) + said.generated.text}
    return whole(answer | ({"details": details} if details else {}))


def speak_in_events(fields: Fields) -> Spoken:
    """The answer of ``/generate_stream``."""
    said = _said(fields)
    if said is None:
        return _refused()
    return Spoken(EVENT_STREAM, tuple(_events(fields, said)))


def _said(fields: Fields) -> Said | None:
    inputs, parameters = fields.get("inputs"), object_in(fields, "parameters")
    if not isinstance(inputs, str):
        return None
    limit, stop = parameters.get("max_new_tokens"), parameters.get("stop")
    return answered(inputs, max_tokens=limit, stop=stop)


def _refused() -> Spoken:
    error = {"error": "Input validation error: `inputs` must be a string"}
    return whole(error | {"error_type": "validation"}, status=422)


def _events(fields: Fields, said: Said) -> Iterator[bytes]:
    """One for each token; the last one is special, and holds the whole text once more."""
    tokens = [(token, False) for token in said.generated.tokens]
    if not said.generated.truncated:
        tokens.append(("</s>", True))
    for index, (text, special) in enumerate(tokens, 1):
        is_last = index == len(tokens)
        event = {
            "index": index,
            "token": {"id": index, "text": text, "logprob": -1.0, "special": special},
            "generated_text": _told_back(fields) + said.generated.text if is_last else None,
            "details": _details(said) if is_last else None,
        }
        yield b"data:" + dump(event) + b"\n\n"


def _told_back(fields: Fields) -> str:
    inputs = fields["inputs"]
    wanted = object_in(fields, "parameters").get("return_full_text") is True
    return inputs if wanted and isinstance(inputs, str) else ""


def _details(said: Said) -> dict[str, object]:
    return {
        "finish_reason": "length" if said.generated.truncated else "eos_token",
        "generated_tokens": len(said.generated.tokens),
        "input_length": said.prompt_tokens,
        "seed": None,
    }

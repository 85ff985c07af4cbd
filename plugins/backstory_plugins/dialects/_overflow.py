"""How upstreams say that a request is longer than their context: heuristics, in one table.

There is no standard. The words are those of the servers' own sources and documentation (vLLM,
llama.cpp, Text Generation Inference, OpenAI, Anthropic; November 2026), in lower case.
"""

from backstory.model import Answer, Remedy

_WORDS = (
    b"context_length_exceeded",  # OpenAI and Azure: the error's code
    b"maximum context length",  # vLLM, OpenAI
    b"prompt is too long",  # Anthropic
    b"exceed_context_size_error",  # llama.cpp: the error's type
    b"exceeds the available context size",  # llama.cpp
    b"exceeds the maximum number of tokens",  # Gemini
    b"exceeds context window",  # Ollama and others
    b"context window",
)
_TGI = (b'"validation"', b"inputs")  # TGI: error_type validation, naming `inputs`


def overflow(answer: Answer) -> Remedy | None:
    """``LESS_HISTORY`` if the refusal is about the length of the request."""
    if answer.status == 413:
        return Remedy.LESS_HISTORY
    if answer.status not in (400, 422, 500):  # older llama.cpp builds answer 500
        return None
    said = answer.body.lower()
    too_long = any(words in said for words in _WORDS) or all(word in said for word in _TGI)
    return Remedy.LESS_HISTORY if too_long else None

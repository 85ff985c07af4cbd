"""Falcon's dialect: a prompt of raw text, a reply of raw text, one HTTP chunk for each token."""

import re
from collections.abc import Iterator

from backstory.demo_upstream.answers import reply
from backstory.demo_upstream.facts import Said
from backstory.demo_upstream.tokens import generate

END = "<|endoftext|>"

_SPEAKER = re.compile(r"^(Human|AI):[ ]?", re.MULTILINE)
_ROLES = {"Human": "user", "AI": "assistant"}


def read_transcript(text: str) -> list[Said]:
    """The messages of a ``Human: …`` and ``AI: …`` transcript; any other text is one message."""
    if not text.startswith("Human:"):
        return [("user", text)]
    _, *parts = _SPEAKER.split(text)
    spoken = zip(parts[::2], parts[1::2], strict=True)
    return [(_ROLES[speaker], said.strip()) for speaker, said in spoken if said.strip()]


def stream(fields: dict[str, object], text: str) -> Iterator[bytes]:
    """The reply to ``text``, token by token; the end marker follows unless ``max_tokens`` cut it."""
    said = reply(read_transcript(text)).text
    generated = generate(
        said, max_tokens=fields.get("max_tokens"), stop=fields.get("stop_sequence")
    )
    yield from (token.encode(errors="replace") for token in generated.tokens)
    if not generated.truncated:
        yield END.encode()

"""What the APIs without messages have in common: a prompt of text in, an answer ready to be sent."""

from collections.abc import Mapping
from typing import NamedTuple

from backstory.demo_upstream.answers import reply
from backstory.demo_upstream.falcon import read_transcript
from backstory.demo_upstream.tokens import Generated, count_tokens, generate
from backstory.jsonbody import dump

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

Fields = Mapping[str, object]


class Spoken(NamedTuple):
    """An answer; what is no JSON is streamed, a chunk for each piece."""

    content_type: str
    pieces: tuple[bytes, ...]
    status: int = 200


class Said(NamedTuple):
    """What is said to a prompt, and how long that was."""

    generated: Generated
    prompt_tokens: int


def whole(value: object, *, status: int = 200) -> Spoken:
    """One JSON value."""
    return Spoken(JSON, (dump(value),), status)


def answered(prompt: str, *, max_tokens: object, stop: object) -> Said:
    """What is said to ``prompt``, a transcript or anything else."""
    text = reply(read_transcript(prompt)).text
    generated = generate(text, max_tokens=max_tokens, stop=stop)
    return Said(generated, count_tokens([prompt]))


def object_in(fields: Fields, key: str) -> Fields:
    """The object that ``key`` is; an empty one if it is none."""
    value = fields.get(key)
    return value if isinstance(value, dict) else {}

"""Parley, the invented API of ``docs/declarative.md``: it knows what one request says, and no more."""

import json
import re

from tests.wire.answers import respond
from tests.wire.upstreams import Request

END = b"data: [END]\n\n"
WORDS = {"guest", "clerk", "house"}


def parley(request: Request) -> bytes:
    """The answer to a request: a stream if it is ``live``, a fault if it is not Parley's."""
    asked = json.loads(request.body)
    dialogue = asked.get("dialogue")
    if not isinstance(dialogue, list) or not all(map(_is_message, dialogue)):
        return respond([b'{"fault": {"kind": "puzzled"}}'], "application/json", "length")
    return answer(reply_to(dialogue), live=asked.get("live") is True)


def reply_to(dialogue: list[dict[str, str]]) -> str:
    """What the clerk says: which room was the last that a guest named."""
    said = " ".join(m["utterance"] for m in dialogue if m["speaker"] == "guest")
    rooms = re.findall(r"\d+", said)
    return f"Room {rooms[-1]}, très bien." if rooms else "You named no room."


def answer(said: str, *, live: bool, ended: str = "done") -> bytes:
    """A whole answer: a word an event, or one object."""
    if not live:
        body = {"ticket": "t-1", "answer": {"speaker": "clerk", "utterance": said, "ended": ended}}
        return respond([json.dumps(body).encode()], "application/json", "length")
    events = [{"utterance": word} for word in re.findall(r"\s?\S+", said)]
    pieces = [_event(event) for event in [*events, {"ended": ended}]]
    return respond([*pieces, END], "text/event-stream", "chunked")


def _event(value: dict[str, str]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _is_message(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"speaker", "utterance"}
        and (value["speaker"] in WORDS and isinstance(value["utterance"], str))
    )

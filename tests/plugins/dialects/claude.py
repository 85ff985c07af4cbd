"""Anthropic's messages and answers, as tests spell them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backstory.model import Answer, Message, Prompt, Verdict
from backstory_plugins.dialects.anthropic import Anthropic

DATA = Path(__file__).parent / "data" / "anthropic"
CLAUDE = Anthropic()
STREAM = "text/event-stream"
USER = {"role": "user", "content": "u"}
MARK = {"type": "ephemeral"}


def recorded(name: str, *, proved: bool = True) -> Answer:
    """A recorded answer."""
    media_type = STREAM if name.endswith(".sse") else "application/json"
    return Answer(200, media_type, (DATA / name).read_bytes(), proved)


def prompt_of(body: bytes) -> Prompt:
    """What is read from a body."""
    prompt = CLAUDE.read_prompt(body)
    assert prompt is not None
    return prompt


def prompt(*messages: object, **fields: object) -> Prompt:
    """A request of these messages."""
    return prompt_of(json.dumps({**fields, "messages": messages}).encode())


def messages(*values: object) -> tuple[Message, ...]:
    """Messages as they are read from a request, and stored."""
    read = prompt(*values, USER)
    return (read.claimed + read.new)[: len(read.claimed + read.new) - 1]


def assistant(*blocks: object) -> dict[str, object]:
    """A reply of these blocks."""
    return {"role": "assistant", "content": list(blocks)}


def user(*blocks: object) -> dict[str, object]:
    """What the user says in these blocks."""
    return {"role": "user", "content": list(blocks)}


def text(said: str, **more: object) -> dict[str, object]:
    """A text block."""
    return {"type": "text", "text": said, **more}


def call(ident: str, **more: object) -> dict[str, object]:
    """A call of a tool."""
    return {"type": "tool_use", "id": ident, "name": "look", "input": {}, **more}


def result(ident: str, said: object = "3 C") -> dict[str, object]:
    """The result of a call."""
    return {"type": "tool_result", "tool_use_id": ident, "content": said}


def thinking(said: str = "hm", signature: str = "c2ln") -> dict[str, object]:
    """A block of thinking."""
    return {"type": "thinking", "thinking": said, "signature": signature}


def told(history: Sequence[Message], *new: object, **fields: object) -> list[Any]:
    """The messages that go upstream."""
    body = json.loads(CLAUDE.inject(prompt(*(new or (USER,)), **fields), (), history))
    sent: list[Any] = body["messages"]
    return sent


def letters(read: Sequence[Message]) -> str:
    """What messages of one letter say."""
    return "".join(json.loads(message.raw)["content"] for message in read)


def reply(answer: Answer | str, asked: Prompt | None = None) -> tuple[Verdict, Any]:
    """The verdict on an answer, and the content that is kept."""
    answer = recorded(answer) if isinstance(answer, str) else answer
    read = CLAUDE.read_reply(asked or prompt(USER), answer)
    return read.verdict, json.loads(read.messages[0].raw)["content"] if read.messages else None


def whole(content: object, reason: object = "end_turn", **more: object) -> Answer:
    """An answer as one object."""
    value = {"type": "message", "content": content, "stop_reason": reason, **more}
    return Answer(200, "application/json", json.dumps(value).encode(), True)


def stream(*events: dict[str, Any], proved: bool = True) -> Answer:
    """An answer as events."""
    body = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    return Answer(200, STREAM, body.encode(), proved)


def streamed(
    first: dict[str, Any], *deltas: dict[str, Any], reason: object = "end_turn", index: int = 0
) -> list[dict[str, Any]]:
    """The events of one block, and the end."""
    return [
        {"type": "content_block_start", "index": index, "content_block": first},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}},
        {"type": "message_stop"},
    ]


FOUR = [text("It is 4 — fo\u2028ur.")]
LOOKS = [
    text("I look."),
    {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "weather",
        "input": {"city": "Oslo", "days": 1.5},
    },
    {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
]
THOUGHT = [
    {"type": "thinking", "thinking": "Two and two. Four.", "signature": "c2lnbg=="},
    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
    text("4"),
]

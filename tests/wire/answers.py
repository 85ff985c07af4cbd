"""Whole answers of upstreams as bytes, so that a test can cut them at any offset."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

Framing = Literal["chunked", "length", "close"]

FALCON_END = b"<|endoftext|>"


def respond(
    pieces: Iterable[bytes],
    media_type: str,
    framing: Framing,
    *,
    status: str = "200 OK",
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """An answer; with chunked framing each piece is a chunk.

    Args:
        pieces: the body; none may be empty.
        media_type: of the body.
        framing: ``close``: the connection has to end after it.
        status: code and reason.
        headers: more fields, in order.
    """
    body = list(pieces)
    assert all(body), "an empty chunk would be the last one"
    framed, how = b"".join(body), f"Content-Length: {sum(map(len, body))}"
    if framing == "chunked":
        framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in body) + b"0\r\n\r\n"
        how = "Transfer-Encoding: chunked"
    elif framing == "close":
        how = "Connection: close"
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", how]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode() + framed


def falcon_answer(text: str, framing: Framing = "chunked", *, marker: bool = True) -> bytes:
    """Falcon's raw text, a word a chunk; with ``marker`` its end marker is the last."""
    pieces = [token.encode() for token in _tokens(text)]
    return respond(pieces + [FALCON_END] * marker, "text/plain; charset=utf-8", framing)


def chat_stream(text: str, framing: Framing = "chunked", *, finish: str | None = "stop") -> bytes:
    """A Chat Completions stream, an event a chunk; without ``finish`` it stops after the text."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": token} for token in _tokens(text)]
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    if finish is not None:
        choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    pieces = [
        b"data: " + _json({"object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"
        for choice in choices
    ]
    return respond(
        pieces + [b"data: [DONE]\n\n"] * (finish is not None), "text/event-stream", framing
    )


def chat_json(text: str, framing: Framing = "length", *, finish: str = "stop") -> bytes:
    """A Chat Completions answer as one object."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = _json({"object": "chat.completion", "choices": [choice]})
    return respond([body], "application/json", framing)


def _json(value: dict[str, Any]) -> bytes:
    common = {"id": "chatcmpl-1", "created": 0, "model": "m"}
    return json.dumps(common | value, ensure_ascii=False, separators=(",", ":")).encode()


def _tokens(text: str) -> list[str]:
    return re.findall(r"\s?\S+|\s", text)

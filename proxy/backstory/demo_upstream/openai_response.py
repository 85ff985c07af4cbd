"""OpenAI Responses, the answer: one JSON object, or server-sent events."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from backstory.demo_upstream.tokens import Generated
from backstory.jsonbody import dump

_Fields = dict[str, object]


def _random_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, ready to be spelled."""

    model: str
    said: Generated
    tool: str | None
    """Name of a tool to run: then what is said are its arguments, as JSON."""
    prompt_tokens: int
    ident: str = field(default_factory=_random_id)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self) -> bytes:
        """One ``response``."""
        return dump(self._response(self._status(), [self._item(self._status(), self.said.text)]))

    def events(self) -> Iterator[bytes]:
        """Each event with its name and its number; the last one holds the whole response."""
        number = count()
        for kind, fields in self._told():
            event = {"type": kind, "sequence_number": next(number)} | fields
            yield f"event: {kind}\ndata: ".encode() + dump(event) + b"\n\n"

    def _told(self) -> Iterator[tuple[str, _Fields]]:
        begun: _Fields = {"response": self._response("in_progress", [])}
        yield "response.created", begun
        yield "response.in_progress", begun
        place: _Fields = {"output_index": 0}
        yield "response.output_item.added", place | {"item": self._item("in_progress", "")}
        inside = place | {"item_id": self._item_id()}
        yield from self._called(inside) if self.tool is not None else self._texts(inside)
        item = self._item(self._status(), self.said.text)
        yield "response.output_item.done", place | {"item": item}
        status = self._status()
        yield f"response.{status}", {"response": self._response(status, [item])}

    def _called(self, inside: _Fields) -> Iterator[tuple[str, _Fields]]:
        kind = "response.function_call_arguments"
        for token in self.said.tokens:
            yield f"{kind}.delta", inside | {"delta": token}
        yield f"{kind}.done", inside | {"name": self.tool, "arguments": self.said.text}

    def _texts(self, inside: _Fields) -> Iterator[tuple[str, _Fields]]:
        place = inside | {"content_index": 0}
        yield "response.content_part.added", place | {"part": _text("")}
        for token in self.said.tokens:
            yield "response.output_text.delta", place | {"delta": token, "logprobs": []}
        text = self.said.text
        yield "response.output_text.done", place | {"text": text, "logprobs": []}
        yield "response.content_part.done", place | {"part": _text(text)}

    def _status(self) -> str:
        return "incomplete" if self.tool is None and self.said.truncated else "completed"

    def _item_id(self) -> str:
        return f"{'msg' if self.tool is None else 'fc'}_{self.ident}"

    def _item(self, status: str, said: str) -> _Fields:
        known: _Fields = {"id": self._item_id(), "status": status}
        if self.tool is not None:
            call = f"call_{self.ident[:24]}"
            return known | {
                "type": "function_call",
                "call_id": call,
                "name": self.tool,
                "arguments": said,
            }
        content = [] if status == "in_progress" else [_text(said)]
        return known | {"type": "message", "role": "assistant", "content": content}

    def _response(self, status: str, output: list[_Fields]) -> _Fields:
        reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": f"resp_{self.ident}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": reason,
            "model": self.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": self._usage() if output else None,
        }

    def _usage(self) -> _Fields:
        prompt, said = self.prompt_tokens, len(self.said.tokens)
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + said,
        }


def _text(text: str) -> _Fields:
    return {"type": "output_text", "text": text, "annotations": []}

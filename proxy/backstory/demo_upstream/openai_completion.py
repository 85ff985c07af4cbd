"""OpenAI Chat Completions, the answer: one JSON object, or server-sent events."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from backstory.demo_upstream.tokens import Generated
from backstory.jsonbody import dump

_Fields = dict[str, object]


def _random_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer, ready to be spelled."""

    model: str
    said: Generated
    tool: str | None
    """Name of a tool to run: then what is said are its arguments, as JSON."""
    prompt_tokens: int
    ident: str = field(default_factory=_random_id)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self) -> bytes:
        """One ``chat.completion``."""
        message: _Fields = {"role": "assistant", "content": self.said.text, "refusal": None}
        if self.tool is not None:
            message |= {"content": None, "tool_calls": [self._called(self.tool, self.said.text)]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish()}
        return dump(
            self._envelope("chat.completion") | {"choices": [choice], "usage": self._usage()}
        )

    def events(self, *, include_usage: bool) -> Iterator[bytes]:
        """Each ``chat.completion.chunk`` as an event, then ``[DONE]``."""
        without: _Fields = {"usage": None} if include_usage else {}
        for delta in self._deltas():
            yield self._event([_choice(delta, None)], without)
        yield self._event([_choice({}, self._finish())], without)
        if include_usage:
            yield self._event([], {"usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _deltas(self) -> Iterator[_Fields]:
        first: _Fields = {"role": "assistant", "content": "", "refusal": None}
        if self.tool is None:
            yield first
            for token in self.said.tokens:
                yield {"content": token}
            return
        yield first | {"content": None, "tool_calls": [{"index": 0} | self._called(self.tool, "")]}
        for token in self.said.tokens:
            yield {"tool_calls": [{"index": 0, "function": {"arguments": token}}]}

    def _called(self, tool: str, arguments: str) -> _Fields:
        return {
            "id": f"call_{self.ident[:24]}",
            "type": "function",
            "function": {"name": tool, "arguments": arguments},
        }

    def _finish(self) -> str:
        if self.tool is not None:
            return "tool_calls"
        return "length" if self.said.truncated else "stop"

    def _envelope(self, kind: str) -> _Fields:
        return {
            "id": f"chatcmpl-{self.ident}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        }

    def _event(self, choices: list[_Fields], more: _Fields) -> bytes:
        chunk = self._envelope("chat.completion.chunk") | {"choices": choices} | more
        return b"data: " + dump(chunk) + b"\n\n"

    def _usage(self) -> dict[str, int]:
        prompt, said = self.prompt_tokens, len(self.said.tokens)
        return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


def _choice(delta: _Fields, finish_reason: str | None) -> _Fields:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

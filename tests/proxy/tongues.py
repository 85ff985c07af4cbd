"""The letters of ``chats``, spelled in several dialects: as a request, and as an upstream's answer."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.proxy.chats import Spelled, body_of, spelled

from backstory.model import Answer, Prompt, Reply
from backstory.spi import Dialect
from backstory_plugins.dialects.anthropic import Anthropic
from backstory_plugins.dialects.ollama_chat import OllamaChat
from backstory_plugins.dialects.openai_chat import OpenAIChat
from backstory_plugins.dialects.openai_completions import OpenAICompletions
from backstory_plugins.dialects.openai_responses import OpenAIResponses


class Tongue(NamedTuple):
    """A dialect and how its clients and upstreams speak."""

    dialect: Dialect
    ask: Callable[[str], bytes]
    """The body of a request that holds these messages."""
    answer: Callable[[str, bool], Spelled]
    """The body of an answer: one message, with reasoning or without."""

    def __str__(self) -> str:
        """For people."""
        return self.dialect.name

    def reply(self, to: Prompt, letters: str, *, reasoned: bool = False) -> Reply:
        """The answer, read."""
        body = json.dumps(self.answer(letters, reasoned)).encode()
        return self.dialect.read_reply(to, Answer(200, "application/json", body, proved=True))


def _listed(messages: Sequence[Any], key: str, **fields: Any) -> bytes:
    return json.dumps({"model": "m", **fields, key: messages}).encode()


def _chat_answer(letters: str, reasoned: bool) -> Spelled:
    message = spelled(letters) | ({"reasoning_content": "hm"} if reasoned else {})
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


def _claude_ask(letters: str) -> bytes:
    messages = letters.split()
    system = [each for each in messages if each[0] == "s"]
    said = [_claude_message(each) for each in messages if each[0] != "s"]
    return _listed(said, "messages", max_tokens=64, system=" ".join(system))


def _claude_message(letters: str) -> Spelled:
    kind, rest = letters[0], letters[1:]
    if kind == "t":
        block: Spelled = {"type": "tool_result", "tool_use_id": rest, "content": letters}
        return {"role": "user", "content": [block]}
    if kind == "u":
        return {"role": "user", "content": letters}
    return {"role": "assistant", "content": _claude_blocks(letters)}


def _claude_blocks(letters: str) -> list[Spelled]:
    if letters[0] == "c":
        return [{"type": "tool_use", "id": i, "name": "look", "input": {}} for i in letters[1:]]
    return [{"type": "text", "text": letters}]


def _claude_answer(letters: str, reasoned: bool) -> Spelled:
    thought: list[Spelled] = [{"type": "thinking", "thinking": "hm", "signature": "s"}] * reasoned
    return {
        "type": "message",
        "role": "assistant",
        "content": [*thought, *_claude_blocks(letters)],
        "stop_reason": "tool_use" if letters[0] == "c" else "end_turn",
    }


def _items(letters: str) -> list[Spelled]:
    kind, rest = letters[0], letters[1:]
    if kind == "c":
        call = {"type": "function_call", "name": "look", "arguments": "{}"}
        return [call | {"call_id": ident} for ident in rest]
    if kind == "t":
        return [{"type": "function_call_output", "call_id": rest, "output": letters}]
    return [{"role": {"s": "system", "u": "user", "a": "assistant"}[kind], "content": letters}]


def _items_ask(letters: str) -> bytes:
    return _listed([item for each in letters.split() for item in _items(each)], "input")


def _items_answer(letters: str, reasoned: bool) -> Spelled:
    thought: list[Spelled] = [{"type": "reasoning", "id": "rs", "summary": []}] * reasoned
    said = _items(letters)
    if letters[0] == "a":
        content = [{"type": "output_text", "text": letters, "annotations": []}]
        said = [{"type": "message", "id": "msg", "role": "assistant", "content": content}]
    ident = f"resp_{letters}"
    return {"id": ident, "object": "response", "status": "completed", "output": [*thought, *said]}


def _ollama_message(letters: str) -> Spelled:
    if letters[0] == "t":
        return {"role": "tool", "tool_name": f"look{letters[1:]}", "content": letters}
    if letters[0] == "c":
        calls = [{"function": {"name": f"look{i}", "arguments": {}}} for i in letters[1:]]
        return {"role": "assistant", "content": "", "tool_calls": calls}
    return spelled(letters)


def _ollama_answer(letters: str, reasoned: bool) -> Spelled:
    message = _ollama_message(letters) | ({"thinking": "hm"} if reasoned else {})
    return {"model": "m", "message": message, "done": True, "done_reason": "stop"}


def _raw_ask(letters: str) -> bytes:
    return json.dumps({"model": "m", "prompt": letters.split()[-1], "max_tokens": 64}).encode()


def _raw_answer(letters: str, reasoned: bool) -> Spelled:
    return {"choices": [{"index": 0, "text": f" {letters}", "finish_reason": "stop"}]}


TONGUES = (
    Tongue(OpenAIChat(), body_of, _chat_answer),
    Tongue(Anthropic(), _claude_ask, _claude_answer),
    Tongue(OpenAIResponses(), _items_ask, _items_answer),
    Tongue(
        OllamaChat(),
        lambda letters: _listed([_ollama_message(e) for e in letters.split()], "messages"),
        _ollama_answer,
    ),
    Tongue(OpenAICompletions(), _raw_ask, _raw_answer),
)

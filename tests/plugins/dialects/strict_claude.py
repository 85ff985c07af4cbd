"""An upstream that is as strict as Anthropic's API: it refuses what the real one refuses.

It has no state but the names of what it has said. A signature holds what its thinking is bound to:
the model, a hash of the system prompt, the tools and the messages before it, and which thinking
stood there. Models named ``bound-…`` check that, and drop other models' thinking; models named
``manual-…`` insist on the thinking of an unfinished tool loop instead.
"""

import base64
import hashlib
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

from backstory.model import Answer

Block = dict[str, Any]
Said = tuple[str, list[Block]]
"""Role and blocks."""


class Refused(Exception):
    """A 400, and why."""


class StrictClaude:
    """Answers request bodies."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._numbers = itertools.count(1)
        self._thought: set[str] = set()
        self.heard_thinking = 0
        """Blocks of thinking that were accepted."""

    def answer(self, body: bytes) -> Answer:
        """The answer to a request; nothing is ever generated for what is refused."""
        fields = json.loads(body)
        try:
            said = _merged(fields["messages"])
            _check_order(said)
            _check_marks(fields)
            _check_calls(said)
            self._check_thinking(fields, said)
        except Refused as exc:
            error = {"type": "invalid_request_error", "message": str(exc)}
            refusal = json.dumps({"type": "error", "error": error}).encode()
            return Answer(400, "application/json", refusal, True)
        content, reason = self._reply(fields, said)
        if self._rng.random() < 0.5:
            whole = {"type": "message", "role": "assistant", "content": content}
            spelled = json.dumps(whole | {"stop_reason": reason}).encode()
            return Answer(200, "application/json", spelled, True, body)
        return Answer(200, "text/event-stream", b"".join(_events(content, reason)), True, body)

    def _check_thinking(self, fields: dict[str, Any], said: list[Said]) -> None:
        if fields["model"].startswith("bound"):
            heard: list[str] = []
            for at, index, block in _thinking(said):
                signed = _signed(block)
                if signed["model"] != fields["model"]:
                    continue  # dropped without a word
                if signed["prefix"] != _prefix(fields, said, at, index):
                    raise Refused(f"messages.{at}.content.{index}: {_BOUND} The prefix differs.")
                if heard and signed["before"][-len(heard) :] != heard:
                    raise Refused(f"messages.{at}.content.{index}: {_BOUND} A block is missing.")
                heard.append(block["thinking"])
            self.heard_thinking += len(heard)
            return
        if len(said) < 2 or said[-1][1][0]["type"] != "tool_result":
            return
        calling = said[-2][1]
        if any(block.get("id") in self._thought for block in calling):
            if all(block["type"] != "thinking" for block in calling):
                raise Refused("Expected `thinking` or `redacted_thinking`, but found `tool_use`.")
            self.heard_thinking += 1

    def _reply(self, fields: dict[str, Any], said: list[Said]) -> tuple[list[Block], str]:
        rng, content = self._rng, list[Block]()
        kind = rng.choice(["text", "text", "tools", "tools", "tools", "pause", "refusal", "cut"])
        thinks = rng.random() < 0.7
        if thinks:
            content.append(self._thought_behind(fields, said))
        number = next(self._numbers)
        if kind != "tools" or rng.random() < 0.5:
            content.append({"type": "text", "text": f"reply {number}"})
        if kind == "tools":
            for each in range(rng.choice([1, 1, 2, 3])):
                ident = f"toolu_{number}_{each}"
                content.append(
                    {"type": "tool_use", "id": ident, "name": "look", "input": {"a": each}}
                )
                if thinks:
                    self._thought.add(ident)
        if kind == "pause":
            ident = f"srvtoolu_{number}"
            content.append({"type": "server_tool_use", "id": ident, "name": "web", "input": {}})
        reasons = {
            "tools": "tool_use",
            "pause": "pause_turn",
            "refusal": "refusal",
            "cut": "max_tokens",
        }
        return content, reasons.get(kind, "end_turn")

    def _thought_behind(self, fields: dict[str, Any], said: list[Said]) -> Block:
        begun = said[-1][1] if said[-1][0] == "assistant" else []
        whole = said if begun else [*said, ("assistant", [])]
        signed = {
            "model": fields["model"],
            "prefix": _prefix(fields, whole, len(whole) - 1, len(begun)),
            "before": [
                block["thinking"]
                for _, _, block in _thinking(said)
                if _signed(block)["model"] == fields["model"]
            ],
        }
        thought = f"thought {next(self._numbers)}"
        spelled = base64.b64encode(json.dumps(signed).encode()).decode()
        return {"type": "thinking", "thinking": thought, "signature": spelled}


_BOUND = "Invalid `signature` in `thinking` block. The block is bound to a different conversation."


def _merged(messages: Sequence[dict[str, Any]]) -> list[Said]:
    """What the model hears: neighbours of one role are one message, a string is a block."""
    said: list[Said] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if said and said[-1][0] == message["role"]:
            said[-1][1].extend(blocks)
        else:
            said.append((message["role"], list(blocks)))
    return said


def _check_order(said: Sequence[Said]) -> None:
    if said[0][0] != "user":
        raise Refused("messages: first message must use the user role")
    if said[-1][0] == "assistant" and said[-1][1][-1]["type"] != "server_tool_use":
        raise Refused("This model does not support assistant message prefill.")
    for role, blocks in said:
        if not blocks:
            raise Refused("messages: content must not be empty")
        if role == "assistant" and all(block["type"] == "thinking" for block in blocks):
            raise Refused("messages: the final block in an assistant message cannot be thinking")
        for block in blocks:
            if block["type"] == "text" and not block["text"].strip():
                raise Refused("messages: text content blocks must contain non-whitespace text")


def _check_marks(fields: dict[str, Any]) -> None:
    if json.dumps(fields).count('"cache_control"') > 4:
        raise Refused("A maximum of 4 blocks with cache_control may be provided.")


def _check_calls(said: Sequence[Said]) -> None:
    for at, (role, blocks) in enumerate(said):
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        before = said[at - 1][1] if at and role == "user" else []
        called = [block["id"] for block in before if block["type"] == "tool_use"]
        if missing := set(called) - set(answered):
            raise Refused(f"`tool_use` ids were found without `tool_result` blocks: {missing}")
        if unexpected := set(answered) - set(called):
            raise Refused(f"unexpected `tool_use_id` found in `tool_result` blocks: {unexpected}")
        kinds = [block["type"] for block in blocks]
        if "tool_result" in kinds[len(answered) :]:
            raise Refused("`tool_result` blocks must come first")
    if any(block["type"] == "tool_use" for block in said[-1][1]):
        raise Refused("`tool_use` ids were found without `tool_result` blocks")


def _thinking(said: Sequence[Said]) -> Iterator[tuple[int, int, Block]]:
    for at, (_, blocks) in enumerate(said):
        for index, block in enumerate(blocks):
            if block["type"] == "thinking":
                yield at, index, block


def _signed(block: Block) -> dict[str, Any]:
    signed: dict[str, Any] = json.loads(base64.b64decode(block["signature"]))
    return signed


def _prefix(fields: dict[str, Any], said: Sequence[Said], at: int, index: int) -> str:
    """All that stands before a block, thinking and marks aside."""
    before = [*said[:at], (said[at][0], said[at][1][:index])]
    heard = [(role, [b for b in blocks if b["type"] != "thinking"]) for role, blocks in before]
    bound = _unmarked([fields.get("system"), fields.get("tools"), heard])
    return hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unmarked(inside) for key, inside in value.items() if key != "cache_control"}
    if isinstance(value, list | tuple):
        return [_unmarked(inside) for inside in value]
    return value


def _events(content: Sequence[Block], reason: str) -> Iterator[bytes]:
    yield _event({"type": "message_start", "message": {"role": "assistant", "content": []}})
    for index, block in enumerate(content):
        first, deltas = _pieces(block)
        yield _event({"type": "content_block_start", "index": index, "content_block": first})
        for delta in deltas:
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    yield _event({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}})
    yield _event({"type": "message_stop"})


def _pieces(block: Block) -> tuple[Block, list[Block]]:
    if block["type"] == "text":
        return block | {"text": ""}, [{"type": "text_delta", "text": c} for c in block["text"]]
    if block["type"] == "thinking":
        deltas = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
        return block | {"thinking": "", "signature": ""}, deltas
    spelled = json.dumps(block["input"])
    return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": spelled}]


def _event(value: Block) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()

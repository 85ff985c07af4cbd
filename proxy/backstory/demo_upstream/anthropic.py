"""Anthropic Messages: a request in, its answer as one JSON object or as events."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from backstory.demo_upstream.answers import reply
from backstory.demo_upstream.facts import Said
from backstory.demo_upstream.openai_chat import MODEL, read_arguments
from backstory.demo_upstream.tokens import Generated, count_tokens, generate
from backstory.demo_upstream.tools import Call, Tool, choose_call
from backstory.jsonbody import dump

_Fields = dict[str, object]


def _random_id() -> str:
    return uuid.uuid4().hex[:24]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, ready to be spelled."""

    model: str
    said: Generated
    tool: Call | None
    """A tool to run, instead of what is said."""
    input_tokens: int
    ident: str = field(default_factory=_random_id)

    def whole(self) -> bytes:
        """One ``message``."""
        content: list[_Fields] = [{"type": "text", "text": self.said.text}]
        if self.tool is not None:
            content = [self._called(self.tool, self.tool.arguments)]
        ended: _Fields = {"stop_reason": self._reason(), "stop_sequence": None}
        return dump(self._message(content) | ended | {"usage": self._usage()})

    def events(self) -> Iterator[bytes]:
        """Each event, the last of them ``message_stop``."""
        begun: _Fields = {"stop_reason": None, "stop_sequence": None}
        begun |= {"usage": {"input_tokens": self.input_tokens, "output_tokens": 0}}
        yield _event("message_start", message=self._message([]) | begun)
        first: _Fields = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": token} for token in self.said.tokens]
        if self.tool is not None:
            first = self._called(self.tool, {})
            pieces = generate(dump(self.tool.arguments).decode()).tokens
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        yield _event("content_block_start", index=0, content_block=first)
        for delta in deltas:
            yield _event("content_block_delta", index=0, delta=delta)
        yield _event("content_block_stop", index=0)
        ended: _Fields = {"stop_reason": self._reason(), "stop_sequence": None}
        yield _event("message_delta", delta=ended, usage=self._usage())
        yield _event("message_stop")

    def _message(self, content: list[_Fields]) -> _Fields:
        named = {"id": f"msg_{self.ident}", "type": "message", "role": "assistant"}
        return named | {"model": self.model, "content": content}

    def _called(self, tool: Call, arguments: Mapping[str, str]) -> _Fields:
        ident = f"toolu_{self.ident}"
        return {"type": "tool_use", "id": ident, "name": tool.name, "input": arguments}

    def _reason(self) -> str:
        if self.tool is not None:
            return "tool_use"
        return "max_tokens" if self.said.truncated else "end_turn"

    def _usage(self) -> _Fields:
        return {"input_tokens": self.input_tokens, "output_tokens": len(self.said.tokens)}


def answer(fields: Mapping[str, object]) -> Answer | None:
    """The answer to a request body; ``None`` if it has no list of messages."""
    messages = list(_read_messages(fields.get("messages")))
    if not messages:
        return None
    if system := _read_text(fields.get("system")):
        messages.insert(0, ("system", system))
    known = reply(messages)
    call = None if known.known else _read_call(messages, fields)
    model = fields.get("model")
    return Answer(
        model=model if isinstance(model, str) else MODEL,
        said=generate(
            known.text, max_tokens=fields.get("max_tokens"), stop=fields.get("stop_sequences")
        ),
        tool=call,
        input_tokens=count_tokens(text for _, text in messages),
    )


def error(kind: str, message: str) -> bytes:
    """An error as this API spells it."""
    return dump({"type": "error", "error": {"type": kind, "message": message}})


def _event(kind: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), dump({"type": kind, **fields}))


def _read_messages(value: object) -> Iterator[Said]:
    """Every message; what a tool answered is a message of its own."""
    for message in value if isinstance(value, list) else ():
        if not isinstance(message, dict) or not isinstance(role := message.get("role"), str):
            continue
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict) and block.get("type") == "tool_result":
                yield "tool", _read_text(block.get("content"))
        text = _read_text(content)
        if text or role == "assistant":
            yield role, text


def _read_text(content: object) -> str:
    """The text of a content that is a string or a list of blocks."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = (block.get("text") for block in content if isinstance(block, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def _read_call(messages: list[Said], fields: Mapping[str, object]) -> Call | None:
    """A call, if a tool is offered that fits what the messages could not answer."""
    role, text = messages[-1]
    choice = fields.get("tool_choice")
    if role != "user" or (isinstance(choice, dict) and choice.get("type") == "none"):
        return None
    return choose_call(text, list(_read_tools(fields.get("tools"))))


def _read_tools(value: object) -> Iterator[Tool]:
    for tool in value if isinstance(value, list) else ():
        if isinstance(tool, dict) and isinstance(name := tool.get("name"), str):
            description = tool.get("description")
            yield Tool(
                name,
                description if isinstance(description, str) else "",
                dict(read_arguments(tool.get("input_schema"))),
            )

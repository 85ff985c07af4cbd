"""What messages tell, whichever API spelled them: a request's, or those that are stored.

A call and its result count apart from the text around them, so that one list says it for all.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.wire.users import User

from backstory.demo_upstream.falcon import read_transcript


class Told(NamedTuple):
    """One thing that was said, called or answered."""

    kind: str
    """``user``, ``assistant``, ``system``, ``call`` or ``result``."""
    text: str
    """Of a call: the name of the tool and its arguments."""
    call: str = ""
    """The id of the call, and of the one that a result answers; empty where the API has none."""


def told(body: bytes) -> list[Told]:
    """What a request asks, with all that it says of before."""
    fields = json.loads(body)
    if "prompt" in fields:
        return [Told(*said) for said in read_transcript(fields["prompt"])]
    asked = fields["input"] if "input" in fields else fields["messages"]
    return read(asked) if isinstance(asked, list) else [Told("user", asked)]


def read(messages: list[Mapping[str, Any]]) -> list[Told]:
    """What messages, or the items of Responses, tell."""
    return [each for message in messages for each in _message(message)]


async def stored(url: str, conversation: str) -> list[list[Told]]:
    """What each turn of a conversation tells, up to its head; empty if there is none."""
    answer = await User(url).manage(conversation, "/turns")
    turns = json.loads(answer.content)["turns"] if answer.status == 200 else []
    return [read(turn["messages"]) for turn in turns]


def _message(message: Mapping[str, Any]) -> Iterator[Told]:
    if message.get("type") == "function_call":
        yield _call(message, message["call_id"])
    elif message.get("type") == "function_call_output":
        yield Told("result", message["output"], message["call_id"])
    elif message["role"] == "tool":
        yield Told("result", message["content"], message.get("tool_call_id", ""))
    else:
        yield from _said(message)


def _said(message: Mapping[str, Any]) -> Iterator[Told]:
    text = ""
    content = message.get("content") or ""
    for block in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        match block["type"]:
            case "tool_use":
                yield _call(block, block["id"])
            case "tool_result":
                yield Told("result", block["content"], block["tool_use_id"])
            case "text" | "input_text" | "output_text":
                text += block["text"]
            case other:
                raise AssertionError(f"a block of another type: {other}")
    if text:
        yield Told(message["role"], text)
    for call in message.get("tool_calls") or ():
        yield _call(call["function"], call.get("id", ""))


def _call(function: Mapping[str, Any], ident: str) -> Told:
    given = function["input"] if "input" in function else function["arguments"]
    arguments = json.loads(given) if isinstance(given, str) else given
    return Told("call", f"{function['name']} {json.dumps(arguments)}", ident)

"""The OpenAI SDK for Python, blocking: one client object, whoever asks."""

import json
import sys
from collections.abc import Iterable
from typing import Any

import openai

plan = json.load(sys.stdin)
print(json.dumps({"client": "openai", "version": openai.__version__}))
client = openai.OpenAI(
    base_url=plan["url"] + "/v1", api_key="set for each turn", default_headers=plan["headers"]
)
more: Any = {"tools": [{"type": "function", "function": plan["tool"]}]} if plan["tool"] else {}


def whole(pieces: Iterable[Any]) -> Any:
    """The message that the pieces of a stream make."""
    text = ""
    calls: dict[int, Any] = {}
    for piece in pieces:
        delta = piece.choices[0].delta
        text += delta.content or ""
        for part in delta.tool_calls or []:
            function = {"name": part.function.name, "arguments": ""}
            new = {"id": part.id, "type": "function", "function": function}
            call = calls.setdefault(part.index, new)
            call["function"]["arguments"] += part.function.arguments or ""
    said: dict[str, Any] = {"role": "assistant", "content": text}
    return said | ({"tool_calls": [*calls.values()]} if calls else {})


def result(call: Any) -> Any:
    """What the tool says, as a message."""
    city = json.loads(call["function"]["arguments"])["city"]
    return {"role": "tool", "tool_call_id": call["id"], "content": f"12 degrees in {city}"}


for turn in plan["turns"]:
    of_user = client.with_options(api_key=turn["token"])  # the same connections, the same cookies
    messages: Any = [{"role": "user", "content": turn["text"]}]
    create = of_user.chat.completions.with_raw_response.create
    while True:
        raw: Any = create(model="m", messages=messages, stream=plan["stream"], **more)
        if plan["stream"]:
            message = whole(raw.parse())
        else:
            message = raw.parse().choices[0].message.model_dump(exclude_none=True)
        if not message.get("tool_calls"):
            break
        messages += [message, *map(result, message["tool_calls"])]
    print(
        json.dumps(
            {
                "text": message["content"],
                "receipt": raw.headers.get("Backstory-Memory"),
                "conversation": raw.headers.get("Backstory-Conversation"),
            }
        )
    )

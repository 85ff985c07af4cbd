"""The Anthropic SDK for Python, blocking: one client object, whoever asks."""

import json
import sys
from typing import Any

import anthropic

plan = json.load(sys.stdin)
print(json.dumps({"client": "anthropic", "version": anthropic.__version__}))
client = anthropic.Anthropic(
    base_url=plan["url"], api_key="set for each turn", default_headers=plan["headers"]
)
more: Any = {}
if plan["tool"]:
    tool = dict(plan["tool"])
    more = {"tools": [tool | {"input_schema": tool.pop("parameters")}]}


def say(of_user: anthropic.Anthropic, messages: Any) -> tuple[Any, Any]:
    """The message that answers, and the headers that came with it."""
    if plan["stream"]:
        with of_user.messages.stream(model="m", max_tokens=64, messages=messages, **more) as events:
            return events.get_final_message(), events.response.headers
    create = of_user.messages.with_raw_response.create
    raw: Any = create(model="m", max_tokens=64, messages=messages, **more)
    return raw.parse(), raw.headers


def result(call: Any) -> Any:
    """What the tool says, as a block."""
    text = f"12 degrees in {call.input['city']}"
    return {"type": "tool_result", "tool_use_id": call.id, "content": text}


for turn in plan["turns"]:
    of_user = client.with_options(api_key=turn["token"])  # the same connections, the same cookies
    messages: Any = [{"role": "user", "content": turn["text"]}]
    while True:
        message, headers = say(of_user, messages)
        calls = [block for block in message.content if block.type == "tool_use"]
        if not calls:
            break
        said = [block.to_dict() for block in message.content]
        messages += [
            {"role": "assistant", "content": said},
            {"role": "user", "content": [result(call) for call in calls]},
        ]
    print(
        json.dumps(
            {
                "text": "".join(block.text for block in message.content),
                "receipt": headers.get("Backstory-Memory"),
                "conversation": headers.get("Backstory-Conversation"),
            }
        )
    )

"""The OpenAI SDK for Python, asynchronous: one client object, whoever asks.

Tools are streamed with its helper, which puts the pieces together but shows no headers.
"""

import asyncio
import json
import sys
from typing import Any

import openai

plan = json.load(sys.stdin)
print(json.dumps({"client": "openai", "version": openai.__version__}))
more: Any = {}
if plan["tool"]:
    more = {"tools": [{"type": "function", "function": plan["tool"] | {"strict": True}}]}


def result(call: Any) -> Any:
    """What the tool says, as a message."""
    city = json.loads(call.function.arguments)["city"]
    return {"role": "tool", "tool_call_id": call.id, "content": f"12 degrees in {city}"}


async def say(completions: Any, messages: Any) -> tuple[str, Any]:
    """The reply to the last message, and the headers that came with it."""
    create = completions.with_raw_response.create
    if plan["stream"]:
        raw = await create(model="m", messages=messages, stream=True)
        pieces = [piece async for piece in raw.parse()]
        return "".join(piece.choices[0].delta.content or "" for piece in pieces), raw.headers
    raw = await create(model="m", messages=messages)
    return raw.parse().choices[0].message.content, raw.headers


async def say_with_tools(completions: Any, messages: Any) -> str:
    """The reply to the last message, once the tools that it asks for have run."""
    while True:
        if plan["stream"]:
            async with completions.stream(model="m", messages=messages, **more) as events:
                completion = await events.get_final_completion()
        else:
            completion = await completions.create(model="m", messages=messages, **more)
        message = completion.choices[0].message
        if not message.tool_calls:
            return str(message.content)
        messages += [message.to_dict(), *map(result, message.tool_calls)]


async def main() -> None:
    """Every turn, one after the other."""
    async with openai.AsyncOpenAI(
        base_url=plan["url"] + "/v1", api_key="set for each turn", default_headers=plan["headers"]
    ) as client:
        for turn in plan["turns"]:
            of_user = client.with_options(api_key=turn["token"])  # the same cookies
            completions = of_user.chat.completions
            messages: Any = [{"role": "user", "content": turn["text"]}]
            headers: Any = {}
            if plan["tool"]:
                text = await say_with_tools(completions, messages)
            else:
                text, headers = await say(completions, messages)
            seen = {
                "text": text,
                "receipt": headers.get("Backstory-Memory"),
                "conversation": headers.get("Backstory-Conversation"),
            }
            print(json.dumps(seen))


asyncio.run(main())

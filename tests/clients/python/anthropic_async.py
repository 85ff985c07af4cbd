"""The Anthropic SDK for Python, asynchronous; it calls tools by itself, with its tool runner."""

import asyncio
import json
import sys
from typing import Any

import anthropic

plan = json.load(sys.stdin)
print(json.dumps({"client": "anthropic", "version": anthropic.__version__}))


@anthropic.beta_async_tool
async def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: its name
    """
    return f"12 degrees in {city}"


async def say(of_user: anthropic.AsyncAnthropic, messages: Any) -> tuple[Any, Any]:
    """The message that answers, and the headers that came with it."""
    asked: Any = {"model": "m", "max_tokens": 64, "messages": messages}
    if plan["stream"]:
        async with of_user.messages.stream(**asked) as events:
            return await events.get_final_message(), events.response.headers
    raw: Any = await of_user.messages.with_raw_response.create(**asked)
    return await raw.parse(), raw.headers


async def say_with_tools(of_user: anthropic.AsyncAnthropic, messages: Any) -> Any:
    """The message that answers, once the tools that were asked for have run."""
    run = of_user.beta.messages.tool_runner
    asked: Any = {"model": "m", "max_tokens": 64, "messages": messages, "tools": [get_weather]}
    asked["thread"] = False  # the loop is in the messages, not in a thread that the upstream keeps
    runner: Any = run(**asked, stream=plan["stream"])
    return await runner.until_done()


async def main() -> None:
    """Every turn, one after the other."""
    async with anthropic.AsyncAnthropic(
        base_url=plan["url"], api_key="set for each turn", default_headers=plan["headers"]
    ) as client:
        for turn in plan["turns"]:
            of_user = client.with_options(api_key=turn["token"])  # the same cookies
            messages: Any = [{"role": "user", "content": turn["text"]}]
            headers: Any = {}
            if plan["tool"]:
                message = await say_with_tools(of_user, messages)
            else:
                message, headers = await say(of_user, messages)
            seen = {
                "text": "".join(block.text for block in message.content),
                "receipt": headers.get("Backstory-Memory"),
                "conversation": headers.get("Backstory-Conversation"),
            }
            print(json.dumps(seen))


asyncio.run(main())

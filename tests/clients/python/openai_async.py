"""The OpenAI SDK for Python, asynchronous: one client object, whoever asks."""

import asyncio
import json
import sys
from typing import Any

import openai

plan = json.load(sys.stdin)
print(json.dumps({"client": "openai", "version": openai.__version__}))


async def main() -> None:
    """Every turn, one after the other."""
    async with openai.AsyncOpenAI(
        base_url=plan["url"] + "/v1", api_key="set for each turn", default_headers=plan["headers"]
    ) as client:
        for turn in plan["turns"]:
            of_user = client.with_options(api_key=turn["token"])  # the same cookies
            messages: Any = [{"role": "user", "content": turn["text"]}]
            create = of_user.chat.completions.with_raw_response.create
            if plan["stream"]:
                raw: Any = await create(model="m", messages=messages, stream=True)
                pieces = [piece async for piece in raw.parse()]
                text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
            else:
                raw = await create(model="m", messages=messages)
                text = raw.parse().choices[0].message.content
            seen = {
                "text": text,
                "receipt": raw.headers.get("Backstory-Memory"),
                "conversation": raw.headers.get("Backstory-Conversation"),
            }
            print(json.dumps(seen))


asyncio.run(main())

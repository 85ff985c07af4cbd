"""The OpenAI SDK for Python, blocking: one client object, whoever asks."""

import json
import sys
from typing import Any

import openai

plan = json.load(sys.stdin)
print(json.dumps({"client": "openai", "version": openai.__version__}))
client = openai.OpenAI(
    base_url=plan["url"] + "/v1", api_key="set for each turn", default_headers=plan["headers"]
)
for turn in plan["turns"]:
    of_user = client.with_options(api_key=turn["token"])  # the same connections, the same cookies
    messages: Any = [{"role": "user", "content": turn["text"]}]
    create = of_user.chat.completions.with_raw_response.create
    if plan["stream"]:
        raw: Any = create(model="m", messages=messages, stream=True)
        text = "".join(piece.choices[0].delta.content or "" for piece in raw.parse())
    else:
        raw = create(model="m", messages=messages)
        text = raw.parse().choices[0].message.content
    print(
        json.dumps(
            {
                "text": text,
                "receipt": raw.headers.get("Backstory-Memory"),
                "conversation": raw.headers.get("Backstory-Conversation"),
            }
        )
    )

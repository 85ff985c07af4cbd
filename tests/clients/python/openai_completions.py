"""The OpenAI SDK for Python, by way of the old Completions: a prompt of text, and no messages."""

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
    create = client.with_options(api_key=turn["token"]).completions.with_raw_response.create
    raw: Any = create(model="m", prompt=turn["text"], max_tokens=64, stream=plan["stream"])
    answer = raw.parse()
    pieces = answer if plan["stream"] else [answer]
    text = "".join(piece.choices[0].text for piece in pieces)
    print(
        json.dumps(
            {
                "text": text,
                "receipt": raw.headers.get("Backstory-Memory"),
                "conversation": raw.headers.get("Backstory-Conversation"),
            }
        )
    )

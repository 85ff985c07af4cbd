"""A client that keeps its transcript and changes it, as aider does, over the OpenAI SDK.

The last user message carries a reminder that is gone from the same message one turn later.
"""

import json
import sys
from typing import Any

import openai

REMINDER = "\n\nReply in the language of the question, and in one sentence."

plan = json.load(sys.stdin)
print(json.dumps({"client": "openai", "version": openai.__version__}))
client = openai.OpenAI(
    base_url=plan["url"] + "/v1", api_key="set for each turn", default_headers=plan["headers"]
)
transcripts: dict[str, list[Any]] = {}
for turn in plan["turns"]:
    transcript = transcripts.setdefault(turn["token"], [])
    create = client.with_options(api_key=turn["token"]).chat.completions.with_raw_response.create
    messages = [*transcript, {"role": "user", "content": turn["text"] + REMINDER}]
    if plan["stream"]:
        raw: Any = create(model="m", messages=messages, stream=True)
        text = "".join(piece.choices[0].delta.content or "" for piece in raw.parse())
    else:
        raw = create(model="m", messages=messages)
        text = raw.parse().choices[0].message.content
    transcript += [
        {"role": "user", "content": turn["text"]},
        {"role": "assistant", "content": text},
    ]
    print(
        json.dumps(
            {
                "text": text,
                "receipt": raw.headers.get("Backstory-Memory"),
                "conversation": raw.headers.get("Backstory-Conversation"),
            }
        )
    )

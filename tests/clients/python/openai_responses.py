"""The OpenAI SDK for Python, by way of its Responses.

A plan that says ``chain`` has each turn name the response before it, as this API's users do.
"""

import json
import sys
from typing import Any

import openai

plan = json.load(sys.stdin)
print(json.dumps({"client": "openai", "version": openai.__version__}))
client = openai.OpenAI(
    base_url=plan["url"] + "/v1", api_key="set for each turn", default_headers=plan["headers"]
)
more: Any = {"tools": [{"type": "function"} | plan["tool"]]} if plan["tool"] else {}
latest: dict[str, str] = {}
"""Each user's last response."""


def result(call: Any) -> Any:
    """What the tool says, as an item."""
    text = f"12 degrees in {json.loads(call.arguments)['city']}"
    return {"type": "function_call_output", "call_id": call.call_id, "output": text}


for turn in plan["turns"]:
    create = client.with_options(api_key=turn["token"]).responses.with_raw_response.create
    asked: Any = turn["text"]
    while True:
        if turn["token"] in latest and plan["chain"]:
            more["previous_response_id"] = latest[turn["token"]]
        raw: Any = create(model="m", input=asked, stream=plan["stream"], **more)
        if plan["stream"]:
            *_, last = raw.parse()
            assert last.type == "response.completed"
            response = last.response
        else:
            response = raw.parse()
        more.pop("previous_response_id", None)
        latest[turn["token"]] = response.id
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            break
        if isinstance(asked, str):
            asked = [{"role": "user", "content": asked}]
        said = [item.to_dict() for item in response.output]
        results = [result(call) for call in calls]
        asked = results if plan["chain"] else [*asked, *said, *results]
    print(
        json.dumps(
            {
                "text": response.output_text,
                "receipt": raw.headers.get("Backstory-Memory"),
                "conversation": raw.headers.get("Backstory-Conversation"),
            }
        )
    )

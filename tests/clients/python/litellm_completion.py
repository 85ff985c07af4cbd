"""LiteLLM as a client: ``litellm.completion``, which keeps its HTTP clients for the process."""

import json
import os
import sys
from importlib.metadata import version
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # read at import: asks nobody for prices

import litellm  # type: ignore[import-not-found]

litellm.suppress_debug_info = True  # its hints go where our lines go
plan = json.load(sys.stdin)
print(json.dumps({"client": "litellm", "version": version("litellm")}))
more: Any = {"tools": [{"type": "function", "function": plan["tool"]}]} if plan["tool"] else {}


def result(call: Any) -> Any:
    """What the tool says, as a message."""
    city = json.loads(call.function.arguments)["city"]
    return {"role": "tool", "tool_call_id": call.id, "content": f"12 degrees in {city}"}


for turn in plan["turns"]:
    messages: list[Any] = [{"role": "user", "content": turn["text"]}]
    while True:
        answer: Any = litellm.completion(
            model="openai/m",
            api_base=plan["url"] + "/v1",
            api_key=turn["token"],
            extra_headers=plan["headers"] or None,
            messages=messages,
            stream=plan["stream"],
            **more,
        )
        whole = litellm.stream_chunk_builder(list(answer)) if plan["stream"] else answer
        message = whole.choices[0].message
        if not message.tool_calls:
            break
        messages += [message, *map(result, message.tool_calls)]
    seen = answer._hidden_params.get("additional_headers") or {}
    print(
        json.dumps(
            {
                "text": message.content,
                "receipt": seen.get("llm_provider-backstory-memory"),
                "conversation": seen.get("llm_provider-backstory-conversation"),
            }
        )
    )

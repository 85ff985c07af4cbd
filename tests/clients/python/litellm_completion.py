"""LiteLLM as a client: ``litellm.completion``, which keeps its HTTP clients for the process."""

import json
import os
import sys
from importlib.metadata import version
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # read at import: asks nobody for prices

import litellm  # type: ignore[import-not-found]

plan = json.load(sys.stdin)
print(json.dumps({"client": "litellm", "version": version("litellm")}))
for turn in plan["turns"]:
    answer: Any = litellm.completion(
        model="openai/m",
        api_base=plan["url"] + "/v1",
        api_key=turn["token"],
        extra_headers=plan["headers"] or None,
        messages=[{"role": "user", "content": turn["text"]}],
        stream=plan["stream"],
    )
    if plan["stream"]:
        text = "".join(piece.choices[0].delta.content or "" for piece in answer)
    else:
        text = answer.choices[0].message.content
    seen = answer._hidden_params.get("additional_headers") or {}
    print(
        json.dumps(
            {
                "text": text,
                "receipt": seen.get("llm_provider-backstory-memory"),
                "conversation": seen.get("llm_provider-backstory-conversation"),
            }
        )
    )

"""curl, with a cookie jar: ``curl -b jar -c jar``, one process for each turn."""

import json
import subprocess
import sys
from pathlib import Path

plan = json.load(sys.stdin)
version = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True).stdout
print(json.dumps({"client": "curl", "version": version.split()[1]}))


def said(body: str) -> str:
    """The reply in an answer, which is one object or a stream of events."""
    if not plan["stream"]:
        return str(json.loads(body)["choices"][0]["message"]["content"])
    events = [line.removeprefix("data: ") for line in body.splitlines() if line]
    assert events.pop() == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


for turn in plan["turns"]:
    question = {"role": "user", "content": turn["text"]}
    body = {"model": "m", "messages": [question], "stream": plan["stream"]}
    headers = {
        "Authorization": f"Bearer {turn['token']}",
        "Content-Type": "application/json",
        **plan["headers"],
    }
    command = ["curl", "-sSfN", "-b", "jar", "-c", "jar", "-D", "head", "-d", json.dumps(body)]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    command.append(plan["url"] + "/v1/chat/completions")
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    fields = (line.partition(":") for line in Path("head").read_text().splitlines()[1:])
    seen = {name.lower(): value.strip() for name, _, value in fields}
    print(
        json.dumps(
            {
                "text": said(answer),
                "receipt": seen.get("backstory-memory"),
                "conversation": seen.get("backstory-conversation"),
            }
        )
    )

"""Ollama's client for Python: a client object for each user, because it takes headers only once."""

import json
import sys
from importlib.metadata import version
from typing import Any

import httpx
import ollama

plan = json.load(sys.stdin)
print(json.dumps({"client": "ollama", "version": version("ollama")}))
clients: dict[str, ollama.Client] = {}
headers: dict[str, str] = {}
"""Of the last answer: httpx shows them, Ollama's client does not."""


def see(answer: httpx.Response) -> None:
    """Called for each answer."""
    headers.clear()
    headers.update(answer.headers)


def client_of(token: str) -> ollama.Client:
    """The user's client."""
    if token not in clients:
        given = {"Authorization": f"Bearer {token}", **plan["headers"]}
        hooks = {"response": [see]}
        clients[token] = ollama.Client(host=plan["url"], headers=given, event_hooks=hooks)
    return clients[token]


def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: its name
    """
    return f"12 degrees in {city}"


def say(client: ollama.Client, messages: Any) -> tuple[str, list[Any]]:
    """What the answer says, and the calls in it."""
    asked: Any = {"model": "m", "messages": messages}
    if plan["tool"]:
        asked["tools"] = [get_weather]  # it makes the schema from the function
    if not plan["stream"]:
        message = client.chat(**asked).message
        return message.content or "", list(message.tool_calls or [])
    pieces = [piece.message for piece in client.chat(**asked, stream=True)]
    text = "".join(piece.content or "" for piece in pieces)
    return text, [call for piece in pieces for call in piece.tool_calls or []]


for turn in plan["turns"]:
    client = client_of(turn["token"])
    messages: list[Any] = [{"role": "user", "content": turn["text"]}]
    while True:
        text, calls = say(client, messages)
        if not calls:
            break
        messages.append({"role": "assistant", "content": text, "tool_calls": calls})
        for call in calls:
            result = get_weather(**call.function.arguments)
            messages.append({"role": "tool", "tool_name": call.function.name, "content": result})
    print(
        json.dumps(
            {
                "text": text,
                "receipt": headers.get("backstory-memory"),
                "conversation": headers.get("backstory-conversation"),
            }
        )
    )

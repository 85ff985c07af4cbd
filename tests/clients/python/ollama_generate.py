"""Ollama's client for Python, by way of ``generate``: a prompt of text, and no messages."""

import json
import sys
from importlib.metadata import version

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
    """The user's client: it takes headers only once."""
    if token not in clients:
        given = {"Authorization": f"Bearer {token}", **plan["headers"]}
        hooks = {"response": [see]}
        clients[token] = ollama.Client(host=plan["url"], headers=given, event_hooks=hooks)
    return clients[token]


for turn in plan["turns"]:
    client = client_of(turn["token"])
    if plan["stream"]:
        pieces = client.generate("m", turn["text"], stream=True)
        text = "".join(piece.response or "" for piece in pieces)
    else:
        text = client.generate("m", turn["text"]).response or ""
    print(
        json.dumps(
            {
                "text": text,
                "receipt": headers.get("backstory-memory"),
                "conversation": headers.get("backstory-conversation"),
            }
        )
    )

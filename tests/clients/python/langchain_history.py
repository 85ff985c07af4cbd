"""LangChain with a history of its own: ``RunnableWithMessageHistory`` around ``ChatOpenAI``."""

import json
import sys
from importlib.metadata import version
from typing import Any

from langchain_core.chat_history import InMemoryChatMessageHistory  # type: ignore[import-not-found]
from langchain_core.messages import AIMessageChunk, HumanMessage  # type: ignore[import-not-found]
from langchain_core.runnables.history import RunnableWithMessageHistory  # type: ignore[import-not-found]
from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

plan = json.load(sys.stdin)
print(json.dumps({"client": "langchain-openai", "version": version("langchain-openai")}))
histories: dict[str, InMemoryChatMessageHistory] = {}


def history(session_id: str) -> InMemoryChatMessageHistory:
    """What LangChain keeps for a session."""
    return histories.setdefault(session_id, InMemoryChatMessageHistory())


for turn in plan["turns"]:
    model = ChatOpenAI(
        model="m",
        base_url=plan["url"] + "/v1",
        api_key=turn["token"],
        default_headers=plan["headers"],
        include_response_headers=True,
    )
    chat = RunnableWithMessageHistory(model, history)
    session: Any = {"configurable": {"session_id": turn["token"]}}
    question = [HumanMessage(turn["text"])]
    if plan["stream"]:
        answer: Any = AIMessageChunk("")
        for piece in chat.stream(question, config=session):
            answer += piece
    else:
        answer = chat.invoke(question, config=session)
    seen = answer.response_metadata.get("headers", {})
    print(
        json.dumps(
            {
                "text": answer.text,
                "receipt": seen.get("backstory-memory"),
                "conversation": seen.get("backstory-conversation"),
            }
        )
    )

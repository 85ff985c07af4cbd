"""LangChain with a history of its own: ``RunnableWithMessageHistory`` around ``ChatOpenAI``."""

import json
import sys
from importlib.metadata import version
from typing import Any

from langchain_core.chat_history import InMemoryChatMessageHistory  # type: ignore[import-not-found]
from langchain_core.messages import (  # type: ignore[import-not-found]
    AIMessageChunk,
    HumanMessage,
    ToolMessage,
)
from langchain_core.runnables.history import RunnableWithMessageHistory  # type: ignore[import-not-found]
from langchain_core.tools import tool  # type: ignore[import-not-found]
from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

plan = json.load(sys.stdin)
print(json.dumps({"client": "langchain-openai", "version": version("langchain-openai")}))
histories: dict[str, InMemoryChatMessageHistory] = {}


def history(session_id: str) -> InMemoryChatMessageHistory:
    """What LangChain keeps for a session."""
    return histories.setdefault(session_id, InMemoryChatMessageHistory())


@tool  # type: ignore[untyped-decorator]
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"12 degrees in {city}"


def say(chat: RunnableWithMessageHistory, messages: list[Any], session: Any) -> Any:
    """The message that answers."""
    if not plan["stream"]:
        return chat.invoke(messages, config=session)
    answer: Any = AIMessageChunk("")
    for piece in chat.stream(messages, config=session):
        answer += piece
    return answer


for turn in plan["turns"]:
    model = ChatOpenAI(
        model="m",
        base_url=plan["url"] + "/v1",
        api_key=turn["token"],
        default_headers=plan["headers"],
        include_response_headers=True,
    )
    asked = model.bind_tools([get_weather]) if plan["tool"] else model
    chat = RunnableWithMessageHistory(asked, history)
    session: Any = {"configurable": {"session_id": turn["token"]}}
    answer = say(chat, [HumanMessage(turn["text"])], session)
    while answer.tool_calls:
        results = [
            ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
            for call in answer.tool_calls
        ]
        answer = say(chat, results, session)
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

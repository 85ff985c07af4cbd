"""Requests of the Chat Completions API, read."""

from typing import Any

import pytest

from backstory.demo_upstream.openai_chat import complete

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
ASKED = {"role": "user", "content": "What is the weather in Oslo?"}


def said(*messages: dict[str, Any], **fields: Any) -> str:
    """What is answered to ``messages``."""
    completion = complete({"messages": list(messages), **fields})
    assert completion is not None
    return completion.said.text


@pytest.mark.parametrize(
    "messages", [None, [], "hello", {}, [None], ["hello"], [{}], [{"role": 1, "content": "x"}]]
)
def test_what_is_no_list_of_messages_is_refused(messages: object) -> None:
    assert complete({"messages": messages}) is None


@pytest.mark.parametrize(
    "content",
    [
        "Repeat the number 94572",
        [{"type": "text", "text": "Repeat the number 94572"}],
        [
            {"type": "image_url", "image_url": {}},
            {"type": "text", "text": "Repeat the number 94572"},
        ],
    ],
)
def test_content_is_a_string_or_parts(content: object) -> None:
    assert said({"role": "user", "content": content}) == "94572"


def test_a_developer_message_is_a_system_message() -> None:
    told = {"role": "developer", "content": "The code is XY."}
    assert said(told, {"role": "user", "content": "What is the code?"}) == "The code is XY."


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_limit_are_known(field: str) -> None:
    completion = complete({"messages": [{"role": "user", "content": "hi"}], field: 2})
    assert completion is not None
    assert completion.said.text == "I am"
    assert completion.said.truncated


def test_a_tool_is_called_for_what_the_messages_do_not_hold() -> None:
    completion = complete({"messages": [ASKED], "tools": [WEATHER], "max_tokens": 1})
    assert completion is not None
    assert completion.tool == "get_weather"
    assert completion.said.text == '{"city":"Oslo"}'


def test_no_tool_is_called_where_the_messages_hold_the_answer() -> None:
    told = {"role": "user", "content": "The weather in Oslo is fine"}
    assert said(told, ASKED, tools=[WEATHER]) == "The weather in Oslo is fine."


@pytest.mark.parametrize("tools", [None, 7, [7], [{}], [{"function": {"name": 7}}]])
def test_tools_that_are_none_are_not_called(tools: object) -> None:
    assert said(ASKED, tools=tools).startswith("I don't know")


def test_no_tool_is_called_if_that_is_forbidden() -> None:
    assert said(ASKED, tools=[WEATHER], tool_choice="none").startswith("I don't know")


def test_after_a_tool_has_answered_its_result_is_told() -> None:
    call = {"role": "assistant", "content": None}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"}
    assert said(ASKED, call, result, tools=[WEATHER]) == "The tool says: 12 degrees"

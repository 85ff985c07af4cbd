"""Requests of the Responses API, read."""

from typing import Any

import pytest

from backstory.demo_upstream.openai_responses import Refused, respond

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
ASKED = {"role": "user", "content": "What is the weather in Oslo?"}
CALL = {"type": "function_call", "call_id": "1", "name": "get_weather", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "1", "output": "12 degrees"}


def said(*items: dict[str, Any], **fields: Any) -> str:
    """What is answered to ``items``."""
    return respond({"input": list(items), **fields}).said.text


@pytest.mark.parametrize("value", [None, [], {}, 7, [None], ["hello"], [{}], [{"role": 1}]])
def test_what_is_no_input_is_refused(value: object) -> None:
    with pytest.raises(Refused) as caught:
        respond({"input": value})
    assert caught.value.param == "input"


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "background"])
def test_what_needs_a_memory_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="keeps nothing") as caught:
        respond({"input": "hi", name: "resp_1"})
    assert caught.value.param == name
    assert respond({"input": "hi", name: None}).said.text


def test_an_item_that_only_a_memory_has_is_refused() -> None:
    with pytest.raises(Refused, match="no item 'msg_1'") as caught:
        respond({"input": [ASKED, {"type": "item_reference", "id": "msg_1"}, ASKED]})
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("items", "complaint"),
    [([ASKED, CALL], "No tool output found"), ([ASKED, RESULT], "No tool call found")],
)
def test_half_a_call_is_refused(items: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        respond({"input": items})


@pytest.mark.parametrize(
    "value",
    [
        "Repeat the number 94572",
        [{"role": "user", "content": "Repeat the number 94572"}],
        [
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Repeat the number 94572"}],
            }
        ],
    ],
)
def test_an_input_is_a_string_or_items(value: object) -> None:
    assert respond({"input": value}).said.text == "94572"


def test_instructions_and_developers_are_the_system() -> None:
    asked = {"role": "user", "content": "What is the code?"}
    assert said({"role": "developer", "content": "The code is XY."}, asked) == "The code is XY."
    assert said(asked, instructions="The code is XY.") == "The code is XY."


def test_the_limit_is_known() -> None:
    response = respond({"input": "hi", "max_output_tokens": 2})
    assert (response.said.text, response.said.truncated) == ("I am", True)


def test_a_tool_is_called_for_what_the_items_do_not_hold() -> None:
    response = respond({"input": [ASKED], "tools": [WEATHER]})
    assert (response.tool, response.said.text) == ("get_weather", '{"city":"Oslo"}')
    assert said(ASKED, tools=[WEATHER], tool_choice="none").startswith("I don't know")


@pytest.mark.parametrize("tools", [None, 7, [7], [{}], [{"name": 7}]])
def test_tools_that_are_none_are_not_called(tools: object) -> None:
    assert said(ASKED, tools=tools).startswith("I don't know")


def test_after_a_tool_has_answered_its_result_is_told() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert said(ASKED, reasoning, CALL, RESULT, tools=[WEATHER]) == "The tool says: 12 degrees"

"""Requests and answers of the Messages API."""

import json
from typing import Any

import pytest

from backstory.demo_upstream.anthropic import Answer, answer
from backstory.model import Answer as Received
from backstory.model import Prompt, Verdict
from backstory_plugins.dialects.anthropic import Anthropic

ASKED = {"role": "user", "content": "What is the weather in Oslo?"}
WEATHER = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def answered(*messages: dict[str, Any], **fields: Any) -> Answer:
    found = answer({"messages": list(messages), **fields})
    assert found is not None
    return found


@pytest.mark.parametrize("messages", [None, [], "hello", {}, [None], ["hello"], [{}]])
def test_what_is_no_list_of_messages_is_refused(messages: object) -> None:
    assert answer({"messages": messages}) is None


@pytest.mark.parametrize(
    "content", ["Repeat the number 94572", [{"type": "text", "text": "Repeat the number 94572"}]]
)
def test_content_is_a_string_or_blocks(content: object) -> None:
    assert answered({"role": "user", "content": content}).said.text == "94572"


def test_instructions_are_known() -> None:
    asked = {"role": "user", "content": "What is the code?"}
    assert answered(asked, system="The code is XY.").said.text == "The code is XY."
    assert answered(asked).said.text.startswith("I don't know")


def test_a_tool_is_called_and_its_result_is_told() -> None:
    first = answered(ASKED, tools=[WEATHER], model="m")
    (call,) = json.loads(first.whole())["content"]
    assert (call["name"], call["input"]) == ("get_weather", {"city": "Oslo"})
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "3 C"}
    asks = {"role": "assistant", "content": [call]}
    second = answered(ASKED, asks, {"role": "user", "content": [result]}, tools=[WEATHER])
    assert second.said.text == "The tool says: 3 C"
    assert answered(ASKED, tools=[WEATHER], tool_choice={"type": "none"}).tool is None


def test_a_whole_answer_has_the_api_s_shape() -> None:
    said = answered({"role": "user", "content": "Repeat the number 5"}, model="m")
    assert json.loads(said.whole()) == {
        "id": f"msg_{said.ident}",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "5"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 4, "output_tokens": 1},
    }


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, Verdict.COMPLETE),
        ({"max_tokens": 2}, Verdict.TRUNCATED),
        ({"tools": [WEATHER]}, Verdict.TOOL),
    ],
)
def test_a_stream_says_the_same(fields: dict[str, Any], verdict: Verdict) -> None:
    said = answered(ASKED, **fields)
    stream = Received(200, "text/event-stream", b"".join(said.events()), True)
    whole = Received(200, "application/json", said.whole(), True)
    dialect, asked = Anthropic(), Prompt(b"", (), (), ())
    one, other = dialect.read_reply(asked, stream), dialect.read_reply(asked, whole)
    assert (one.verdict, one.prompt_tokens) == (other.verdict, other.prompt_tokens)
    assert one.verdict is verdict
    assert json.loads(one.messages[0].raw) == json.loads(other.messages[0].raw)

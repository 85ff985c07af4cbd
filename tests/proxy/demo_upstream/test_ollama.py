"""Ollama's chat as the demo upstream speaks it: lines, or one object."""

import json
from typing import Any

import pytest

from backstory.demo_upstream.ollama import complete, error, lines, whole

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def both(content: str, **fields: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The answer as one object, and as lines."""
    messages = [{"role": "user", "content": content}]
    answer = complete({"model": "m", "messages": messages, **fields})
    assert answer is not None
    spoken = b"".join(lines(answer))
    assert spoken.endswith(b"}\n")
    return json.loads(whole(answer)), [json.loads(line) for line in spoken.splitlines()]


def test_a_line_for_each_token_and_one_for_the_end() -> None:
    one, (*said, last) = both("My name is Ada Lovelace.")
    assert one["message"] == {"role": "assistant", "content": "Hello, Ada Lovelace!"}
    assert [line["message"]["content"] for line in said] == ["Hello,", " Ada", " Lovelace!"]
    assert not any(line["done"] for line in said)
    for end in (one, last):
        assert (end["done"], end["done_reason"]) == (True, "stop")
        assert end["eval_count"] == 3
        assert end["prompt_eval_count"] > 0
    assert {line["created_at"] for line in said} == {one["created_at"]}


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({"num_predict": 1}, "Hello,", "length"),
        ({"num_predict": -1}, "Hello, Ada!", "stop"),
        ({"stop": ["!"]}, "Hello, Ada", "stop"),
        (None, "Hello, Ada!", "stop"),
    ],
)
def test_limits_are_options(options: object, text: str, reason: str) -> None:
    one, said = both("My name is Ada", options=options)
    assert (one["message"]["content"], one["done_reason"]) == (text, reason)
    assert "".join(line["message"]["content"] for line in said) == text


def test_a_call_comes_whole_and_without_an_id() -> None:
    one, (called, last) = both("What is the weather in New York?", tools=[WEATHER])
    function = {"index": 0, "name": "get_weather", "arguments": {"city": "New York"}}
    for message in (one["message"], called["message"]):
        assert message["tool_calls"] == [{"function": function}]
    assert "tool_calls" not in last["message"]


@pytest.mark.parametrize("messages", [None, [], "hello", [{}]])
def test_what_is_no_list_of_messages_is_refused(messages: object) -> None:
    assert complete({"messages": messages}) is None
    assert json.loads(error("No.")) == {"error": "No."}

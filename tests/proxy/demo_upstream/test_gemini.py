"""Gemini as the demo upstream speaks it: one object, an array in pieces, or events."""

import json
from typing import Any

import pytest

from backstory.demo_upstream.gemini import array, complete, error, events, whole
from backstory.demo_upstream.openai_completion import Completion

WEATHER = {
    "functionDeclarations": [
        {
            "name": "get_weather",
            "parameters": {
                "type": "OBJECT",
                "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER"}},
                "required": ["city", "days"],
            },
        }
    ]
}


def user(text: str) -> dict[str, Any]:
    return {"parts": [{"text": text}]}


def answer_to(*contents: object, **fields: Any) -> Completion:
    answer = complete("m", {"contents": list(contents), **fields})
    assert answer is not None
    return answer


def every_form(answer: Completion) -> list[list[dict[str, Any]]]:
    """The response objects of each form."""
    spoken = b"".join(events(answer)).split(b"\r\n\r\n")
    assert spoken.pop() == b""
    return [
        [json.loads(whole(answer))],
        json.loads(b"".join(array(answer))),
        [json.loads(event.removeprefix(b"data: ")) for event in spoken],
    ]


def text_of(responses: list[dict[str, Any]]) -> str:
    return "".join(r["candidates"][0]["content"]["parts"][0]["text"] for r in responses)


def test_every_form_says_the_same_and_stops_in_the_last_object() -> None:
    for responses in every_form(answer_to(user("My name is Ada"))):
        assert text_of(responses) == "Hello, Ada!"
        *others, last = [each["candidates"][0].get("finishReason") for each in responses]
        assert (set(others) <= {None}, last) == (True, "STOP")
        assert responses[-1]["usageMetadata"]["totalTokenCount"] > 0
        assert responses[-1]["modelVersion"] == "m"


@pytest.mark.parametrize("key", ["generationConfig", "generation_config"])
def test_the_limit_is_the_reason_if_it_cut(key: str) -> None:
    limit = {"maxOutputTokens" if key == "generationConfig" else "max_output_tokens": 1}
    for responses in every_form(answer_to(user("My name is Ada"), **{key: limit})):
        assert text_of(responses) == "Hello,"
        assert responses[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_nothing_to_say_is_said() -> None:
    answer = answer_to(user("My name is Ada"), generationConfig={"stopSequences": ["Hello"]})
    for responses in every_form(answer):
        assert (len(responses), text_of(responses)) == (1, "")


@pytest.mark.parametrize("key", ["systemInstruction", "system_instruction"])
def test_the_system_instruction_is_read(key: str) -> None:
    answer = answer_to(user("What is the code?"), **{key: user("The code is XY.")})
    assert answer.said.text == "The code is XY."


def test_a_function_is_called_and_its_result_told() -> None:
    asked = user("What is the weather in Oslo?")
    called = answer_to(asked, tools=[WEATHER])
    part = {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}}
    for responses in every_form(called):
        (response,) = responses
        assert response["candidates"][0]["content"]["parts"] == [part]
    model = {"role": "model", "parts": [part]}
    for returned, told in [({"result": "12 degrees"}, "12 degrees"), ({"t": 12}, '{"t": 12}')]:
        result = {"functionResponse": {"name": "get_weather", "response": returned}}
        answer = answer_to(asked, model, {"role": "user", "parts": [result]}, tools=[WEATHER])
        assert answer.said.text == f"The tool says: {told}"


@pytest.mark.parametrize("key", ["parametersJsonSchema", "parameters_json_schema"])
def test_a_function_may_be_declared_in_json_schema_as_googles_sdk_does(key: str) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    }
    called = answer_to(
        user("What is the weather in Oslo?"),
        tools=[{"functionDeclarations": [{"name": "get_weather", key: schema}]}],
    )
    assert json.loads(called.said.text) == {"city": "Oslo"}


@pytest.mark.parametrize("contents", [None, [], {"parts": []}, "hello", ["hello"], [{"role": 1}]])
def test_what_is_no_list_of_contents_is_refused(contents: object) -> None:
    assert complete("m", {"contents": contents}) is None
    assert json.loads(error("No."))["error"] == {
        "code": 400,
        "message": "No.",
        "status": "INVALID_ARGUMENT",
    }


@pytest.mark.parametrize("tools", [None, 7, [7], [{}], [{"functionDeclarations": [{"name": 7}]}]])
def test_tools_that_are_none_are_not_called(tools: object) -> None:
    answer = answer_to(user("What is the weather in Oslo?"), tools=tools)
    assert answer.said.text.startswith("I don't know")

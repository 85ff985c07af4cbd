"""What the APIs without messages have in common."""

import json

import pytest

from backstory.demo_upstream.raw_prompt import answered, object_in, whole


def test_a_transcript_is_answered_from_what_stands_in_it() -> None:
    told = "Human: My name is Ada\nAI: Hello, Ada!\nHuman: Who am I?\nAI: "
    assert answered(told, max_tokens=None, stop=None).generated.text == "Your name is Ada."
    assert answered("Who am I?", max_tokens=None, stop=None).generated.text.startswith("I don't")


def test_a_limit_and_a_stop_sequence_are_obeyed() -> None:
    said = answered("Say 'one two three'", max_tokens=2, stop=" three")
    assert (said.generated.text, said.generated.truncated) == ("one two", False)
    assert said.prompt_tokens == 4
    assert answered("Say 'one two three'", max_tokens=2, stop=None).generated.truncated


def test_one_json_value() -> None:
    spoken = whole({"a": "é"}, status=422)
    assert (spoken.content_type, spoken.status) == ("application/json", 422)
    assert json.loads(b"".join(spoken.pieces)) == {"a": "é"}


@pytest.mark.parametrize("value", [None, 7, [1], "x"])
def test_what_is_no_object_is_an_empty_one(value: object) -> None:
    assert object_in({"a": value}, "a") == {}
    assert object_in({}, "a") == {}
    assert object_in({"a": {"b": value}}, "a") == {"b": value}

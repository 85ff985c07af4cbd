"""One message as Ollama spells it, and which result answers which call."""

import json

import pytest

from backstory.jsonbody import NotJson
from backstory.model import Message
from backstory_plugins.dialects._ollama import calls_of, paired, read_message, told


def read(**value: object) -> Message:
    message = read_message(value, json.dumps(value).encode())
    assert message is not None
    return message


def asks(*names: str, **more: object) -> Message:
    calls = [{"function": {"name": name, "arguments": {"city": "Oslo"}}} for name in names]
    return read(role="assistant", content="", tool_calls=calls, **more)


@pytest.mark.parametrize("named", ["user", "USER", "User"])
def test_roles_are_read_in_any_case(named: str) -> None:
    assert read(role=named, content="a").role == "user"
    assert read(role=named, content="a").fingerprint == read(role="user", content="a").fingerprint


@pytest.mark.parametrize(
    "value", [None, [], "user", {}, {"role": 1}, {"role": "model"}, {"role": "developer"}]
)
def test_what_has_no_known_role_is_no_message(value: object) -> None:
    assert read_message(value, b"") is None


def test_what_is_nested_too_deep_is_no_json_of_ours() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    call = {"function": {"name": "f", "arguments": {"a": deep}}}
    with pytest.raises(NotJson):
        read_message({"role": "assistant", "tool_calls": [call]}, b"")


def test_pictures_count_and_cost_what_they_mean() -> None:
    picture = read(role="user", content="What is this?", images=["A" * 40_000])
    assert 1500 < picture.tokens < 1550
    assert picture.fingerprint != read(role="user", content="What is this?").fingerprint
    other = read(role="user", content="What is this?", images=["B" * 40_000])
    assert picture.fingerprint != other.fingerprint
    assert read(role="user", content="a", images=[]).fingerprint == (
        read(role="user", content="a", images=None).fingerprint
    )


def test_thinking_and_the_ids_of_calls_do_not_count() -> None:
    plain = asks("weather")
    assert plain.fingerprint == asks("weather", thinking="hm").fingerprint
    named = {
        "id": "call_1",
        "function": {"index": 0, "name": "weather", "arguments": {"city": "Oslo"}},
    }
    assert plain.fingerprint == read(role="assistant", tool_calls=[named]).fingerprint
    assert plain.fingerprint != asks("time").fingerprint


def test_a_result_is_told_apart_by_its_tool_and_its_text() -> None:
    result = read(role="tool", content="3 C", tool_name="weather")
    assert result.fingerprint == (
        read(role="tool", content=" 3 C\n", tool_name="weather", tool_call_id="x").fingerprint
    )
    assert result.fingerprint != read(role="tool", content="4 C", tool_name="weather").fingerprint
    assert result.fingerprint != read(role="tool", content="3 C", tool_name="time").fingerprint
    assert result.spine == b""


def test_the_nth_result_answers_the_nth_call() -> None:
    result = read(role="tool", content="3 C")
    user = read(role="user", content="And?")
    messages = [result, asks("a", "b"), result, result, user, result, asks("a"), result]
    assert [m.answers for m in paired(messages)] == [
        ("#0",),
        (),
        ("#0",),
        ("#1",),
        (),
        ("#0",),
        (),
        ("#0",),
    ]
    assert asks("a", "b").calls == ("#0", "#1")


@pytest.mark.parametrize(
    ("function", "whole"),
    [
        ({"name": "f", "arguments": {}}, True),
        ({"name": "f", "arguments": None}, True),
        ({"name": "f"}, True),
        ({"name": "f", "arguments": "{}"}, True),
        ({"name": "f", "arguments": '{"a'}, False),
        ({"name": "f", "arguments": []}, False),
        ({"arguments": None}, False),
        (None, False),
    ],
)
def test_a_call_is_whole_if_it_has_a_name_and_arguments(function: object, whole: bool) -> None:
    assert [call.whole for call in calls_of({"tool_calls": [{"function": function}]})] == [whole]


def test_another_dialects_message_is_told_by_its_text() -> None:
    message = Message("assistant", b'{"role":"model","parts":[{"text":"4"}]}', b"f", b"s", form="x")
    here = told(message)
    assert here is not None
    assert (here.raw, here.form) == (b'{"role":"assistant","content":"4"}', "ollama")
    assert told(message._replace(role="tool")) is None

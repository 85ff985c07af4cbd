"""One message in chat form: the facts that memory notes of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.fingerprint import fingerprints
from backstory.jsonbody import NotJson
from backstory.model import Message
from backstory_plugins.dialects._chat import (
    asks_one_token,
    calls_of,
    joined,
    plain_message,
    read_message,
    split,
    stored_text,
    text_of,
    without_calls,
)


def read(**value: object) -> Message:
    message = read_message(value, json.dumps(value).encode())
    assert message is not None
    return message


def call(arguments: object, **more: object) -> dict[str, object]:
    function = {"name": "weather", "arguments": arguments}
    return {"id": "c1", "type": "function", "function": function, **more}


def asks(*calls: object, **more: object) -> Message:
    return read(role="assistant", content=None, tool_calls=list(calls), **more)


@pytest.mark.parametrize(
    ("named", "role"),
    [
        ("developer", "system"),
        ("system", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("tool", "tool"),
        ("function", "tool"),
    ],
)
def test_the_roles_of_the_api_are_four_of_ours(named: str, role: str) -> None:
    assert read(role=named, content="a").role == role
    assert read(role=named, content="a").fingerprint == read(role=role, content="a").fingerprint


@pytest.mark.parametrize(
    "value", [None, [], "user", {}, {"role": 1}, {"role": ["user"]}, {"role": "model"}]
)
def test_what_has_no_known_role_is_no_message(value: object) -> None:
    assert read_message(value, b"") is None


def test_the_bytes_stay() -> None:
    raw = b'{ "role" : "user", "content": "\\u00e9", "x": 1E400 }'
    message = read_message(json.loads(raw), raw)
    assert message is not None
    assert message.raw == raw


def test_a_string_and_its_parts_are_the_same_message() -> None:
    parts = [{"type": "text", "text": "Hi, "}, {"type": "text", "text": "Ada."}]
    assert read(role="user", content=parts)[2:4] == read(role="user", content="Hi, Ada.")[2:4]


def test_what_clients_drop_or_add_does_not_count() -> None:
    sent = read(role="assistant", content="A.\n", reasoning_content="hm", annotations=[], name="x")
    assert sent[2:4] == read(role="assistant", content="A.", tool_calls=[])[2:4]


def test_a_picture_counts_and_how_sharp_it_is_does_not() -> None:
    def picture(url: str, **detail: str) -> bytes:
        part = {"type": "image_url", "image_url": {"url": url, **detail}}
        return read(role="user", content=[part]).fingerprint

    assert picture("data:a") == picture("data:a", detail="high")
    assert picture("data:a") != picture("data:b")


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ({"type": "image_url", "image_url": {"url": "a" * 40_000}}, 1500),
        ({"type": "image_url", "image_url": "a" * 40_000}, 1500),
        ({"type": "input_audio", "input_audio": {"data": "a" * 40_000, "format": "wav"}}, 2000),
        ({"type": "file", "file": {"file_data": "a" * 40_000, "filename": "f"}}, 2000),
        ({"type": "file", "file": {"file_id": "a" * 40}}, 2),
    ],
)
def test_media_cost_what_they_mean_and_not_what_they_spell(
    part: dict[str, object], tokens: int
) -> None:
    message = read(role="user", content=[part])
    assert tokens < message.tokens < tokens + 50
    assert message.fingerprint != read(role="user", content=[]).fingerprint


def test_text_costs_a_token_for_three_bytes() -> None:
    message = read(role="user", content="a" * 300)
    assert message.tokens == -(-len(message.raw) // 3) + 4


def test_a_call_is_its_name_and_parsed_arguments() -> None:
    message = asks(call('{"a":1,"b":2}'))
    assert message.calls == ("c1",)
    assert message.fingerprint == asks(call('{ "b": 2, "a": 1 }', id="other")).fingerprint
    assert message.fingerprint != asks(call('{"a":1}')).fingerprint
    assert message.spine == b""


def test_arguments_that_do_not_parse_are_compared_as_text() -> None:
    assert asks(call('{"a":')).fingerprint == asks(call('{"a":')).fingerprint
    assert asks(call('{"a":')).fingerprint != asks(call('{"b":')).fingerprint


@pytest.mark.parametrize(
    ("asked", "whole"),
    [
        (call("{}"), True),
        (call({"a": 1}), True),
        (call(""), False),
        (call('{"a":'), False),
        (call("[" * 100_000), False),
        (call(None), False),
        ({"id": "c1", "type": "function"}, False),
        ({"id": "c1", "type": "custom", "custom": {"name": "sh", "input": "ls {"}}, True),
        ({"id": "c1", "type": "custom", "custom": {"name": "sh"}}, False),
        ("call", False),
    ],
)
def test_a_call_is_whole_if_its_arguments_are(asked: object, whole: bool) -> None:
    assert [found.whole for found in calls_of({"tool_calls": [asked]})] == [whole]


def test_calls_that_are_no_list_are_no_calls_to_answer() -> None:
    assert [found.whole for found in calls_of({"tool_calls": {"id": "c1"}})] == [False]
    assert calls_of({"tool_calls": [], "function_call": None}) == []


def test_a_legacy_call_is_known_by_its_name() -> None:
    function = {"name": "weather", "arguments": "{}"}
    assert read(role="assistant", function_call=function).calls == ("weather",)
    assert read(role="function", name="weather", content="3 C").answers == ("weather",)


def test_a_result_names_its_call_and_has_no_spine() -> None:
    message = read(role="tool", tool_call_id="c1", content="3 C")
    assert (message.answers, message.spine) == (("c1",), b"")
    assert message.fingerprint == fingerprints("tool", "", results=[("c1", "3 C")])[0]
    assert message.fingerprint != read(role="tool", tool_call_id="c2", content="3 C").fingerprint
    assert message.fingerprint != read(role="tool", tool_call_id="c1", content="4 C").fingerprint
    assert read(role="tool", tool_call_id=None, content="3 C").answers == ()


def test_a_refusal_is_text() -> None:
    assert text_of({"content": None, "refusal": "No."}) == "No."
    assert text_of({"content": [{"type": "refusal", "refusal": "No."}]}) == "No."
    assert text_of({"content": [{"type": "thinking", "text": "hm"}, "ok", None, 1]}) == "ok"


def test_the_new_part_is_the_run_at_the_end() -> None:
    def roles(spelled: str) -> tuple[str, str]:
        known = {"u": "user", "a": "assistant", "t": "tool", "s": "system"}
        claimed, new = split([read(role=known[letter], content=letter) for letter in spelled])
        return "".join(m.role[0] for m in claimed), "".join(m.role[0] for m in new)

    assert roles("") == ("", "")
    assert roles("u") == ("", "u")
    assert roles("uau") == ("ua", "u")
    assert roles("uattsu") == ("ua", "ttsu")
    assert roles("uaua") == ("ua", "ua")
    assert roles("uaa") == ("ua", "a")


def test_without_its_calls_the_text_is_left_as_spelled() -> None:
    raw = (
        b'{"role": "assistant", "reasoning": "hm", "content": "Let me \\u006cook.", "x": 1E400,'
        b'"tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]}'
    )
    message = read_message(json.loads(raw), raw)
    assert message is not None
    left = without_calls(message)
    assert left is not None
    assert left.raw == b'{"role":"assistant","content":"Let me \\u006cook.","x":1E400}'
    assert (left.calls, left.fingerprint) == ((), message.fingerprint)
    assert 0 < left.tokens < message.tokens


@pytest.mark.parametrize("content", [None, "", " \n", [], [{"type": "text", "text": ""}]])
def test_a_message_of_nothing_but_calls_goes_as_a_whole(content: object) -> None:
    value = {"role": "assistant", "content": content, "tool_calls": [call("{}")], "reasoning": "x"}
    message = read(**value)
    assert without_calls(message) is None


def test_a_message_without_calls_stays_itself() -> None:
    message = read(role="assistant", content="")
    assert without_calls(message) is message


def test_contents_are_joined_as_text_or_as_parts() -> None:
    part = {"type": "image_url"}
    assert joined(["a", None, "b"]) == "ab"
    assert joined(["a", "b", [part], "", "c"]) == [
        {"type": "text", "text": "ab"},
        part,
        {"type": "text", "text": "c"},
    ]
    assert joined([None, 7]) is None
    assert joined(["", None]) == ""
    assert joined([[], [part]]) == [part]


@pytest.mark.parametrize(
    ("values", "one"),
    [
        ([1], True),
        ([0], True),
        ([None, 1], True),
        ([1.5], False),
        ([-1], False),
        ([], False),
        ([True], False),
        (["1"], False),
        ([float("nan")], False),
    ],
)
def test_a_limit_of_one_token_leaves_no_room(values: list[object], one: bool) -> None:
    assert asks_one_token(values) is one


def test_what_is_nested_too_deep_to_compare_is_not_read() -> None:
    deep: object = 0
    for _ in range(100_000):
        deep = [deep]
    value = {"role": "assistant", "tool_calls": [{"function": {"arguments": deep}}]}
    with pytest.raises(NotJson):
        read_message(value, b"")


@given(st.text())
def test_a_plain_message_says_its_text(text: str) -> None:
    assert stored_text(plain_message("user", text)) == text

"""Texts are found in every form of message, and what is no text is found to be none."""

import base64
import json
import random
from typing import Any

import pytest

from backstory.model import Message
from backstory.texts import Texts, texts_of

IMAGE = base64.b64encode(random.Random(4).randbytes(600)).decode()
URL = "https://example.com/" + "i" * 200
ARGUMENTS = '{"city": "Köln", "type": "now"}'


def texts(value: object, *, with_media: bool = False) -> Texts:
    raw = json.dumps(value).encode()
    return texts_of(Message("user", raw, b"", b""), with_media=with_media)


def call(arguments: object) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"role": "user", "content": 'Grüße,\n«你好» "x"'}, ['Grüße,\n«你好» "x"']),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]}, ["a", "b"]),
        ({"role": "assistant", "content": None, "refusal": "no"}, ["no"]),
        ({"role": "assistant", "tool_calls": [call(ARGUMENTS)]}, ["f", ARGUMENTS]),
        (
            {"role": "assistant", "tool_calls": [call({"city": "Köln", "type": [1]})]},
            ["f", '{"city":"Köln","type":[1]}'],
        ),
        ({"role": "tool", "tool_call_id": "call_1", "content": "21 °C"}, ["21 °C"]),
        (
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}],
            },
            ["x"],
        ),
        (
            {"content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"id": "é"}}]},
            ["f", '{"id":"é"}'],
        ),
        (
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
            ["f", '{"a":1}'],
        ),
        (
            {"parts": [{"functionResponse": {"name": "f", "response": {"result": "r"}}}]},
            ["f", '{"result":"r"}'],
        ),
        (
            {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
            ["f", "{}"],
        ),
    ],
)
def test_the_texts_of_every_form_are_counted_and_their_json_is_not(
    value: object, said: list[str]
) -> None:
    assert texts(value) == Texts(said, 0)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "hm", "signature": "s" * 50},
        {"type": "redacted_thinking", "data": "s" * 50, "and": "hm"},
        {"type": "reasoning", "summary": [{"text": "hm"}], "encrypted_content": "s" * 50},
        {"text": "hm", "thoughtSignature": "s" * 50},
    ],
)
def test_what_only_its_author_reads_is_no_text(block: object) -> None:
    assert texts({"content": [block]}) == Texts(["hm"], 50)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
        {"type": "input_image", "image_url": URL},
        {"type": "file", "file": {"file_data": IMAGE}},
        {"type": "input_audio", "input_audio": {"data": IMAGE}},
        {"type": "image", "source": {"type": "base64", "data": IMAGE}},
        {"images": [base64.encodebytes(random.Random(5).randbytes(600)).decode()]},
    ],
)
def test_media_are_no_text(part: object) -> None:
    found = texts({"content": [{"type": "text", "text": "what is it?"}, part]}, with_media=True)
    assert "what is it?" in found.said
    assert sum(map(len, found.said)) < 100
    assert found.unsaid > 190


def test_base64_that_is_pasted_is_text() -> None:
    assert texts({"role": "user", "content": IMAGE}) == Texts([IMAGE], 0)
    assert texts({"role": "user", "content": f"{IMAGE} ?"}, with_media=True).unsaid == 0


def test_several_objects_are_one_message() -> None:
    raw = b'{"content": "a"}, {"content": "b"}'
    assert texts_of(Message("user", raw, b"", b""), with_media=False) == Texts(["a", "b"], 0)


@pytest.mark.parametrize("raw", [b"{", b'{"a": NaN', b"\xff", b'{"a": 1' + b"0" * 5000 + b"}"])
def test_what_is_no_json_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one, json decides
        texts_of(Message("user", raw, b"", b""), with_media=False)


def test_what_is_nested_too_deep_is_an_error() -> None:
    with pytest.raises(RecursionError):
        texts_of(Message("user", b"[" * 9000 + b"]" * 9000, b"", b""), with_media=False)

"""The parts of a Gemini content, in both spellings; joined, and left out."""

import json

import pytest

from backstory_plugins.dialects._gemini_parts import (
    Part,
    Spelled,
    by_place,
    calls_in,
    joined,
    media_in,
    parts_of,
    replaced,
    results_in,
    shows,
    spelled_parts,
    without_signature,
)


def spelled(*parts: Part) -> list[Spelled]:
    return [Spelled(part, json.dumps(part)) for part in parts]


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ({}, 0),
        ({"parts": None}, 0),
        ({"parts": [{}, {"text": "a"}]}, 2),
        ({"parts": {"text": "a"}}, None),
        ({"parts": ["a"]}, None),
        ({"parts": "a"}, None),
    ],
)
def test_parts_are_a_list_of_objects(content: Part, count: int | None) -> None:
    parts = parts_of(content)
    assert (None if parts is None else len(parts)) == count


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ({"text": "a"}, True),
        ({"text": " \n"}, False),
        ({"text": ""}, False),
        ({"text": "", "thoughtSignature": "x"}, False),
        ({"text": "", "thought_signature": "x"}, False),
        ({"text": "hm", "thought": True}, False),
        ({"text": "a", "thought": False}, True),
        ({"functionCall": {"name": "f"}, "thoughtSignature": "x"}, False),
        ({"function_call": {"name": "f"}}, False),
        ({"functionResponse": {"name": "f"}}, False),
        ({"inlineData": {"data": "iVBO"}}, True),
        ({"executableCode": {"code": "1"}}, True),
        ({"somethingNew": {}}, True),
    ],
)
def test_text_and_whatever_is_no_call_shows_something(part: Part, shown: bool) -> None:
    assert shows(part) is shown


@pytest.mark.parametrize("key", ["functionCall", "function_call"])
def test_a_call_is_a_name_and_arguments(key: str) -> None:
    (call,) = calls_in([{"text": "a"}, {key: {"name": "f", "args": {"a": 1}, "id": "c1"}}])
    assert call == ("c1", "f", {"a": 1}, True)


@pytest.mark.parametrize(
    ("call", "whole"),
    [
        ({"name": "f"}, True),
        ({"name": "f", "args": None}, True),
        ({"name": "f", "args": "{}"}, False),
        ({"args": {}}, False),
        ({}, False),
        ("f", False),
        ({"name": "f", "willContinue": True}, False),
        ({"name": "f", "will_continue": True}, False),
        ({"name": "f", "partialArgs": [{"jsonPath": "$.a"}]}, False),
        ({"name": "f", "willContinue": False, "partialArgs": []}, True),
    ],
)
def test_a_piece_of_a_call_is_not_whole(call: object, whole: bool) -> None:
    assert [found.whole for found in calls_in([{"functionCall": call}])] == [whole]


@pytest.mark.parametrize("key", ["functionResponse", "function_response"])
def test_a_result_is_a_name_and_json_in_any_order(key: str) -> None:
    one = results_in([{key: {"name": "f", "id": "c1", "response": {"b": 1, "a": "é"}}}])
    other = results_in([{key: {"name": "f", "id": "c1", "response": {"a": "é", "b": 1}}}])
    assert one == other
    assert one[0][:2] == ("c1", "f")
    assert json.loads(one[0].text) == {"a": "é", "b": 1}
    assert results_in([{key: None}, {key: "f"}]) == []


def test_what_has_no_id_is_paired_by_name_and_position() -> None:
    names = ("f", "g", "f", "f")
    calls = calls_in([{"functionCall": {"name": name}} for name in names])
    results = results_in([{"functionResponse": {"name": name}} for name in names])
    assert by_place(calls) == by_place(results) == ["f#0", "g#0", "f#1", "f#2"]


@pytest.mark.parametrize(
    ("part", "media"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "A" * 4000}}, 1500),
        ({"inline_data": {"mime_type": "image/png", "data": "A" * 4000}}, 1500),
        ({"inlineData": {"mimeType": "audio/wav", "data": "A" * 4000}}, 200),
        ({"fileData": {"fileUri": "gs://a/b"}}, 1500),
        ({"file_data": {"file_uri": "gs://a/b"}}, 1500),
        ({"functionResponse": {"parts": [{"inlineData": {"data": "A" * 4000}}]}}, 200),
    ],
)
def test_media_cost_what_they_mean(part: Part, media: int) -> None:
    ((data, tokens),) = media_in([part])
    assert data in ("A" * 4000, "gs://a/b")
    assert tokens == media


def test_no_media_is_found_in_oddities() -> None:
    odd: list[Part] = [{"inlineData": "A"}, {"inlineData": {"data": 1}}, {"fileData": []}]
    assert list(media_in([*odd, {"functionResponse": {"parts": "A"}}])) == []


def test_text_that_runs_on_is_one_part() -> None:
    whole = joined(
        spelled(
            {"text": "Two ", "thought": True},
            {"text": "and two.", "thought": True},
            {"text": "It "},
            {"text": "is"},
            {"text": ""},
            {"text": " 4."},
        )
    )
    assert [json.loads(part) for part in whole] == [
        {"text": "Two and two.", "thought": True},
        {"text": "It is 4."},
    ]


def test_what_carries_a_signature_stays_a_part_of_its_own() -> None:
    signed: list[Part] = [
        {"text": "It "},
        {"text": "is", "thoughtSignature": "a"},
        {"text": " 4."},
        {"text": "", "thoughtSignature": "b"},
        {"functionCall": {"name": "f"}, "thought_signature": "c"},
    ]
    assert [json.loads(part) for part in joined(spelled(*signed))] == signed


def test_a_part_alone_keeps_its_bytes() -> None:
    raw = '{ "text" : "\\u0034" }'
    assert joined([Spelled({"text": "4"}, raw), Spelled({"text": ""}, "{}")]) == [raw]


def test_a_signature_is_cut_out_and_the_rest_stays() -> None:
    raw = '{ "text": "\\u0034" , "thoughtSignature":"a", "x" :1.0, "thought_signature":"b"}'
    assert without_signature(Spelled(json.loads(raw), raw)) == '{"text":"\\u0034","x":1.0}'


def test_parts_are_found_where_they_stand_and_replaced_there() -> None:
    content = '{ "role" : "model", "parts" : [ {"text":"a"}, 7, {"x":1.0} ] , "y": 1E400}'
    assert [part.raw for part in spelled_parts("  " + content, 2)] == ['{"text":"a"}', '{"x":1.0}']
    assert replaced(content, ["{}", "{}"]) == (
        b'{ "role" : "model", "parts" : [{},{}] , "y": 1E400}'
    )
    assert spelled_parts('{"role":"model"}') == []

"""Values and places: every value's place is its spelling, and what is no JSON object is refused."""

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.jsonbody import (
    NotJson,
    Value,
    decode,
    dump,
    read_object,
    read_object_text,
    walk_array,
    walk_object,
)

DEEP = 100_000


class Spelled(NamedTuple):
    """A JSON text, and what is in it: pairs of an object, or elements of an array."""

    text: str
    inside: list[tuple[str, object, str]]
    """Key (empty in an array), value, spelling of the value."""


BLANKS = st.text(" \t\r\n", max_size=3)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["\u2028", "\ud83d\ude00", "😀", "\ud800", '"', "\\", "}", "]", ","]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
SPELLINGS = st.one_of(
    st.builds(json.dumps, VALUES, ensure_ascii=st.just(True), indent=st.none() | st.integers(0, 3)),
    st.builds(json.dumps, VALUES, ensure_ascii=st.just(False)),
    st.sampled_from(["1E400", "-0", "0.10", "1e-400", '"\\ud800"', '"\\/"', '"\u2028"', "[ ]"]),
)
KEYS = st.builds(json.dumps, st.text(max_size=4), ensure_ascii=st.booleans()) | st.sampled_from(
    ['"a"', '"\\u0061"', '"messages"', '"m\\u0065ssages"', '""', '"\\ud800"', '"\\""']
)


@st.composite
def spelled(draw: st.DrawFn, *, keys: bool) -> Spelled:
    inside, pieces = list[tuple[str, object, str]](), list[str]()
    for value in draw(st.lists(SPELLINGS, max_size=5)):
        key = draw(KEYS) if keys else '""'
        inside.append((json.loads(key), json.loads(value), value))
        named = key + draw(BLANKS) + ":" if keys else ""
        pieces.append(draw(BLANKS) + named + draw(BLANKS) + value + draw(BLANKS))
    open_, close = "{}" if keys else "[]"
    return Spelled(open_ + (",".join(pieces) or draw(BLANKS)) + close, inside)


@given(spelled(keys=True), BLANKS, BLANKS)
def test_every_value_is_found_at_its_place(case: Spelled, before: str, after: str) -> None:
    text = before + case.text + after
    fields = walk_object(text)
    expected: dict[str, list[tuple[object, str]]] = {}
    for key, value, spelling in case.inside:
        expected.setdefault(key, []).append((value, spelling))
    found = {key: [(v, text[a:b]) for v, a, b in places] for key, places in fields.items()}
    assert found == expected
    assert list(found) == list(expected)
    assert read_object_text(text) == {key: values[-1].value for key, values in fields.items()}


@given(spelled(keys=False), st.text(max_size=5), st.text(max_size=5))
def test_every_element_is_found_at_its_place(case: Spelled, before: str, after: str) -> None:
    text = before + case.text + after
    places = walk_array(text, len(before))
    assert [(v, text[a:b]) for v, a, b in places] == [(v, s) for _, v, s in case.inside]


@given(spelled(keys=True), st.text(max_size=5), st.text(max_size=5))
def test_an_object_inside_a_text_is_found_alone(case: Spelled, before: str, after: str) -> None:
    text = before + case.text + after
    fields = walk_object(text, len(before), whole=False)
    assert sum(map(len, fields.values())) == len(case.inside)


@given(st.text(' \n{}[]",:\\u0a1eE.-truefalsn', max_size=14))
def test_what_is_an_object_is_what_json_says(text: str) -> None:
    """Of every text: the walk refuses what ``json`` refuses, and reads the same."""
    try:
        pairs = json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs))
    except ValueError:
        pairs = None
    is_object = isinstance(pairs, tuple)
    try:
        found = {key: [v.value for v in values] for key, values in walk_object(text).items()}
    except NotJson:
        found = None
    assert (found is not None) == is_object
    if found is not None:
        assert {key: values[-1] for key, values in found.items()} == json.loads(text)


NO_OBJECT = [
    "",
    " ",
    "{",
    "[]",
    "null",
    '"{}"',
    "[}",
    '["a":1}',
    "{1:2}",
    "{x}",
    '{"a"=1}',
    "{}{}",
    "{} x",
    "{}\0",
    "\0{}",
    "\u00a0{}",
    "{,}",
    '{"a":1,}',
    '{"a":1,,"b":2}',
    '{,"a":1}',
    '{"a" 1}',
    '{"a"}',
    '{"a":}',
    '{"a":1 "b":2}',
    '{"a":1;"b":2}',
    "{a:1}",
    "{'a':1}",
    '{"a":1',
    '{"a":01}',
    '{"a":1.}',
    '{"a":+1}',
    '{"a":"\n"}',
    '{"a":"\0"}',
    '{"a":"\\x"}',
    '{"a":"\\ud8"}',
    '{"a":tru}',
    '{"a\n":1}',
    '{"a',
    '{"a":"b',
    '{"a":' + "9" * 5000 + "}",
    '{"a":1}//',
]


@pytest.mark.parametrize("text", NO_OBJECT)
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(NotJson):
        walk_object(text)
    with pytest.raises(NotJson):
        read_object_text(text)


@pytest.mark.parametrize(
    "text", ["", "{}", "{]", "(1]", "x[]", "[", "[,]", "[1,]", "[1 2]", "[1,,2]", "[1"]
)
def test_what_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(NotJson):
        walk_array(text, 0)


def listed(value: Value) -> list[Value]:
    assert isinstance(value.value, list)
    return value.value


@given(spelled(keys=False), BLANKS, BLANKS, st.data())
def test_the_first_elements_can_be_left_out(
    array: Spelled, before: str, after: str, data: st.DataObject
) -> None:
    head, tail = f'{{"a":[{{}}],{before}"m":{before}[', f'{after},"b":[1, 2]}}'
    whole = head + array.text[1:] + tail
    found = walk_object(whole, arrays=("m",))
    elements = listed(found["m"][0])
    assert [element.value for element in elements] == [value for _, value, _ in array.inside]
    if not elements:
        return
    known = data.draw(st.integers(1, len(elements)))
    gone = elements[known - 1].end - len(head)
    rest = walk_object(head + whole[len(head) + gone :], arrays=("a", "m"), resumes=len(head))
    assert listed(rest["m"][0]) == [(v, s - gone, e - gone) for v, s, e in elements[known:]]
    for key in "amb":
        assert [(e - s) for _, s, e in rest[key]] == [
            e - s - (gone if key == "m" else 0) for _, s, e in found[key]
        ]
    assert [e.value for e in listed(rest["a"][0])] == [{}]


@pytest.mark.parametrize(
    "rest", ["", "{}]}", '"a"]}', "]", "],}", ",]}", ",,1]}", "}", ",1}", "} 1]}", "}]}"]
)
def test_what_follows_them_must_be_the_rest_of_an_array(rest: str) -> None:
    head = '{"m":['
    with pytest.raises(NotJson):
        walk_object(head + rest, arrays=("m",), resumes=len(head))


def test_an_array_must_begin_where_it_is_said_to() -> None:
    with pytest.raises(NotJson):
        walk_array("[]", 2)
    assert walk_array("[]", 0) == []


@pytest.mark.parametrize(
    "walk",
    [
        pytest.param(lambda deep: walk_object('{"a":' + deep), id="object"),
        pytest.param(lambda deep: walk_array(f"[{deep}", 0), id="array"),
        pytest.param(lambda deep: read_object_text('{"a":' + deep), id="read"),
    ],
)
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_what_is_nested_too_deep_is_refused(walk: Callable[[str], object], opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    with pytest.raises(NotJson):
        walk(opening * DEEP + "1" + closing * (DEEP + 1))


@pytest.mark.parametrize(
    "body",
    [
        b"\xff{}",
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc0\x80"}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
    ],
)
def test_other_encodings_are_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        decode(body)
    with pytest.raises(NotJson):
        read_object(body)


def test_a_mark_inside_is_text() -> None:
    assert read_object('{"a":"\ufeff"}'.encode()) == {"a": "\ufeff"}


def test_a_refusal_does_not_quote_the_body() -> None:
    for text in NO_OBJECT:
        with pytest.raises(NotJson) as refused:
            walk_object(text.replace("a", "secret").replace("b", "secret"))
        assert "secret" not in str(refused.value)


def test_keys_casetwice_are_all_told() -> None:
    text = '{"a":1,"b":2,"\\u0061" : 3}'
    assert walk_object(text) == {"a": [Value(1, 5, 6), Value(3, 24, 25)], "b": [Value(2, 11, 12)]}
    assert read_object(text.encode()) == {"a": 3, "b": 2}


@given(VALUES)
def test_what_is_dumped_is_read_again(value: object) -> None:
    dumped = dump(value)
    assert json.loads(dumped) == json.loads(json.dumps(value))


def test_a_dump_is_compact_and_plain() -> None:
    assert dump({"a": ["é", 1]}) == '{"a":["é",1]}'.encode()
    assert dump(["é\ud800"]) == b'["\\u00e9\\ud800"]'

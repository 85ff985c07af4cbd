"""JSON paths: the part of RFC 9535 that a description needs, and a reason for every other."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.jsonbody import walk_object
from backstory_plugins.dialects._jsonpath import JsonPath

VALUE = {
    "a": {"b": [1, {"c": "d"}, None], "": 2, "ü": 3, "it's": 4, '"': 5, "\\": 6, "\n": 7},
    "x.y": {"*": 8, "é😀": 9},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [VALUE]),
        ("$.a.b", [[1, {"c": "d"}, None]]),
        ("$.a.b[0]", [1]),
        ("$.a.b[-1]", [None]),
        ("$.a.b[1].c", ["d"]),
        ("$.a.b[3]", []),
        ("$.a.b[-4]", []),
        ("$.a.b[*]", [1, {"c": "d"}, None]),
        ("$.a.b.*", [1, {"c": "d"}, None]),
        ("$.a.b[*].c", ["d"]),
        ("$['x.y'][*]", [8, 9]),
        ("$['a'][\"b\"][ 0 ]", [1]),
        ("$.a['']", [2]),
        ("$.a.ü", [3]),
        ("$.a['it\\'s']", [4]),
        ('$.a["it\'s"]', [4]),
        ("$.a['\"']", [5]),
        ('$.a["\\""]', [5]),
        ("$.a['\\\\']", [6]),
        ("$.a['\\n']", [7]),
        ("$['x.y']['*']", [8]),
        ("$['x.y']['\\u00e9\\ud83d\\ude00']", [9]),
        ("$.b", []),
        ("$.a.b.c", []),
        ("$.a[0]", []),
        ("$.a.b[0][0]", []),
        ("$.a.b[0].c", []),
    ],
)
def test_a_path_finds_what_is_there(path: str, found: list[object]) -> None:
    read = JsonPath.read(path)
    assert read.find(VALUE) == found
    assert read.first(VALUE) == (found[0] if found else None)
    assert read.is_one_place is ("*]" not in path and ".*" not in path)


@pytest.mark.parametrize(
    "path",
    [
        *("a", "", ".a", "$a", "$.", "$..a", "$.a.", "$.1", "$.a b", "$[a]", "$[01]", "$[-0]"),
        *("$[1:2]", "$[?@.a]", "$['a','b']", "$['a", "$['\\x']", '$["\n"]', " $.a", "$.a "),
    ],
)
def test_what_is_no_path_here_is_said(path: str) -> None:
    with pytest.raises(ValueError, match=r"a path|is not a name"):
        JsonPath.read(path)


@pytest.mark.parametrize(
    ("text", "path", "spelled"),
    [
        ('{ "a" : [ {"b": 1.0}, {"b" :"é\\u00e9"} ] }', "$.a[1].b", '"é\\u00e9"'),
        ('{"a":[1, 2]}', "$.a[-1]", "2"),
        ('{"a":[1, 2]}', "$.a[-2]", "1"),
        ('{"a":[1, 2]}', "$.a[2]", None),
        ('{"a":[1, 2]}', "$.a[-3]", None),
        ('{"a":{"b":1},"a":{"b":2}}', "$.a.b", None),
        ('{"a":{"b":1,"b":2}}', "$.a.b", None),
        ('{"a":{"b":1,"c":2,"c":3}}', "$.a.b", "1"),
        ('{"a":1}', "$.a.b", None),
        ('{"a":1}', "$.a[0]", None),
        ('{"a":{"0":1}}', "$.a[0]", None),
        ('{"a":[1]}', "$.a.b", None),
        ('{"a":1}', "$.b", None),
    ],
)
def test_a_place_is_where_the_value_is_spelled(text: str, path: str, spelled: str | None) -> None:
    place = JsonPath.read(path).place(text, walk_object(text))
    assert (None if place is None else text[place.start : place.end]) == spelled


@given(
    st.recursive(
        st.integers() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=8,
    ),
    st.data(),
)
def test_the_place_of_a_value_is_where_it_is_found(value: object, data: st.DataObject) -> None:
    whole: object = {"root": value}
    path, inner = "$.root", value
    while isinstance(inner, list | dict) and inner and data.draw(st.booleans()):
        if isinstance(inner, list):
            step = data.draw(st.integers(-len(inner), len(inner) - 1))
            path, inner = f"{path}[{step}]", inner[step]
        else:
            name = data.draw(st.sampled_from(sorted(inner)))
            path, inner = f"{path}[{json.dumps(name)}]", inner[name]
    read, text = JsonPath.read(path), json.dumps(whole)
    assert read.find(whole) == [inner]
    place = read.place(text, walk_object(text))
    assert place is not None
    assert place.value == inner
    assert json.loads(text[place.start : place.end]) == inner

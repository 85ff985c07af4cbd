"""Fields are cut out of an object, and nothing else changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.jsonbody import NotJson
from backstory_plugins.dialects._fields import without


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a":1}', "{}"),
        ('{ "a" : 1 }', "{  }"),
        ('{"a":1,"b":2}', '{"b":2}'),
        ('{"b":2,"a":1}', '{"b":2}'),
        ('{"b":2 , "a" : [1,{"a":2}] , "c":3}', '{"b":2 , "c":3}'),
        ('{"a":1,"a":2,"b":3,"a":4}', '{"b":3}'),
        ('{"a":1,"a":2}', "{}"),
        ('{"\\u0061":1,"b":{"a":1}}', '{"b":{"a":1}}'),
        ('{"b\\\\":":","a":1,"c":"\\""}', '{"b\\\\":":","c":"\\""}'),
        ('{"a":":\\",","b":2}', '{"b":2}'),
        ('{"b":0.10,\n "A":1E400}', '{"b":0.10,\n "A":1E400}'),
    ],
)
def test_a_field_goes_with_one_comma(before: str, after: str) -> None:
    assert without(before, ("a",)) == after


@pytest.mark.parametrize("text", ["", "[]", '{"a":1', '{"a":1}x'])
def test_what_is_no_object_has_no_fields(text: str) -> None:
    with pytest.raises(NotJson):
        without(text, ("a",))


@given(
    st.dictionaries(st.text(max_size=4), st.text(max_size=4) | st.integers(), max_size=6),
    st.data(),
    st.booleans(),
)
def test_the_fields_that_stay_stay(
    fields: dict[str, object], data: st.DataObject, ascii_only: bool
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(fields)))) if fields else []
    left = without(json.dumps(fields, ensure_ascii=ascii_only), names)
    assert json.loads(left) == {key: value for key, value in fields.items() if key not in names}

"""Lines of JSON, and a line that is cut."""

import pytest

from backstory.jsonbody import NotJson
from backstory_plugins.dialects._ndjson import read_lines


@pytest.mark.parametrize(
    ("body", "objects", "cut"),
    [
        (b"", (), False),
        (b"\n\r\n \n", (), False),
        (b'{"a":1}\n{"b":2}\n', ({"a": 1}, {"b": 2}), False),
        (b'{"a":1}\r\n{"b":2}', ({"a": 1}, {"b": 2}), False),
        (b'{"a":1}\n{"b":', ({"a": 1},), True),
        (b'{"a":"\xe2\x80\xa8\xc2\x85"}\n', ({"a": "\u2028\x85"},), False),
        (b'{"a":"\xe2\x80', (), True),
    ],
)
def test_a_line_is_an_object(body: bytes, objects: tuple[object, ...], cut: bool) -> None:
    assert read_lines(body) == (objects, cut)


@pytest.mark.parametrize(
    "body", [b"{\n}\n", b"[]\n", b'{"a":1}{"b":2}\n', b"\xff\n{}", b"null\n{}"]
)
def test_a_whole_line_that_is_no_object_is_an_error(body: bytes) -> None:
    with pytest.raises(NotJson):
        read_lines(body)

"""JSON lines, whole and cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory_plugins.dialects._ndjson import objects

BROKEN = {"error": True}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", []),
        (b"\n \n", []),
        (b'{"a":1}\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        (b'{"a":1}\r\n\r\n{"a":2}', [{"a": 1}, {"a": 2}]),
        (b'{"a":1}\n{"a":', [{"a": 1}]),
        (b'{"a":1}\n{"a":\n{"a":2}\n', [{"a": 1}, BROKEN, {"a": 2}]),
        (b'[]\n"x"\n\xff\n{}\n', [BROKEN, BROKEN, BROKEN, {}]),
        ('{"a":"\u2028\x85"}\n'.encode(), [{"a": "\u2028\x85"}]),
    ],
)
def test_lines(body: bytes, said: list[object]) -> None:
    assert list(objects(body)) == said


@given(st.binary())
def test_any_bytes_are_lines(body: bytes) -> None:
    assert len(list(objects(body))) <= body.count(b"\n") + 1

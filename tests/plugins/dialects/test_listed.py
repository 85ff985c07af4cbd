"""Messages in a JSON array: read with the place where history goes, and spliced there."""

import json

import pytest

from backstory.jsonbody import NotJson, walk_object
from backstory.model import Message
from backstory_plugins.dialects._listed import Listed, put_in, read_list


def read_letter(value: object, raw: bytes) -> Message | None:
    """A system message for ``"s"``, a user's for any other string."""
    if not isinstance(value, str):
        return None
    return Message("system" if value == "s" else "user", raw, b"", b"")


def read(body: str) -> Listed | None:
    return read_list(body, walk_object(body), "m", read_letter)


@pytest.mark.parametrize(
    ("body", "pinned", "insert_at"),
    [
        ('{"m":[]}', 0, (6, 0)),
        ('{"m":[ "u", "s" ]}', 0, (7, 2)),
        ('{"é":1,"m":["s","s","u"]}', 2, (21, 1)),
        ('{"m":["s"] }', 1, (9, 0)),
    ],
)
def test_history_goes_behind_the_leading_system_messages(
    body: str, pinned: int, insert_at: tuple[int, int]
) -> None:
    listed = read(body)
    assert listed is not None
    assert (listed.pinned, listed.insert_at) == (pinned, insert_at)
    told = put_in(body.encode(), insert_at, [b'"a"', b'"b"'], preceded=bool(pinned))
    elements = json.loads(body)["m"]
    assert json.loads(told)["m"] == [*elements[:pinned], "a", "b", *elements[pinned:]]


def test_every_message_keeps_its_bytes() -> None:
    listed = read('{"m":["\\u00e9" , "ü"]}')
    assert listed is not None
    assert [message.raw for message in listed.messages] == [b'"\\u00e9"', '"ü"'.encode()]


@pytest.mark.parametrize("body", ["{}", '{"m":[],"m":[]}', '{"m":["u",1]}'])
def test_what_is_no_list_of_messages_is_not_read(body: str) -> None:
    assert read(body) is None


@pytest.mark.parametrize("body", ['{"m":{}}', '{"m":null}', '{"m":"u"}'])
def test_what_is_no_array_is_an_error(body: str) -> None:
    with pytest.raises(NotJson):
        read(body)


def test_with_nothing_to_put_in_the_body_itself_comes_back() -> None:
    body = b'{"m":[]}'
    assert put_in(body, (6, 0), [], preceded=False) is body

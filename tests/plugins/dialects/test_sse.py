"""The event stream reader: the rules of the HTML standard, and what servers add to them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backstory.jsonbody import NotJson, read_object
from backstory_plugins.dialects._sse import Event, chunks, events, objects

TWO = [Event(b"", b"1", True), Event(b"", b"2", True)]


def read(body: bytes) -> list[Event]:
    return list(events(body))


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_ending_ends_a_line(end: bytes) -> None:
    assert read(end.join([b"data: 1", b"", b"data: 2", b"", b""])) == TWO


def test_line_endings_may_be_mixed() -> None:
    assert read(b"data: 1\r\r\ndata: 2\n\n") == TWO


def test_crlf_is_one_line_ending() -> None:
    assert read(b"data: 1\r\ndata: 2\r\n\r\n") == [Event(b"", b"1\n2", True)]


def test_a_line_separator_inside_json_ends_nothing() -> None:
    body = 'data: {"a":"\u2028\u2029\x85\x0b\x0c"}\n\n'.encode()
    assert read(body) == [Event(b"", body[6:-2], True)]


def test_comments_and_unknown_fields_are_left_out() -> None:
    body = b": ping\n\nid: 7\nretry: 10\n:data: x\ndata: 1\nwho: me\n\n: ping\n\ndata: 2\n\n"
    assert read(body) == TWO


def test_lines_of_data_are_joined() -> None:
    assert read(b"data: {\ndata:\ndata:  }\ndata\n\n") == [Event(b"", b"{\n\n }\n", True)]


def test_one_blank_after_the_colon_does_not_count() -> None:
    assert read(b"data:1\n\ndata:  1\n\n") == [Event(b"", b"1", True), Event(b"", b" 1", True)]


def test_an_event_has_a_name_and_the_next_has_not() -> None:
    body = b"event: error\ndata: 1\n\ndata: 2\n\n"
    assert read(body) == [Event(b"error", b"1", True), Event(b"", b"2", True)]


def test_an_event_without_data_is_none() -> None:
    assert read(b"event: ping\n\n\n\ndata: 1\n\ndata: 2\n\n") == TWO


def test_a_field_named_error_makes_an_error_event() -> None:
    assert read(b'error: {"code":500}\n\n') == [Event(b"error", b'{"code":500}', True)]


@pytest.mark.parametrize("rest", [b"data: 2", b"data: 2\n", b"data: 2\r\n"])
def test_an_event_that_the_input_ends_in_is_told_as_not_closed(rest: bytes) -> None:
    assert read(b"data: 1\n\n" + rest) == [TWO[0], Event(b"", b"2", False)]


def test_a_byte_order_mark_at_the_start_is_left_out() -> None:
    assert read(b"\xef\xbb\xbfdata: 1\n\ndata: 2\n\n") == TWO
    assert read(b"\n\xef\xbb\xbfdata: 1\n\n") == []


@given(st.lists(st.sampled_from([b"data", b":", b" ", b"\n", b"\r", b"event", b"\xff", b"x"])))
def test_any_bytes_are_events(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    told = read(body)
    assert all(event.closed for event in told[:-1])
    assert sum(len(event.data) for event in told) <= len(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", []),
        (b': ping\n\ndata:{"a":1}\n\ndata: {"a":2}\r\n\r\n', [{"a": 1}, {"a": 2}]),
        (b'data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
        (b'data: {"a":1}\n\ndata: [DONE]\n\ndata: {"a":2}\n\n', [{"a": 1}]),
        (b'data: {"a":1}', [{"a": 1}]),
        (b'data: {"a":1}\n\ndata: {"a":', [{"a": 1}]),
        (b'data: {"a":\n\ndata: {"a":2}\n\n', [{"error": True}, {"a": 2}]),
        (b'error: {"code":500}\n\n', [{"error": True}]),
        (b'event: error\ndata: {"a":1}\n\n', [{"error": True}]),
        (b"data: \n\ndata: []\n\ndata: \xff\n\n", [{"error": True}, {"error": True}]),
    ],
)
def test_the_objects_in_a_stream(body: bytes, said: list[object]) -> None:
    assert list(objects(body)) == said


PIECES = [
    *(b"data: ", b"data:", b"data", b"event: error", b"error: ", b": ping", b"id: 1"),
    *(b'{"a": 1}', b'{"a": "\\u2028"}', b'{"b": [{}', b'{"c": 1}]}', b"{}", b"{", b"}", b",", b"1"),
    *(
        b" ",
        b"[DONE]",
        b"NaN",
        b'{"d": 1E400}',
        b"\xff",
        b"\xef\xbb\xbf",
        '{"e": "\u2028"}'.encode(),
    ),
    *(b"\n", b"\n\n", b"\n\n", b"\r", b"\r\n", b"\n\n\n"),
    *(b'data: {"a": 1}\n\n', b'data: {"b": 2}\n\n', b'data: {"c": 3} \n\n'),
]


def read_by_rule(body: bytes) -> list[object]:
    """Each event's object, where it has one and no name; else the event."""
    said: list[object] = []
    for event in events(body):
        try:
            said.append(event if event.name else read_object(event.data))
        except NotJson:
            said.append(event)
    return said


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
@example(b'data: {"a": 1}\n\n\xef\xbb\xbfdata: {"b": 2}')  # only a stream begins with a mark
def test_what_is_parsed_where_it_stands_is_what_the_rules_say(body: bytes) -> None:
    said: list[object] = []
    for chunk in chunks(body):
        if isinstance(chunk, Event) and not chunk.name:
            try:
                said.append(read_object(chunk.data))
                continue
            except NotJson:
                pass  # as it is
        said.append(chunk)
    assert repr(said) == repr(read_by_rule(body))  # NaN is not equal to itself


@pytest.mark.parametrize("depth", [100, 100_000])
def test_an_object_nested_too_deep_is_left_to_whoever_reads_the_event(depth: int) -> None:
    data = b'{"a":' * depth + b"1" + b"}" * depth
    [said] = chunks(b"data: " + data + b"\n\n")
    assert isinstance(said, Event) is (depth > 100)

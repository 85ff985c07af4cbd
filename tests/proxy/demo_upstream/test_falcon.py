"""Falcon's raw text, read and written."""

import pytest

from backstory.demo_upstream.falcon import END, read_transcript, stream


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("Hello", [("user", "Hello")]),
        ("AI: no\nHuman: transcript", [("user", "AI: no\nHuman: transcript")]),
        ("Human: Hello\nAI: ", [("user", "Hello")]),
        ("Human: Hello\nAI:", [("user", "Hello")]),
        (
            "Human: One\ntwo\nAI: Three\n\nHuman: Four\nAI: ",
            [("user", "One\ntwo"), ("assistant", "Three"), ("user", "Four")],
        ),
        ("Human: the AI: speaks\nAI: ", [("user", "the AI: speaks")]),
    ],
)
def test_a_transcript_is_read_as_messages(text: str, messages: list[tuple[str, str]]) -> None:
    assert read_transcript(text) == messages


def test_the_marker_is_the_last_piece() -> None:
    assert list(stream({}, "Repeat the number 94572")) == [b"94572", END.encode()]


def test_no_marker_follows_where_the_limit_cut() -> None:
    text = "Human: My name is Ada\nAI: Hello, Ada!\nHuman: What is my name?\nAI: "
    assert list(stream({"max_tokens": 2}, text)) == [b"Your", b" name"]


def test_a_stop_sequence_is_honoured_and_the_marker_follows() -> None:
    text = "My name is Ada. What is my name?"
    assert b"".join(stream({"stop_sequence": " is"}, text)) == b"Your name" + END.encode()


def test_a_lone_surrogate_does_not_end_the_stream() -> None:
    assert list(stream({}, "Say 'a\udc00'")) == [b"a?", END.encode()]

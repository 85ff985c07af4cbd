"""What may name a conversation."""

import pytest

from backstory.ids import CONVERSATION_ID


@pytest.mark.parametrize("name", ["a", "!", "~", "a/b?c#d%20", "x" * 256])
def test_visible_ascii_names_a_conversation(name: str) -> None:
    assert CONVERSATION_ID.fullmatch(name)


@pytest.mark.parametrize("name", ["", "x" * 257, "a b", "a\n", "\x7f", "\0", "é", "\u2028"])
def test_nothing_else_does(name: str) -> None:
    assert not CONVERSATION_ID.fullmatch(name)

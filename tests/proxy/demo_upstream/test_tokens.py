"""Limits as a request gives them."""

import pytest

from backstory.demo_upstream.tokens import count_tokens, generate

TEXT = "Your name is Ada."


def test_tokens_are_the_text_and_short() -> None:
    text = "  Élodie\n" + "x" * 30 + " "
    generated = generate(text)
    assert generated.text == text
    assert all(len(token) <= 13 for token in generated.tokens)
    assert count_tokens([text, text]) == 2 * len(generated.tokens)


@pytest.mark.parametrize(
    ("limit", "text", "truncated"),
    [
        (3, "Your name is", True),
        (4, TEXT, False),
        (None, TEXT, False),
        (0, TEXT, False),
        (-1, TEXT, False),
        (True, TEXT, False),
        ("3", TEXT, False),
    ],
)
def test_a_limit_ends_the_text_early(limit: object, text: str, truncated: bool) -> None:
    generated = generate(TEXT, max_tokens=limit)
    assert (generated.text, generated.truncated) == (text, truncated)


@pytest.mark.parametrize(
    ("stop", "text"),
    [(".", "Your name is Ada"), (["Ada", " is"], "Your name"), ("", TEXT), (None, TEXT), (7, TEXT)],
)
def test_a_stop_sequence_ends_the_text_before_itself(stop: object, text: str) -> None:
    generated = generate(TEXT, stop=stop)
    assert (generated.text, generated.truncated) == (text, False)

"""A conversation in one text: what is told is read again, and what only looks like it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Role
from backstory_plugins.dialects._titled_text import Part, TitledText

FALCON = TitledText({"user": ("Human: ", "\n"), "assistant": ("AI: ", "\n")}, "AI: ")
TAGS = TitledText(
    {
        "system": ("<|system|>\n", "<|end|>\n"),
        "user": ("<|user|>\n", "<|end|>\n"),
        "assistant": ("<|assistant|>\n", "<|end|>\n"),
    },
    "<|assistant|>\n",
)
NO_ENDS = TitledText({"user": ("\nQ", ""), "assistant": ("\nQuite: ", "")}, "")


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("Human: a\nAI: ", [("user", "a")]),
        ("Human: a\nAI:", [("user", "a")]),
        ("Human: \nAI:", [("user", "")]),
        (
            "Human: Hi,\nI am Ada.\nAI: Hello\nAda!\nAI: x\nHuman: So?\nHuman: And?\nAI: ",
            [
                ("user", "Hi,\nI am Ada."),
                ("assistant", "Hello\nAda!\nAI: x"),
                ("user", "So?"),
                ("user", "And?"),
            ],
        ),
        ("Human: a\nAI: A\nAI: ", [("user", "a"), ("assistant", "A")]),
        ("Human: x", None),
        ("x\nAI: ", None),
        (" Human: x\nAI: ", None),
        ("Human: x\nAI:  ", None),
        ("Human: AI: ", None),
        ("", None),
    ],
)
def test_falcons_way_of_telling(said: str, parts: list[Part] | None) -> None:
    assert FALCON.parts(said) == parts


def test_a_longer_title_is_not_taken_for_a_shorter_one() -> None:
    assert NO_ENDS.parts("\nQ?\nQuite: yes\nQ!") == [
        ("user", "?"),
        ("assistant", "yes"),
        ("user", "!"),
    ]
    assert NO_ENDS.parts("\nQuite: so") == [("assistant", "so")]


def test_a_role_without_a_title_is_not_told() -> None:
    assert FALCON.told("system", "x") == ""
    assert FALCON.told("tool", "x") == ""
    assert FALCON.asked("x") == "Human: x\nAI: "


WORDS = st.text("ab \n:|<>", max_size=8)  # with which nobody can type a title
TURNS = st.lists(st.tuples(WORDS, WORDS), max_size=4)


@pytest.mark.parametrize("titled", [FALCON, TAGS])
@given(TURNS, WORDS)
def test_what_is_told_is_read_again(
    titled: TitledText, turns: list[tuple[str, str]], question: str
) -> None:
    parts: list[Part] = []
    for asked, answer in turns:
        parts += [("user", asked), ("assistant", answer)]
    told = "".join(titled.told(role, text) for role, text in parts) + titled.asked(question)
    assert titled.parts(told) == [*parts, ("user", question)]


def test_system_messages_are_read_in_front_only() -> None:
    told: list[tuple[Role, str]] = [("system", "s"), ("system", "t"), ("user", "u")]
    text = "".join(TAGS.told(role, said) for role, said in told)
    assert TAGS.parts(text + "<|assistant|>") == told
    late = TAGS.told("user", "u") + TAGS.told("system", "s") + "<|assistant|>"
    assert TAGS.parts(late) == [("user", "u<|end|>\n<|system|>\ns")]


def test_a_long_text_is_read_in_one_pass() -> None:
    """Each title is looked for once: with a search a title, this takes minutes."""
    text = "Human: a\n" * 200_000 + "AI: "
    parts = FALCON.parts(text)
    assert parts is not None
    assert len(parts) == 200_000

"""What counts as the same message, what does not, and that no text takes for ever to compare."""

import hashlib
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backstory.fingerprint import (
    ROOT,
    canonical_text,
    chain,
    estimate_tokens,
    fingerprints,
    keyed,
)
from backstory.model import Message, Role

NFD = "cafe\u0301"
NFC = "caf\u00e9"
WEATHER = ("weather", {"city": "Oslo", "days": [1, 2]})


def message(role: Role, text: str) -> Message:
    return Message(role, text.encode(), *fingerprints(role, text))


def mac(key: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=key, digest_size=32).digest()


@pytest.mark.parametrize(
    ("role", "one", "other"),
    [
        ("user", "Hello", "  Hello\n\n"),
        ("user", "a\nb", "a\r\nb"),
        ("user", NFC, NFD),
        ("user", "Hello", "\u00a0Hello\u2003"),
        ("assistant", "4.", "<think>2 + 2\n is 4</think>\n\n4."),
        ("assistant", "4.", "<thinking>2 + 2</thinking>4."),
        ("assistant", "4.", '<details type="reasoning" done="true">\n> 2 + 2\n</details>\n4.'),
        ("assistant", "ab", "a<think>1</think><think>2</think>b"),
        ("assistant", "a <think> b", "a <think> b "),
    ],
)
def test_what_clients_change_on_the_way_does_not_count(role: Role, one: str, other: str) -> None:
    assert fingerprints(role, one) == fingerprints(role, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"text": "Hello"}, {"text": "hello"}),
        ({"text": "a  b"}, {"text": "a b"}),
        ({"text": "a\nb"}, {"text": "a\rb"}),
        ({"text": "4", "role": "assistant"}, {"text": "4", "role": "user"}),
        ({"text": "4"}, {"text": "<think>2 + 2</think>4"}),
        ({"text": "x"}, {"text": "x", "media": ["https://x/1.png"]}),
        ({"media": ["https://x/1.png"]}, {"media": ["https://x/2.png"]}),
        ({"media": ["one", "two"]}, {"media": ["two", "one"]}),
        ({"calls": [WEATHER]}, {"calls": []}),
        ({"calls": [WEATHER]}, {"calls": [("weather", {"city": "Rome", "days": [1, 2]})]}),
        ({"calls": [WEATHER]}, {"calls": [("climate", WEATHER[1])]}),
        ({"calls": [("f", {"n": 1})]}, {"calls": [("f", {"n": "1"})]}),
        ({"results": [("c1", "3 C")]}, {"results": [("c2", "3 C")]}),
        ({"results": [("c1", "3 C")]}, {"results": [("c1", "4 C")]}),
        ({"text": "a", "results": []}, {"results": [("", "a")]}),
    ],
)
def test_what_was_said_counts(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert fingerprint_of(**one) != fingerprint_of(**other)


def fingerprint_of(role: Role = "user", text: str = "", **parts: Any) -> bytes:
    return fingerprints(role, text, **parts)[0]


def test_the_spelling_of_arguments_does_not_count() -> None:
    one = fingerprints("assistant", "", calls=[("f", {"a": 1, "b": {"c": 2, "d": 3}})])
    other = fingerprints("assistant", "", calls=[("f", {"b": {"d": 3, "c": 2}, "a": 1})])
    assert one == other


def test_the_text_of_a_result_is_loose_too() -> None:
    one = fingerprints("tool", "", results=[("c1", f" {NFD}\r\n")])
    assert one == fingerprints("tool", "", results=[("c1", NFC)])


def test_reasoning_in_a_result_was_said() -> None:
    one = fingerprints("tool", "", results=[("c1", "<think>x</think>")])
    assert one != fingerprints("tool", "", results=[("c1", "")])


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_the_spine_is_role_and_text_alone(role: Role) -> None:
    fingerprint, spine = fingerprints(role, "Hi", media=["x"], calls=[WEATHER])
    assert (fingerprint, spine) == (fingerprint_of(role, "Hi", media=["x"], calls=[WEATHER]), spine)
    assert spine == fingerprints(role, " Hi ")[1]
    assert len(spine) == len(fingerprint) == 32
    assert spine != fingerprints("user" if role == "assistant" else "assistant", "Hi")[1]


@pytest.mark.parametrize(
    ("role", "text"),
    [("tool", "3 C"), ("system", "Be kind."), ("user", " \n"), ("assistant", "<think>x</think>")],
)
def test_who_says_nothing_to_the_other_has_no_spine(role: Role, text: str) -> None:
    assert fingerprints(role, text)[1] == b""


def test_a_lone_surrogate_is_a_text_like_another() -> None:
    one = fingerprints("user", "\ud800", media=["\udfff"])
    assert one != fingerprints("user", "\ud801", media=["\udfff"])
    assert one == fingerprints("user", "\ud800 ", media=["\udfff"])


OPENINGS = ["<think>", "<thinking>", '<details type="reasoning"']
CLOSINGS = ["</think>", "</thinking>", "</details>"]


@given(st.lists(st.sampled_from([*OPENINGS, *CLOSINGS, "a", "\n", "<"]), max_size=12))
def test_reasoning_is_left_out_from_its_opening_to_the_first_closing(parts: list[str]) -> None:
    text = "".join(parts)
    pairs = zip(OPENINGS, CLOSINGS, strict=True)
    pattern = "|".join(f"{opening}.*?{closing}" for opening, closing in pairs)
    expected = re.sub(pattern, "", text, flags=re.DOTALL).strip()
    assert canonical_text(text, assistant=True) == expected


@given(
    st.text(
        st.characters(codec="utf-8") | st.sampled_from("e\u0301\u0323\u0344\u0f73"), max_size=40
    )
)
@example("a\r\ne\u0301")
def test_equal_in_unicode_is_equal_here(text: str) -> None:
    spelled = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")}
    assert {canonical_text(each, assistant=False) for each in spelled} == {
        unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()
    }


@pytest.mark.timeout(20)
@pytest.mark.parametrize("opening", OPENINGS)
def test_a_million_thoughts_that_never_end_take_no_time(opening: str) -> None:
    text = opening * 100_000
    assert canonical_text(text, assistant=True) == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("marks", ["\u0315\u0300", "\u0300\u0316", "\u0344\u0316", "\u0f73\u0f71"])
def test_a_million_marks_on_one_letter_take_no_time(marks: str) -> None:
    """CPython sorts them in n² steps: 30 KB take half a second, and hold up everybody else."""
    for text in ("a" + marks * 300_000, marks * 300_000):
        assert canonical_text(text, assistant=False) == text


@pytest.mark.parametrize("letter", ["e", "\u0f40"])
def test_thirty_marks_on_a_letter_are_still_put_in_order(letter: str) -> None:
    up, down = "\u0301" * 15, "\u0323" * 15
    assert canonical_text(letter + up + down, assistant=False) == unicodedata.normalize(
        "NFC", letter + down + up
    )


def test_a_key_makes_other_fingerprints_of_all_that_has_one() -> None:
    key = b"k" * 32
    plain = [message("user", "Hi"), message("system", "Be kind.")]
    user, system = keyed(plain, key)
    assert user.fingerprint == mac(key, plain[0].fingerprint)
    assert user.spine == mac(key, plain[0].spine)
    assert (system.spine, system.raw) == (b"", b"Be kind.")
    assert keyed(plain, b"K" * 32)[0].fingerprint != user.fingerprint


def test_a_chain_can_be_grown_piece_by_piece_and_knows_the_order() -> None:
    key = b"k" * 32
    said = keyed([message("user", "a"), message("assistant", "b"), message("user", "a")], key)
    whole = chain(ROOT, said, key)
    assert chain(chain(ROOT, said[:1], key), said[1:], key) == whole
    assert chain(ROOT, (said[1], said[0], said[2]), key) != whole
    assert chain(ROOT, said, b"K" * 32) != whole
    assert chain(ROOT, (), key) == ROOT


def test_a_fingerprint_is_no_secret_and_stays_what_it_is() -> None:
    """Stored conversations are found by it: it may never change."""
    expected = hashlib.sha256("user\ncaf\u00e9".encode()).digest()
    assert fingerprints("user", NFD)[0] == expected


@pytest.mark.parametrize(("size", "tokens"), [(0, 4), (1, 5), (3, 5), (4, 6), (3000, 1004)])
def test_tokens_are_a_third_of_the_bytes_and_four(size: int, tokens: int) -> None:
    assert estimate_tokens(size) == tokens

"""How the messages of a turn become two blobs, and come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Message, Role
from backstory.testing.samples import message, turn
from backstory_plugins.stores._rows import (
    Said,
    first_fingerprint,
    ident,
    pack,
    pack_list,
    text,
    unpack,
    unpack_list,
)

DIGEST = st.binary(min_size=32, max_size=32)
ROLES: list[Role] = ["system", "user", "assistant", "tool"]
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
NUMBER = st.integers(0, 2**32 - 1)
MESSAGE = st.builds(
    Message,
    role=st.sampled_from(ROLES),
    raw=st.binary(),
    fingerprint=DIGEST,
    spine=st.just(b"") | DIGEST,
    calls=st.lists(ANY_TEXT).map(tuple),
    answers=st.lists(ANY_TEXT).map(tuple),
    tokens=NUMBER,
    note=st.binary(),
)
MESSAGES = st.lists(MESSAGE, max_size=4).map(tuple)
FORM = st.text(st.characters(codec="ascii"), min_size=1, max_size=20)


@given(asked=MESSAGES, reply=MESSAGES, form=FORM, reply_id=ANY_TEXT)
def test_any_messages_come_back_as_they_were(
    asked: tuple[Message, ...], reply: tuple[Message, ...], form: str, reply_id: str
) -> None:
    asked = tuple(message._replace(form=form) for message in asked)
    reply = tuple(message._replace(form=form) for message in reply)
    raw, facts = pack(turn(asked, reply=reply, reply_id=reply_id))
    assert raw == b"".join(said.raw for said in asked + reply)
    assert unpack(raw, facts) == Said(asked, reply, reply_id)
    expected = (asked + reply)[0].fingerprint if asked or reply else b""
    assert first_fingerprint(facts) == expected


def test_a_turn_has_one_form() -> None:
    with pytest.raises(ValueError, match="one form"):
        pack(turn([message("user", "Hi")], reply=(message("assistant", "Ho", form="other"),)))


@given(st.lists(st.binary()).map(tuple))
def test_any_list_of_byte_strings_comes_back(items: tuple[bytes, ...]) -> None:
    assert unpack_list(pack_list(items)) == items


@given(ANY_TEXT)
def test_any_name_comes_back(name: str) -> None:
    assert text(ident(name)) == name


def test_the_layout_is_what_is_in_files_already() -> None:
    said = Message("tool", b"{}", b"f" * 32, b"", ("a",), ("b",), 7, "chat", b"note")
    raw, facts = pack(turn([said], reply=(), reply_id="resp_1"))
    assert raw == b"{}"
    sizes = "03 07000000 02000000 00 0d000000 04000000"
    record = sizes + "66" * 32 + b'[["a"],["b"]]note'.hex()
    assert facts == bytes.fromhex("01 01000000 04 0600" + b"chatresp_1".hex() + record)


def test_a_newer_layout_is_refused_with_a_remedy() -> None:
    raw, facts = pack(turn("Hello."))
    with pytest.raises(ValueError, match="install a newer Backstory"):
        unpack(raw, b"\x02" + facts[1:])


def test_blobs_that_do_not_fit_each_other_are_refused() -> None:
    raw, facts = pack(turn("Hello."))
    for damaged in (raw[:-1], raw + b" "):
        with pytest.raises(ValueError, match="damaged"):
            unpack(damaged, facts)


@pytest.mark.parametrize("field", ["fingerprint", "spine"])
def test_a_digest_of_another_length_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        pack(turn([message("user", "Hello.", **{field: b"short"})]))

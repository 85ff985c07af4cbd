"""What only a conversation's key opens."""

from concurrent.futures import ThreadPoolExecutor
from weakref import ref

import pytest

from backstory.errors import StoreUnavailable
from backstory.model import Owner
from backstory_plugins.stores._sealed import MOST_CIPHERS, Seal, place

ONE, TWO = Seal(b"1" * 32), Seal(b"2" * 32)


def test_what_was_closed_opens_with_the_same_key_and_label() -> None:
    assert ONE.open(ONE.close(b"plain", b"label"), b"label") == b"plain"
    assert ONE.open(ONE.close(b"", b""), b"") == b""


def test_nothing_else_opens_it() -> None:
    closed = ONE.close(b"plain", b"label")
    for seal, sealed, label in (
        (TWO, closed, b"label"),
        (ONE, closed, b"other"),
        (ONE, closed[:-1], b"label"),
        (ONE, bytes([closed[0] ^ 1]) + closed[1:], b"label"),
    ):
        with pytest.raises(StoreUnavailable, match="damaged"):
            seal.open(sealed, label)


def test_the_same_is_never_closed_to_the_same() -> None:
    assert ONE.close(b"plain", b"label") != ONE.close(b"plain", b"label")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Seal(b"short")


def test_however_many_seals_are_used_few_keep_a_cipher_and_all_open() -> None:
    seals = [Seal(bytes([number]) * 32) for number in range(3 * MOST_CIPHERS)]
    closed = [seal.close(b"plain", b"label") for seal in seals]
    assert sum(seal._cipher is not None for seal in seals) <= MOST_CIPHERS
    assert [seal.open(said, b"label") for seal, said in zip(seals, closed, strict=True)] == [
        b"plain"
    ] * len(seals)
    assert sum(seal._cipher is not None for seal in seals) <= MOST_CIPHERS


def test_a_seal_that_nobody_needs_any_more_is_gone_with_its_cipher() -> None:
    seal = Seal(b"3" * 32)
    seal.close(b"plain", b"label")
    gone = ref(seal)
    del seal
    assert gone() is None


def test_seals_are_used_from_several_threads() -> None:
    seals = [Seal(bytes([number]) * 32) for number in range(MOST_CIPHERS + 8)]

    def use(_: int) -> bool:
        found = [seal.open(seal.close(b"plain", b"label"), b"label") for seal in seals * 5]
        return set(found) == {b"plain"}

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(4)))


def test_a_place_tells_names_apart_and_does_not_tell_them() -> None:
    owners = (Owner("a", "b"), Owner("b", "a"), Owner("ab", ""), Owner("a", "b\ud800"))
    places = {place(owner, name) for owner in owners for name in ("c", "C")}
    assert len(places) == 8
    assert {len(digest) for each in places for digest in each} == {32}

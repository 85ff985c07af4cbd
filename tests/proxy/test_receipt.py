"""The receipt as a structured-field item: a token with parameters, whatever is known."""

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.align import READINGS, Decision
from backstory.receipt import Outcome, Receipt

# RFC 9651 sections 3.1.2, 3.3.1 and 3.3.4, as far as a receipt goes.
_TOKEN = r"[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]*"
_KEY = r"[a-z*][a-z0-9_.*-]*"
_ITEM = re.compile(rf"{_TOKEN}(;{_KEY}=({_TOKEN}|-?[0-9]{{1,15}}))*")


def test_everything_known_is_said_in_this_order() -> None:
    receipt = Receipt("hit", 6, 0, 431, 6, "delta", "foreign_cookie")
    assert str(receipt) == (
        "hit;turns=6;omitted=0;tokens=431;version=6;as=delta;reason=foreign_cookie"
    )


@pytest.mark.parametrize(
    ("receipt", "said"),
    [
        (Receipt("off"), "off"),
        (Receipt("new", turns=0, version=0), "new;turns=0;version=0"),
        (Receipt("skipped", reason="not_understood"), "skipped;reason=not_understood"),
    ],
)
def test_what_is_not_known_is_left_out_but_nothing_is_not_unknown(
    receipt: Receipt, said: str
) -> None:
    assert str(receipt) == said


def test_a_reason_is_added_only_if_there_is_one() -> None:
    receipt = Receipt("new", turns=0)
    assert receipt.with_reason(None) is receipt
    assert receipt.with_reason("") is receipt
    assert str(receipt.with_reason("bad_cookie")) == "new;turns=0;reason=bad_cookie"


_NUMBERS = st.none() | st.integers(0, 10**15 - 1)


@given(
    st.sampled_from(get_args(Outcome)),
    st.tuples(_NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS),
    st.sampled_from([None, *READINGS.values()]),
    st.sampled_from([None, *(decision.name.lower() for decision in Decision)]),
)
def test_it_is_always_a_structured_field(
    outcome: Outcome,
    numbers: tuple[int | None, int | None, int | None, int | None],
    read_as: str | None,
    reason: str | None,
) -> None:
    assert _ITEM.fullmatch(str(Receipt(outcome, *numbers, read_as, reason)))

"""How much history fits, and that a cut stands still and never parts a call from its result."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.proxy.test_history import messages, orphans, without_calls

from backstory.history import repaired
from backstory.model import Budget, Prompt, Turn
from backstory.settings import MemorySettings
from backstory.spi import Policy
from backstory.trim import Budgets, cut_of
from backstory_plugins.policies.tokens import Tokens
from backstory_plugins.policies.turns import Turns

POLICIES: list[Policy] = [Turns(), Tokens()]


def path_of(*spelled: str) -> list[Turn]:
    """Turns by the letters of their messages, each message of 10 tokens."""
    turns: list[Turn] = []
    tokens = 0
    for depth, letters in enumerate(spelled, 1):
        said = tuple(message._replace(tokens=10) for message in messages(letters))
        tokens += 10 * len(said)
        turns.append(Turn(str(depth), None, "", said, (), b"", depth, 0, tokens))
    return turns


def prompt(model: str = "m", reply_tokens: int | None = None) -> Prompt:
    return Prompt(b"", (), (), (), model=model, reply_tokens=reply_tokens)


def left(budgets: Budgets, model: str) -> int | None:
    return budgets.of(prompt(model), 100, in_loop=False).tokens


def test_a_count_by_the_models_own_tokenizer_is_trusted_from_the_first_turn_on() -> None:
    settings = MemorySettings(context_windows=("*=10000",), reserved_reply_tokens=0)
    estimated, counted = Budgets(settings), Budgets(settings, lambda model: model == "ours")
    assert (left(estimated, "ours"), left(estimated, "theirs")) == (8400, 8400)
    assert (left(counted, "ours"), left(counted, "theirs")) == (9400, 8400)
    counted.learn("theirs", 100, 125)
    assert left(counted, "theirs") == 9500 / 1.25 - 100


def test_what_was_once_estimated_does_not_speak_against_counts() -> None:
    settings = MemorySettings(context_windows=("*=10000",), reserved_reply_tokens=0)
    counted = Budgets(settings, lambda _: True)
    counted.learn("m", 100, 70)
    assert left(counted, "m") == 9400


@pytest.mark.parametrize(
    ("turns", "most", "cut"),
    [
        (["u1 a1", "u2 a2", "u3 a3"], 2, 1),
        (["u1 a1", "u2 a2", "u3 a3"], 3, 0),
        (["u1 a1"], 9, 0),
        (["u1 a1"], 0, 1),
        (["u1 c1", "t1 a1"], 1, 1),
        (["u1 c1", "t1 a1", "u2 a2"], 2, 2),
        (["u1 c1", "t1 a1", "u2 a2"], 3, 0),
        (["u1 c1", "t1 c2", "t2 a1", "u2 a2"], 3, 3),
        (["u1 c1", "t1 c2", "t2 c3"], 2, 1),
    ],
)
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_the_newest_turns_begin_where_no_result_loses_its_call(
    turns: list[str], most: int, cut: int, policy: Policy
) -> None:
    assert cut_of(path_of(*turns), 0, Budget(most, None), policy) == cut


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=8),
    st.integers(1, 8),
    st.sampled_from(["u9", "t"]),
    st.sampled_from(POLICIES),
)
def test_a_result_that_comes_now_finds_its_call_however_long_the_chain_is(
    chains: list[int], most: int, now: str, policy: Policy
) -> None:
    """Turns of a client that sends its results one by one: each chain of calls is so many long."""
    turns, ids = list[str](), itertools.cycle("12345678")
    for length in chains:
        called = [next(ids) for _ in range(length)]
        asked = ["u1", *(f"t{ident}" for ident in called)]
        said = [*(f"c{ident}" for ident in called), "a1"]
        turns += [f"{question} {answer}" for question, answer in zip(asked, said, strict=True)]
    if now == "t":
        turns[-1] = turns[-1].replace("a1", "c9")
        now = "t9"
    cut = cut_of(path_of(*turns), 0, Budget(most, None), policy)
    told = [messages(turn) for turn in turns[cut:]]
    history = repaired([each for group in told for each in group], messages(now), without_calls)
    assert len(told) <= most
    assert not orphans((*history, *messages(now)))


def test_a_path_of_which_only_the_newest_turns_were_read_is_cut_like_the_whole() -> None:
    path = path_of(*["u1 a1"] * 10)
    for policy in POLICIES:
        for read in range(4, 11):
            assert cut_of(path[-read:], 0, Budget(3, None), policy) == 7
            assert cut_of(path[-read:], 8, Budget(3, None), policy) == 8


def test_a_cut_never_goes_back_and_no_path_has_none() -> None:
    for policy in POLICIES:
        assert cut_of(path_of("u1 a1", "u2 a2"), 2, Budget(9, None), policy) == 2
        assert cut_of([], 5, Budget(9, None), policy) == 5


def test_the_unknown_window_of_a_model_is_no_limit() -> None:
    budgets = Budgets(MemorySettings(context_windows=("small=100", "llama-*=8192")))
    assert budgets.of(prompt("other"), 50, in_loop=False) == Budget(100, None)
    limited = Budgets(MemorySettings(max_history_tokens=700))
    assert limited.of(prompt(), 50, in_loop=False) == Budget(100, 700)


def test_what_is_left_of_a_window_is_for_history() -> None:
    settings = MemorySettings(context_windows=("llama-*=8192", "*=100"), reserved_reply_tokens=1000)
    budgets = Budgets(settings)
    assert budgets.of(prompt("llama-3"), 200, in_loop=False).tokens == int(8192 * 0.85) - 1200
    assert budgets.of(prompt("llama-3", 50), 200, in_loop=False).tokens == int(8192 * 0.85) - 250
    assert budgets.of(prompt("tiny"), 200, in_loop=False).tokens == 0


def test_nothing_moves_within_a_tool_loop() -> None:
    budgets = Budgets(MemorySettings(context_windows=("*=100",)))
    assert budgets.of(prompt(), 200, in_loop=True) == Budget(100, None)


def test_what_an_upstream_counts_is_learned_within_bounds() -> None:
    budgets = Budgets(MemorySettings(context_windows=("*=10000",), reserved_reply_tokens=500))
    budgets.learn("m", 100, 50)
    assert budgets.of(prompt("m"), 0, in_loop=False).tokens == int((9500 - 500) / 0.5)
    budgets.learn("m", 100, None)
    budgets.learn("m", 100, 49)  # of a prompt that was cut
    budgets.learn("m", 0, 7)
    assert budgets.of(prompt("m"), 0, in_loop=False).tokens == 18000
    budgets.learn("n", 1, 10**9)
    assert budgets.of(prompt("n"), 0, in_loop=False).tokens == 4500
    for number in range(300):
        budgets.learn(f"model {number}", 100, 100)
    assert budgets.of(prompt("m"), 0, in_loop=False).tokens == 8000, "forgotten, as a bound must"

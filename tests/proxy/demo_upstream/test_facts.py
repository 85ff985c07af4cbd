"""What counts as stated."""

import pytest

from backstory.demo_upstream.facts import clauses, facts, known_facts


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("My name is Ada, nice to meet you", ["your name is Ada."]),
        ("I am Ada and I live in Oslo", ["your name is Ada."]),
        ("Please remember that my shoe size is 43!", ["your shoe size is 43."]),
        ("The seats are 4 and 5; my name is Bob", ["the seats are 4 and 5.", "your name is Bob."]),
        ("My pi is 3.14. Yes", ["your pi is 3.14."]),
        ("I'm hungry", []),
        ("Is my name Ada? Are the seats 5?", []),
        ("What is the capital that is big", []),
    ],
)
def test_statements_are_told_from_questions(text: str, stated: list[str]) -> None:
    assert [str(fact) for fact in facts(text)] == stated


def test_a_sentence_is_cut_where_an_and_begins_another() -> None:
    assert list(clauses("I like tea  and milk. My cat is old, and my dog\nis young")) == [
        "I like tea and milk.",
        "My cat is old",
        "my dog",
        "is young",
    ]


def test_the_latest_statement_counts_whoever_made_it() -> None:
    messages = [
        ("system", "The code is A."),
        ("user", "the CODE is B."),
        ("assistant", "The code is C."),
    ]
    assert known_facts(messages) == {"the code": "The CODE is B."}

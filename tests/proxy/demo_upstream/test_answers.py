"""The demo knows what stands in its messages, and says so when it does not."""

import time

import pytest

from backstory.demo_upstream.answers import HELP, reply


def after(*asked: str) -> str:
    """The last answer of a conversation that a client with a memory would have."""
    messages: list[tuple[str, str]] = []
    for text in asked:
        messages.append(("user", text))
        messages.append(("assistant", reply(messages).text))
    return messages[-1][1]


def alone(asked: str) -> str:
    """The answer without any history."""
    return after(asked)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("Repeat the number '94572'.", "94572"),
        ("please repeat 94572", "94572"),
        ("Could you say the number 3.14?", "3.14"),
        ("Remember the number 12,5!", "12,5"),
        ('Say "hello world".', "hello world"),
        ("Repeat after me: I like it.", "I like it."),
        ("Repeat the word 'banana'", "banana"),
        ("My name is Ada.", "Hello, Ada!"),
        ("my name\N{RIGHT SINGLE QUOTATION MARK}s Ada", "Hello, Ada!"),
        ("Hi there, I'm Élodie Müller, nice to meet you", "Hello, Élodie Müller!"),
        ("The capital of France is Paris.", "Noted: the capital of France is Paris."),
        ("How many messages do you see?", "I see 1 message."),
        ("Write me a poem", HELP),
        ("", HELP),
        ("I am tired", HELP),
    ],
)
def test_a_first_message_is_answered_from_itself(asked: str, answer: str) -> None:
    assert alone(asked) == answer


@pytest.mark.parametrize(
    ("told", "asked", "answer"),
    [
        ("Repeat the number '94572'.", "What number did you repeat?", "The number is 94572."),
        ("Repeat the number '94572'.", "what was the number", "The number is 94572."),
        ("My name is Ada", "What is my name?", "Your name is Ada."),
        ("call me Ada", "WHO AM I?", "Your name is Ada."),
        ("I am 李雷", "What's my name?", "Your name is 李雷."),
        (
            "My favourite colour is blue.",
            "what is my favourite colour",
            "Your favourite colour is blue.",
        ),
        ("my dog's name is Rex", "Do you know my dog's name?", "Your dog's name is Rex."),
        ("The capital of X is Y.", "So, what is the capital of X?", "The capital of X is Y."),
        ("Our seats are 4 and 5", "What are our seats?", "Your seats are 4 and 5."),
        ("Hello there", "What did I say first?", 'First you said: "Hello there"'),
        ("Hello there", "How many turns do you see?", "I see 2 turns."),
        ("Hello there", "How many messages do you see?", "I see 3 messages."),
    ],
)
def test_a_fact_is_known_with_the_history_and_unknown_without(
    told: str, asked: str, answer: str
) -> None:
    assert after(told, asked) == answer
    assert alone(asked) != answer


@pytest.mark.parametrize(
    "asked",
    ["What number did you repeat?", "What is my name?", "Who am I?", "What did I say first?"],
)
def test_what_was_never_said_is_not_known(asked: str) -> None:
    messages = [("user", asked)]
    assert reply(messages).text.startswith("I don't know: ")
    assert not reply(messages).known


def test_a_later_fact_overrides_an_earlier_one() -> None:
    said = [
        "My name is Ada",
        "Actually, my name is Bob",
        "Repeat the number 1",
        "Repeat the number 2",
    ]
    assert after(*said, "What is my name?") == "Your name is Bob."
    assert after(*said, "What number did you repeat?") == "The number is 2."


def test_the_repeated_number_is_not_confused_with_another() -> None:
    assert (
        after("Repeat the number 94572", "I have 3 dogs", "What number did you repeat?")
        == "The number is 94572."
    )


def test_two_questions_get_two_answers() -> None:
    told = "My name is Ada and my favourite colour is blue."
    assert after(told, "What is my name and what is my favourite colour?") == (
        "Your name is Ada. Your favourite colour is blue."
    )
    assert after(told, "What is my name? What is my shoe size?") == (
        "Your name is Ada. I don't know: that does not stand in what I was sent."
    )


def test_the_system_message_is_believed_and_the_assistant_is_not() -> None:
    asked = ("user", "What is the code?")
    assert reply([("system", "The code is XY."), asked]).text == "The code is XY."
    assert not reply([("assistant", "The code is XY."), asked]).known


def test_the_result_of_a_tool_is_the_answer() -> None:
    assert reply([("user", "Weather?"), ("assistant", ""), ("tool", "12 °C")]).text == (
        "The tool says: 12 °C"
    )


@pytest.mark.parametrize("messages", [[], [("assistant", "Hello")], [("system", "Be brief")]])
def test_without_a_question_it_says_what_it_is(messages: list[tuple[str, str]]) -> None:
    assert reply(messages).text == HELP


MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        " ",
        "\n",
        "'",
        "1",
        "1,",
        ". ",
        "the ",
        "i am ",
        "what is my ",
        "repeat '",
        "my is ",
        "I am A. ",
        " now",
    ],
)
def test_eight_times_as_much_of_anything_takes_about_eight_times_as_long(piece: str) -> None:
    assert seconds_for(piece, MEGABYTE) < 3 * 8 * seconds_for(piece, MEGABYTE // 8)


def seconds_for(piece: str, size: int) -> float:
    """CPU time of a question with so many bytes of ``piece``, at best: others disturb it."""
    text = "What is my " + piece * (size // len(piece)) + " What was the number? What is my name?"
    times = []
    for _ in range(2):
        began = time.process_time()
        reply([("user", text)])
        times.append(time.process_time() - began)
    return min(times)

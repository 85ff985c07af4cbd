"""A tool is called for by the words it shares with the question."""

import pytest

from backstory.demo_upstream.tools import Call, Tool, choose_call

WEATHER = Tool("get_weather", "Current conditions in a city", {"city": ()})
STOCKS = Tool("lookupShare", "The price of a share", {"symbol": (), "currency": ("USD", "EUR")})


@pytest.mark.parametrize(
    ("asked", "call"),
    [
        ("What is the weather in Oslo?", Call("get_weather", {"city": "Oslo"})),
        ("conditions in New York please", Call("get_weather", {"city": "New York"})),
        ('weather "São Paulo"', Call("get_weather", {"city": "São Paulo"})),
        ("weather", Call("get_weather", {"city": "weather"})),
        ("Price of ACME in eur?", Call("lookupShare", {"symbol": "ACME", "currency": "EUR"})),
        ("share price of ACME", Call("lookupShare", {"symbol": "ACME", "currency": "USD"})),
        ("What is my name?", None),
        ("", None),
    ],
)
def test_the_fitting_tool_is_called_with_guessed_arguments(asked: str, call: Call | None) -> None:
    assert choose_call(asked, [STOCKS, WEATHER]) == call


def test_without_tools_nothing_is_called() -> None:
    assert choose_call("What is the weather in Oslo?", []) is None

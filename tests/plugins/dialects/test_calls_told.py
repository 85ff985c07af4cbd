"""Whatever was called, answered or given up, and wherever history is cut: what is told is legal."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.cuts import newest

from backstory.history import repaired
from backstory.model import Message
from backstory.spi import Dialect
from backstory_plugins.dialects.gemini import Gemini
from backstory_plugins.dialects.ollama_chat import OllamaChat

Spelled = dict[str, Any]


class Turn(NamedTuple):
    """One turn of a conversation."""

    answered: int
    """How many of the calls before it are answered; 0: the user says something else."""
    calls: tuple[str, ...]
    """Functions that the reply asks for."""
    said: bool
    """The reply has text too."""


class Api(NamedTuple):
    """A dialect and its spelling."""

    dialect: Dialect
    key: str
    user: Spelled
    reply: Callable[[tuple[str, ...], bool], Spelled]
    results: Callable[[Sequence[str]], list[Spelled]]


def ollama_reply(calls: tuple[str, ...], said: bool) -> Spelled:
    asked = [{"function": {"name": name, "arguments": {}}} for name in calls]
    message: Spelled = {"role": "assistant", "content": "text" if said else ""}
    return message | ({"tool_calls": asked, "thinking": "hm"} if asked else {})


def gemini_reply(calls: tuple[str, ...], said: bool) -> Spelled:
    parts: list[Spelled] = [{"text": "text"}] * said
    parts += [{"functionCall": {"name": name, "args": {}}} for name in calls]
    return {"role": "model", "parts": [*parts, {"text": "", "thoughtSignature": "a"}]}


def gemini_results(names: Sequence[str]) -> list[Spelled]:
    parts = [{"functionResponse": {"name": name, "response": {}}} for name in names]
    return [{"role": "user", "parts": parts}]


OLLAMA = Api(
    OllamaChat(),
    "messages",
    {"role": "user", "content": "u"},
    ollama_reply,
    lambda names: [{"role": "tool", "tool_name": name, "content": "r"} for name in names],
)
GEMINI = Api(
    Gemini(), "contents", {"role": "user", "parts": [{"text": "u"}]}, gemini_reply, gemini_results
)


def spoken(api: Api, turns: Sequence[Turn]) -> Iterator[list[Spelled]]:
    """Each turn's messages; the last one's are only asked."""
    calls: tuple[str, ...] = ()
    for turn in turns:
        answered = calls[: turn.answered]
        asked = api.results(answered) if answered else [api.user]
        calls = turn.calls
        yield [*asked, api.reply(calls, turn.said or not calls)]


def read(api: Api, messages: Sequence[Spelled]) -> tuple[Message, ...]:
    """The messages of a turn, as they are stored."""
    prompt = api.dialect.read_prompt(json.dumps({api.key: [*messages, api.user]}).encode())
    assert prompt is not None
    return prompt.claimed


TURNS = st.lists(
    st.builds(
        Turn,
        st.integers(0, 3),
        st.lists(st.sampled_from("fg"), max_size=3).map(tuple),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("api", [OLLAMA, GEMINI], ids=lambda api: api.dialect.name)
@given(turns=TURNS, cut=st.integers(0, 6), last=st.integers(0, 3))
def test_no_call_is_told_without_a_result_and_no_result_without_its_call(
    api: Api, turns: list[Turn], cut: int, last: int
) -> None:
    groups = [read(api, messages) for messages in spoken(api, turns)]
    asked = api.results(turns[-1].calls[:last]) if turns[-1].calls[:last] else [api.user]
    fields: Spelled = {api.key: asked}
    if api is OLLAMA:
        fields = {api.key: [{"role": "system", "content": "s"}, *asked]}
    prompt = api.dialect.read_prompt(json.dumps(fields).encode())
    assert prompt is not None
    kept = [message for group in newest(groups, cut) for message in group]
    history = repaired(kept, prompt.new, api.dialect.without_calls)
    told = json.loads(api.dialect.inject(prompt, (), history))[api.key]

    if api is OLLAMA:
        assert [message["role"] for message in told].count("system") == 1
        assert told.pop(0)["role"] == "system"
    assert told[-len(asked) :] == asked
    begins_whole = not kept or not kept[0].answers
    check(api, told, only_told=0 if begins_whole and kept else len(asked))


def check(api: Api, told: list[Spelled], *, only_told: int) -> None:
    """Every call has a result right behind it, every result a call in front of it.

    ``only_told``: how many messages at the end are the client's own, whose calls were not told.
    """
    kinds = [kind(message) for message in told]
    ours = len(told) - only_told
    if api is GEMINI and ours:
        assert kinds[0] == "user"
    for at, (here, message) in enumerate(zip(kinds[:ours], told, strict=False)):
        before = kinds[at - 1] if at else ""
        if here == "result":
            assert before in ("call", "result")
        if before == "call":
            assert here == "result"
        assert message.get("role") in ("user", "assistant", "model", "tool")
    if kinds and not only_told:
        assert kinds[-1] in ("user", "result")


def kind(message: Spelled) -> str:
    if message.get("tool_calls") or any("functionCall" in p for p in message.get("parts", ())):
        return "call"
    is_result = any("functionResponse" in part for part in message.get("parts", ()))
    if message["role"] == "tool" or is_result:
        return "result"
    return "user" if message["role"] == "user" else "reply"

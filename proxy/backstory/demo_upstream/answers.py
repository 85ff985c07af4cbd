"""What the demo upstream says: a table of questions, answered from the messages it was sent alone.

There is no model and no state. Whatever an answer knows stands in the messages, so an answer that
remembers proves that somebody sent the history.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from backstory.demo_upstream.facts import LEAD, Said, clauses, facts, known_facts, pattern, yours

HELP = (
    "I am a small demo without a model: I can only repeat what stands in the messages I was sent."
)

_CLAUSES_ANSWERED = 5  # the last ones: nobody asks more at a time
_DIGITS = r"(?<!\w)\d+(?:[.,]\d+)*(?!\w)"
_NUMBER = re.compile(_DIGITS)
_REPEAT_NUMBER = pattern(
    LEAD + rf"(?:repeat|say|echo|remember)(?: \w+){{0,3}}:? ['\"]?(?P<said>{_DIGITS})['\"]?[.!?]*$"
)


class Reply(NamedTuple):
    """An answer, and whether the messages held it."""

    text: str
    known: bool


class _Prompt(NamedTuple):
    """The messages, what stands before the question among them, and the facts in all of them."""

    messages: Sequence[Said]
    earlier: Sequence[Said]
    facts: dict[str, str]


class _Rule(NamedTuple):
    """What is asked, the answer if the prompt holds it, and what to say if not."""

    asks: re.Pattern[str]
    look_up: Callable[[_Prompt, re.Match[str]], str | None]
    excuse: str = ""
    """Empty: it was not asked after all, a later rule may know."""


def reply(messages: Sequence[Said]) -> Reply:
    """The answer to the end of ``messages``: to a tool's result, or to what the user asked last."""
    if messages and messages[-1][0] == "tool":
        return Reply(f"The tool says: {messages[-1][1]}", known=True)
    at = max((i for i, (role, _) in enumerate(messages) if role == "user"), default=None)
    if at is None:
        return Reply(HELP, known=False)
    prompt = _Prompt(messages, messages[:at], known_facts(messages))
    asked = messages[at][1]
    answers = [_answer(prompt, clause) for clause in deque(clauses(asked), _CLAUSES_ANSWERED)]
    given = [answer for answer in answers if answer] or _noted(asked)
    return Reply(
        " ".join(dict.fromkeys(answer.text for answer in given)) or HELP,
        known=any(answer.known for answer in given),
    )


def _answer(prompt: _Prompt, clause: str) -> Reply | None:
    excuse = ""
    for rule in _RULES:
        if found := rule.asks.match(clause):
            if text := rule.look_up(prompt, found):
                return Reply(text, known=True)
            excuse = rule.excuse or excuse
    return Reply(f"I don't know: {excuse}", known=False) if excuse else None


def _noted(asked: str) -> list[Reply]:
    """Nothing was asked: what was stated instead."""
    return [
        Reply(f"Hello, {fact.value}!" if fact.subject == "your name" else f"Noted: {fact}", True)
        for fact in deque(facts(asked), _CLAUSES_ANSWERED)
    ]


def _said(_: _Prompt, found: re.Match[str]) -> str:
    return found["said"]


def _fact(prompt: _Prompt, found: re.Match[str]) -> str | None:
    return prompt.facts.get(yours(found[1], found[2]).casefold())


def _name(prompt: _Prompt, _: re.Match[str]) -> str | None:
    return prompt.facts.get("your name")


def _number(prompt: _Prompt, _: re.Match[str]) -> str | None:
    """The number last repeated on request; without one, the last that the messages mention."""
    repeated = [
        found["said"]
        for role, text in prompt.earlier
        if role == "user"
        for clause in clauses(text)
        if (found := _REPEAT_NUMBER.match(clause))
    ]
    told = [
        n for role, text in prompt.earlier if role != "assistant" for n in _NUMBER.findall(text)
    ]
    numbers = repeated or told or [n for _, text in prompt.messages for n in _NUMBER.findall(text)]
    return f"The number is {numbers[-1]}." if numbers else None


def _count(prompt: _Prompt, found: re.Match[str]) -> str:
    unit = found[1].lower()
    count = len([role for role, _ in prompt.messages if unit == "message" or role == "user"])
    return f"I see {count} {unit}{'' if count == 1 else 's'}."


def _first(prompt: _Prompt, _: re.Match[str]) -> str | None:
    first = next((text for role, text in prompt.earlier if role == "user"), None)
    return None if first is None else f'First you said: "{first}"'


_RULES = (
    _Rule(_REPEAT_NUMBER, _said),
    _Rule(
        pattern(LEAD + r"(?:repeat|say|echo)\b[^'\"]{0,40}[ :](['\"])(?P<said>.+?)\1(?!\w)"), _said
    ),
    _Rule(
        pattern(LEAD + r"(?:repeat|say|echo)(?: after me| this| exactly)*: ?(?P<said>.+)"), _said
    ),
    _Rule(pattern(LEAD + r"how many (message|turn)s?\b"), _count),
    _Rule(
        pattern(LEAD + r"what (?:did|have) i (?:say|said|ask|asked)\b.*\bfirst\b"),
        _first,
        "nothing stands before this in what I was sent.",
    ),
    _Rule(pattern(LEAD + r"who am i\b"), _name, "no name stands in what I was sent."),
    _Rule(
        pattern(
            LEAD + r"(?:what|who|where|when|tell me|do you (?:know|remember)|remind me)(?:'s)?"
            r"(?: is| are| was| were| what| who| of)* (my|our|the) (.+?)"
            r"(?: is| are| was| were)?(?: again| now| please)*[ .?!]*$"
        ),
        _fact,
        "that does not stand in what I was sent.",
    ),
    _Rule(
        pattern(LEAD + r"(?:what|which|repeat|say|tell|do you|remember)\b.*\bnumber\b"),
        _number,
        "no number stands in what I was sent.",
    ),
)

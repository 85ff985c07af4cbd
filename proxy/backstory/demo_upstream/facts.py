"""What messages state, clause by clause: the only knowledge that the demo upstream has.

Patterns see one short clause at a time, so that a megabyte of anything is read in one pass.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Said = tuple[str, str]
"""Role (``system``, ``user``, ``assistant``, ``tool``) and text of one message."""

LEAD = r"(?:[\w',-]+ ){0,4}?"
"""Words that may come before what matters: "Hi there, …", "Could you please …"."""


def pattern(text: str) -> re.Pattern[str]:
    """A pattern that does not care about case."""
    return re.compile(text, re.IGNORECASE)


_LENGTHS = range(4, 301)
_MARKS = " .,;:!?'\"`"
_SENTENCE = re.compile(r"(?<=[.!?;]) ")
_AND = pattern(r",? (?:and|but) (?=(?:my|our|the|i|i'm|call|what|who|how)\b)")
_ASKS = pattern(r"(?:what|who|where|when|which|how|is|are|do|does|did|can|could|tell|repeat)\b")
_FACT = pattern(LEAD + r"(my|our|the) (.{1,80}?)(?: (is|are)|(?<=name)'s) (.+)")
_NAMED = pattern(LEAD + r"(?:i am|i'm|call me) (.+)")


class Fact(NamedTuple):
    """Something stated, as the assistant would say it: ``your name``, ``is``, ``Ada``."""

    subject: str
    verb: str
    value: str

    def __str__(self) -> str:
        """The fact and a full stop."""
        return f"{self.subject} {self.verb} {self.value}."


def clauses(text: str) -> Iterator[str]:
    """The sentences of ``text``, cut again where an "and" begins another; single blanks only."""
    for line in text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").splitlines():
        if line:
            for sentence in _SENTENCE.split(" ".join(line.split())):
                for clause in _AND.split(sentence):
                    if len(clause) in _LENGTHS:
                        yield clause


def facts(text: str) -> Iterator[Fact]:
    """What ``text`` states, in order; a question states nothing."""
    for clause in clauses(text):
        if clause.endswith("?") or _ASKS.match(clause):
            continue
        if found := _FACT.match(clause):
            subject = yours(found[1], found[2])
            value = found[4].partition(",")[0] if subject == "your name" else found[4]
            yield Fact(subject, (found[3] or "is").lower(), value.strip(_MARKS))
        if (found := _NAMED.match(clause)) and (name := _name(found[1])):
            yield Fact("your name", "is", name)


def known_facts(messages: Sequence[Said]) -> dict[str, str]:
    """A sentence for each subject that anybody but the assistant spoke of; the latest counts."""
    known: dict[str, str] = {}
    for role, text in messages:
        if role != "assistant":
            for fact in facts(text):
                known[fact.subject.casefold()] = str(fact)
    return {subject: said[0].upper() + said[1:] for subject, said in known.items()}


def yours(owner: str, key: str) -> str:
    """What the user calls ``my dog`` as the assistant calls it: ``your dog``."""
    return f"{'the' if owner.lower() == 'the' else 'your'} {key}"


def _name(text: str) -> str:
    """The words it begins with that are not in lower case: "I am Ada", but not "I am tired"."""
    words: list[str] = []
    for word in text.partition(",")[0].strip(_MARKS).split(" "):
        if not word[:1].isalpha() or word[0].islower():
            break
        words.append(word)
    return " ".join(words)

"""What clients saw of their turns, and whether what is stored agrees with it.

The oracle of the tests that kill a server. It knows nothing of HTTP and of stores.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Attempt:
    """One turn as its client saw it. No other turn has this question."""

    conversation: str
    question: str
    answer: str
    """The whole text that the upstream sends for it."""
    begun: int
    """When it was sent, on the ledger's clock."""
    over: int | None = None
    """When its client saw its end or its cut; ``None``: it waits still."""
    acknowledged: bool = False
    """The client saw that the answer is complete."""


Stored = Mapping[str, Sequence[tuple[str, str]]]
"""Of each conversation: question and answer of every turn, in order."""


class Ledger:
    """Every attempt of every client."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.attempts: dict[str, Attempt] = {}
        """By their questions."""
        self._clock = itertools.count()

    def begin(self, conversation: str, question: str, answer: str) -> Attempt:
        """Call before the first byte is sent."""
        attempt = Attempt(conversation, question, answer, next(self._clock))
        assert question not in self.attempts, "the oracle tells turns apart by their questions"
        self.attempts[question] = attempt
        return attempt

    def end(self, attempt: Attempt, *, acknowledged: bool) -> None:
        """Call when the end was seen, or the cut."""
        attempt.acknowledged = acknowledged
        attempt.over = next(self._clock)

    @property
    def acknowledged(self) -> int:
        """How many turns were seen to be complete."""
        return sum(attempt.acknowledged for attempt in self.attempts.values())

    def problems(self, stored: Stored) -> list[str]:
        """What must never happen and did, one sentence each; only of conversations in ``stored``."""
        return [*self._lost(stored), *self._wrong(stored), *self._disordered(stored)]

    def _lost(self, stored: Stored) -> Iterator[str]:
        kept = {name: {question for question, _ in turns} for name, turns in stored.items()}
        for attempt in self.attempts.values():
            name = attempt.conversation
            if attempt.acknowledged and name in kept and attempt.question not in kept[name]:
                yield f"lost: {attempt.question} of {name} was acknowledged"

    def _wrong(self, stored: Stored) -> Iterator[str]:
        for name, turns in stored.items():
            for question, answer in turns:
                attempt = self.attempts.get(question)
                if attempt is None or attempt.conversation != name:
                    yield f"foreign: nobody asked in {name}: {question}"
                elif attempt.answer != answer:
                    yield f"half: {question} of {name} has another answer than was sent"
        counts = Counter(question for turns in stored.values() for question, _ in turns)
        for question, count in counts.items():
            if count > 1:
                yield f"twice: {question} is stored {count} times"

    def _disordered(self, stored: Stored) -> Iterator[str]:
        """A turn that was over before another one began stands before it."""
        for name, turns in stored.items():
            latest = -1
            for question, _ in turns:
                attempt = self.attempts.get(question)
                if attempt is None:
                    continue
                if attempt.over is not None and attempt.over < latest:
                    yield f"order: {question} of {name} stands behind a turn that came later"
                latest = max(latest, attempt.begun)

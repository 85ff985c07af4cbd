"""Where a request stands in the stored conversation: what is put in front of it, where its turn goes.

A client may send only its new turn (delta), everything each time (transcript) or the last messages
(window), and it need not say which. Five rules decide every case:

1. The client's own messages are forwarded as sent; only older stored ones are put before them.
2. Position counts, not membership: the same text twice is two messages.
3. When two readings are possible, the one that keeps stored turns on the path is taken.
4. A turn is stored once: what was replayed is never saved again.
5. Nothing is deleted by alignment; superseded turns stay as branches.

Pure: everything looked up in the store is in ``Stored``. Fingerprints are keyed on both sides.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Literal, NamedTuple

from backstory.model import Head, Message, Mode, Turn, made

Reading = Literal["delta", "transcript", "window", "fork", "detached"]


class Decision(Enum):
    """The rule that fired."""

    PASS_THROUGH = auto()
    """Nothing new was said."""
    NEW = auto()
    """The first turn."""
    ORPHAN_TOOL_RESULT = auto()
    """Results of calls that are not on the path: forwarded, not stored."""
    APPEND = auto()
    """Only the new turn was sent: history goes before it."""
    APPEND_AT = auto()
    """The reply that this continues was named: the path to it goes before the request."""
    EXTEND = auto()
    """The whole path was sent."""
    EXTEND_SPINE = auto()
    """The whole path but for its tool messages was sent."""
    ADOPT = auto()
    """The client knows turns that the store does not."""
    FORK = auto()
    """Another continuation of an older turn: a reply made anew, or a question changed."""
    FORK_IMPORT = auto()
    """A history that left the stored one after a common beginning."""
    WINDOW = auto()
    """The newest stored messages were sent: the older ones go before them."""
    WINDOW_ADOPT = auto()
    """As ``WINDOW``, and the client knows turns that the store does not."""
    WINDOW_FORK = auto()
    """Messages from the middle of the path were sent, and go on differently."""
    FOREIGN_HEAD = auto()
    """The client's own summary stands for the older part."""
    DETACHED = auto()
    """A question of its own under the same name, such as a title generator's."""
    UNRELATED = auto()
    """A history that shares nothing with the stored one."""


READINGS: dict[Decision, Reading] = {
    Decision.APPEND: "delta",
    Decision.APPEND_AT: "delta",
    Decision.NEW: "delta",
    Decision.ORPHAN_TOOL_RESULT: "delta",
    Decision.PASS_THROUGH: "delta",
    Decision.EXTEND: "transcript",
    Decision.EXTEND_SPINE: "transcript",
    Decision.ADOPT: "transcript",
    Decision.FOREIGN_HEAD: "transcript",
    Decision.WINDOW: "window",
    Decision.WINDOW_ADOPT: "window",
    Decision.FORK: "fork",
    Decision.FORK_IMPORT: "fork",
    Decision.WINDOW_FORK: "fork",
    Decision.DETACHED: "detached",
    Decision.UNRELATED: "detached",
}
"""What the receipt says in ``as``."""


class Stored(NamedTuple):
    """What the store knows that a request can be aligned with."""

    head: Head | None = None
    path: tuple[Turn, ...] = ()
    """The turns up to the head; only the newest are needed for a request that claims no history."""
    match: Head | None = None
    """The deepest turn of any branch up to which the claimed history is the stored one."""
    first_fingerprints: frozenset[bytes] = frozenset()
    """Of the first message of every root."""
    mode: Mode = "auto"
    preset: bool = False
    """``mode`` was said, not learned."""
    longest_claim: int = 0


class Plan(NamedTuple):
    """What to do with a request."""

    decision: Decision
    told: tuple[Turn, ...] = ()
    """Stored turns to put before the client's messages."""
    without: int = 0
    """How many messages at the end of ``told`` the client has sent itself."""
    parent: Head | None = None
    """The turn under which the new ones go; ``None``: a root."""
    imported: tuple[Message, ...] = ()
    """Claimed messages to be stored under ``parent`` before the new turn."""
    stores: bool = True
    moves_head: bool = True
    """The new turn becomes the head."""
    pins: bool = False
    """Stored system messages stand in when the client sent none."""
    learns: Mode | None = None


_APPEND = Decision.APPEND  # to ask an enum for a member by its name is a call (Python 3.11)


def align(claimed: Sequence[Message], new: Sequence[Message], stored: Stored) -> Plan:
    """Read a request against the stored conversation (the rules and their order: ``docs/alignment.md``).

    Args:
        claimed: messages that pretend to be from earlier turns; ends with an assistant message.
        new: everything after them.
        stored: the conversation.
    """
    if not new:
        return Plan(Decision.PASS_THROUGH, stores=False)
    if not claimed:
        return _without_claim(new, stored)
    plan = _with_claim(claimed, new, stored)
    if any(m.answers for m in new):
        return plan._replace(learns=None)  # a tool loop's own messages are sent again by everybody
    return plan


def append_at(path: Sequence[Turn]) -> Plan:
    """A request that names the reply it continues; ``path``: the newest turns up to that one."""
    parent = head_of(path[-1])
    return Plan(Decision.APPEND_AT, tuple(path), parent=parent, pins=True)


def head_of(turn: Turn) -> Head:
    """The turn as a place to stand."""
    return Head(turn.id, turn.chain, turn.depth, turn.size, turn.tokens)


def _without_claim(new: Sequence[Message], stored: Stored) -> Plan:
    if stored.head is None:
        return Plan(Decision.NEW)
    answers = {answer for m in new for answer in m.answers}
    if answers and not answers <= _asked_for(stored.path):
        return Plan(Decision.ORPHAN_TOOL_RESULT, stores=False)
    if stored.mode in ("transcript", "window"):
        if new[0].fingerprint in stored.first_fingerprints:
            return Plan(Decision.FORK)
        return Plan(Decision.DETACHED, moves_head=False)
    head, path, *_ = stored
    return made(Plan, (_APPEND, path, 0, head, (), True, True, True, "delta"))


def _with_claim(claimed: Sequence[Message], new: Sequence[Message], stored: Stored) -> Plan:
    anchor = stored.match
    known = anchor.size if anchor else 0  # as far as whole turns go
    if anchor and known == len(claimed) and stored.head and anchor.chain == stored.head.chain:
        return Plan(Decision.EXTEND, parent=stored.head, learns="transcript")
    claim = [m.fingerprint for m in claimed]
    said = [m.fingerprint for turn in stored.path for m in turn.messages]
    # A first message in common is a common beginning, even if its first reply differs.
    shared = known or int(claim[0] in stored.first_fingerprints)

    if anchor and known == len(claim):
        if _ends_with(said, claim) and _slides(claim, new, said, stored):
            return _window(Decision.WINDOW, len(claim), stored)
        return Plan(Decision.FORK, parent=anchor)
    if not said or shared == len(said):
        return Plan(Decision.ADOPT, parent=anchor, imported=tuple(claimed[known:]))
    if _ends_with(said, claim):
        return _window(Decision.WINDOW, len(claim), stored)
    if _spine(claimed) and _spine(claimed) == _spine([m for t in stored.path for m in t.messages]):
        return Plan(Decision.EXTEND_SPINE, parent=stored.head)
    if _common_suffix(claim, said) >= 2:
        return Plan(Decision.FOREIGN_HEAD, parent=stored.head)
    if shared == 0 and (plan := _window_fork(claim, said, stored)):
        return plan
    if shared:
        return Plan(Decision.FORK_IMPORT, parent=anchor, imported=tuple(claimed[known:]))
    if overlap := _overlap(said, claim):
        return _window(Decision.WINDOW_ADOPT, overlap, stored, tuple(claimed[overlap:]))
    return Plan(Decision.UNRELATED, imported=tuple(claimed), moves_head=False)


def _slides(claim: list[bytes], new: Sequence[Message], said: list[bytes], stored: Stored) -> bool:
    """Whether a claim that is both a beginning and an end of the path is a window on its end.

    A client known to send everything slides no window, unless that was only learned, it never
    claimed more than this, and it does not ask again what followed the beginning.
    """
    if stored.mode != "transcript":
        return True
    follows = said[len(claim) : len(claim) + len(new)]
    asks_again = follows == [m.fingerprint for m in new]
    return not stored.preset and len(claim) >= stored.longest_claim and not asks_again


def _window(
    decision: Decision, length: int, stored: Stored, imported: tuple[Message, ...] = ()
) -> Plan:
    """History is the path without its last ``length`` messages."""
    return Plan(
        decision,
        *_but_last(stored.path, length),
        stored.head,
        imported,
        pins=True,
        learns="window" if decision is Decision.WINDOW else None,
    )


def _window_fork(claim: list[bytes], said: list[bytes], stored: Stored) -> Plan | None:
    at = _find(said, claim)
    if at < 0:
        return None
    newest = stored.path[-1].size if stored.path else 0
    end = newest - len(said) + at + len(claim)
    for turn in stored.path:
        if turn.size == end:
            before = _but_last(stored.path, len(said) - at)
            return Plan(Decision.WINDOW_FORK, *before, head_of(turn), pins=True)
    return None


def _but_last(path: Sequence[Turn], length: int) -> tuple[tuple[Turn, ...], int]:
    """The turns of ``path`` without the last ``length`` messages; how many of those are left in it."""
    kept = list(path)
    while kept and length >= (size := len(kept[-1].asked) + len(kept[-1].reply)):
        length -= size
        kept.pop()
    return tuple(kept), length if kept else 0


def _asked_for(path: Sequence[Turn]) -> set[str]:
    """The ids of all calls on ``path``."""
    return {call for turn in path for m in turn.messages for call in m.calls}


def _spine(messages: Sequence[Message]) -> list[bytes]:
    return [m.spine for m in messages if m.spine]


def _ends_with(said: list[bytes], claim: list[bytes]) -> bool:
    return len(claim) < len(said) and said[-len(claim) :] == claim


def _common_suffix(claim: list[bytes], said: list[bytes]) -> int:
    length = 0
    for a, b in zip(reversed(claim), reversed(said), strict=False):
        if a != b:
            break
        length += 1
    return length


def _borders(pattern: list[bytes]) -> list[int]:
    """For every beginning of ``pattern``, the longest proper end of it that is a beginning too."""
    borders = [0] * len(pattern)
    length = 0
    for i in range(1, len(pattern)):
        while length and pattern[i] != pattern[length]:
            length = borders[length - 1]
        if pattern[i] == pattern[length]:
            length += 1
        borders[i] = length
    return borders


def _find(said: list[bytes], claim: list[bytes]) -> int:
    """Where ``claim`` stands in ``said`` for the last time, or -1. Linear (Knuth, Morris, Pratt)."""
    borders, length, found = _borders(claim), 0, -1
    for i, fingerprint in enumerate(said):
        while length and (length == len(claim) or fingerprint != claim[length]):
            length = borders[length - 1]
        if fingerprint == claim[length]:
            length += 1
        if length == len(claim):
            found = i + 1 - length
    return found


def _overlap(said: list[bytes], claim: list[bytes]) -> int:
    """The longest end of ``said`` that is a beginning of ``claim``. Linear."""
    borders, length = _borders(claim), 0
    for fingerprint in said[-len(claim) :]:
        while length and (length == len(claim) or fingerprint != claim[length]):
            length = borders[length - 1]
        if fingerprint == claim[length]:
            length += 1
    return length

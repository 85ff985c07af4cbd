"""What was read of a client's transcript a turn ago: who sends everything again has only what is new read.

Of a request that begins with the same bytes as the one before, in the same conversation of the same
owner, only the rest is read and hashed. Nothing depends on it but speed: what is known is a pure
function of those bytes (and of the conversation's key), and is compared before it is believed.
"""

from collections.abc import Sequence
from typing import NamedTuple

from backstory.fingerprint import keyed
from backstory.model import Beginning, Conversation, Message, Owner, Prompt, made
from backstory.spi import Dialect
from backstory.turns import chains_after, claim_chains
from backstory.warm import Warm

KNOWN_BYTES = 64 * 1024 * 1024
"""Of all conversations together."""
_MESSAGE_WEIGHT = 700
"""Bytes of a message beside its own two copies, roughly: its facts, read and keyed, and its chain."""


class Keyed(NamedTuple):
    """A prompt's messages under a conversation's key."""

    claimed: tuple[Message, ...]
    new: tuple[Message, ...]
    chains: tuple[bytes, ...]
    """After each message of ``claimed``; none if nothing is stored to compare them with."""

    def turn_ends(self) -> list[bytes]:
        """The chains at which stored turns may end."""
        return claim_chains(self.claimed, self.chains)


class _Known(NamedTuple):
    dialect: Dialect
    """The very one: another row's may read otherwise."""
    body: bytes
    begins: Beginning
    key: bytes
    read: tuple[Message, ...]
    """As the dialect read them, claimed and new."""
    keyed: tuple[Message, ...]
    """The same under ``key``."""
    chains: tuple[bytes, ...]
    """After each of them, as far as they were asked for."""


class Transcripts:
    """The last one of each conversation, as long as it is warm. Used from one event loop."""

    def __init__(self, most_bytes: int = KNOWN_BYTES) -> None:
        """``most_bytes``: of all together, roughly.

        A quarter of it is the most for one: comparing it to a body takes less than a millisecond.
        """
        self._most = most_bytes // 4
        self._known: Warm[tuple[Owner, str], _Known] = Warm(most_bytes)

    def beginning(
        self, owner: Owner, conversation: str, dialect: Dialect, body: bytes
    ) -> Beginning | None:
        """What ``dialect`` has read of ``body`` already: see ``spi.Dialect.read_prompt``."""
        known = self._known.get((owner, conversation))
        if known is None or known.dialect is not dialect:
            return None
        return in_common(known.body, known.begins, body)

    def keyed(
        self,
        owner: Owner,
        conversation: Conversation,
        dialect: Dialect,
        prompt: Prompt,
        *,
        keep: bool = True,
    ) -> Keyed:
        """The messages of ``prompt`` under the key of ``conversation``.

        ``keep``: there will be a next prompt in it, and what it repeats need not be read again.
        """
        key, claimed = conversation.key, prompt.claimed
        if not claimed:
            return made(Keyed, ((), keyed(prompt.new, key), ()))
        place = owner, conversation.id
        read = claimed + prompt.new
        known = self._known.get(place)
        same = _same(known.read, read) if known is not None and known.key == key else 0
        if known is not None and same:
            said = known.keyed[:same] + keyed(read[same:], key)
            chains = known.chains[: min(same, len(claimed))]
        else:
            said, chains = keyed(read, key), ()
        if conversation.version:
            chains += tuple(chains_after(said[len(chains) : len(claimed)], key, chains))
        weight = 2 * len(prompt.body) + _MESSAGE_WEIGHT * len(said)
        if keep and prompt.begins is not None and weight <= self._most:
            now = _Known(dialect, prompt.body, prompt.begins, key, read, said, chains)
            self._known.put(place, now, weight)
        return Keyed(said[: len(claimed)], said[len(claimed) :], chains)

    def drop(self, owner: Owner, conversation: str) -> None:
        """Forget the one of this conversation."""
        self._known.drop((owner, conversation))

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()


def in_common(before: bytes, begins: Beginning, body: bytes) -> Beginning | None:
    """As much of ``begins``, the beginning of ``before``, as is the beginning of ``body`` too."""
    ends = begins.ends
    view = memoryview(before)  # its slices are no copies
    if body.startswith(view[: ends[-1]]):
        return begins
    same, most, at = 0, len(ends) - 1, 0
    while same < most:
        middle = (same + most + 1) // 2
        end = ends[middle - 1]
        if body.startswith(view[at:end], at):
            same, at = middle, end
        else:
            most = middle - 1
    return begins.first(same)


def _same(before: Sequence[Message], now: Sequence[Message]) -> int:
    """With how many messages both begin."""
    count = min(len(before), len(now))
    if before[:count] == now[:count]:  # mostly the very same objects, which costs next to nothing
        return count
    pairs = enumerate(zip(before, now, strict=False))
    return next(at for at, (old, new) in pairs if old is not new and old != new)

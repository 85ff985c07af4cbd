"""New turns, ready to be committed under the turn they follow."""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence

from backstory.entropy import random_bytes
from backstory.fingerprint import ROOT, chain
from backstory.model import Head, Message, Turn, made

_ROOT = Head("", ROOT, 0, 0, 0)
"""Where the first turn is put."""


def new_turn_id() -> str:
    """A fresh, unguessable name: 128 random bits."""
    return "turn_" + _unguessable()


def new_conversation_id() -> str:
    """A fresh, unguessable name: 128 random bits."""
    return "conv_" + _unguessable()


def _unguessable() -> str:
    return urlsafe_b64encode(random_bytes(16)).rstrip(b"=").decode()


class Grower:
    """Grows a branch, turn by turn; ``turns`` are what it has grown, parents first."""

    def __init__(self, parent: Head | None, *, key: bytes, dialect: str, now: float) -> None:
        """``parent``: where the branch begins, ``None`` for a root. ``key``: the conversation's."""
        self.head = parent
        self.turns: list[Turn] = []
        self._key = key
        self._dialect = dialect
        self._now = now

    def grow(
        self,
        asked: Sequence[Message],
        reply: Sequence[Message],
        *,
        turn_id: str | None = None,
        reply_id: str = "",
        truncated: bool = False,
        imported: bool = False,
    ) -> None:
        """Add one turn of keyed messages."""
        parent, before, depth, size, tokens = self.head or _ROOT
        messages = (*asked, *reply)
        after = chain(before, messages, self._key)
        depth, size = depth + 1, size + len(messages)
        for message in messages:
            tokens += message.tokens
        ident = turn_id or new_turn_id()
        self.head = made(Head, (ident, after, depth, size, tokens))
        turn = made(
            Turn,
            (
                ident,
                parent or None,
                self._dialect,
                tuple(asked),
                tuple(reply),
                after,
                depth,
                size,
                tokens,
                truncated,
                imported,
                self._now,
                reply_id,
            ),
        )
        self.turns.append(turn)

    def adopt(self, claimed: Sequence[Message]) -> None:
        """Add what the client says has happened: a turn for each assistant message."""
        for asked, reply in _by_reply(claimed):
            self.grow(asked, reply, imported=True)


def chains_after(
    messages: Iterable[Message], key: bytes, before: Sequence[bytes] = ()
) -> list[bytes]:
    """The chain after each of ``messages``; ``before``: those of all that precede them."""
    chains: list[bytes] = []
    at = before[-1] if before else ROOT
    for message in messages:
        at = chain(at, (message,), key)
        chains.append(at)
    return chains


def claim_chains(claimed: Sequence[Message], chains: Sequence[bytes]) -> list[bytes]:
    """Those of ``chains``, the ones after each message, where stored turns may end: behind a reply."""
    pairs = zip(claimed, chains, strict=True)
    return [chain for message, chain in pairs if message.role == "assistant"]


def _by_reply(messages: Sequence[Message]) -> Iterator[tuple[Sequence[Message], Sequence[Message]]]:
    start = 0
    for at, message in enumerate(messages):
        if message.role == "assistant":
            yield messages[start:at], messages[at : at + 1]
            start = at + 1

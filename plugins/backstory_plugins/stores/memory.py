"""Conversations in this process, bounded, gone when it ends: for trying out and for tests.

Every method is atomic because nothing in here awaits. What does not fit any more is forgotten a
whole conversation at a time, least recently loaded or committed first, never the one being written.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from backstory.errors import StoreUnavailable, VersionConflict
from backstory.model import Conversation, Owner, Turn
from backstory.spi import Store

MAX_BYTES = 256 * 1024 * 1024
MAX_CONVERSATIONS = 10_000

MESSAGE_OVERHEAD = 512
"""Bytes that a message costs besides its raw bytes: digests, ids and object headers."""
CONVERSATION_OVERHEAD = 1024


class _Kept:
    """A conversation with its turns, and the two ways to find them."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.turns: dict[str, Turn] = {}
        self.best: dict[bytes, tuple[int, int, Turn]] = {}
        """By chain: depth and commit order of the deepest, newest turn that ends with it."""
        self.weight = 0

    def put(self, after: Conversation, turns: Sequence[Turn]) -> None:
        # Once named a second time it stays so, whatever this commit was made from.
        single_use = after.single_use and self.conversation.single_use
        self.conversation = after._replace(single_use=single_use)
        for turn in turns:
            rank = (turn.depth, len(self.turns), turn)
            self.turns[turn.id] = turn
            self.weight += _weight(turn)
            if turn.chain not in self.best or self.best[turn.chain][:2] < rank[:2]:
                self.best[turn.chain] = rank

    @property
    def size(self) -> int:
        return _frame(self.conversation) + self.weight


class MemoryStore:
    """See ``spi.Store``. Durable only as long as the process lives."""

    def __init__(
        self, *, max_bytes: int = MAX_BYTES, max_conversations: int = MAX_CONVERSATIONS
    ) -> None:
        """Both bounds hold for all owners together."""
        self.max_bytes = max_bytes
        self.max_conversations = max_conversations
        self._bytes = 0
        self._kept: OrderedDict[tuple[Owner, str], _Kept] | None = None

    @classmethod
    def from_url(cls, url: str) -> "MemoryStore":
        """The store that ``memory://?max_bytes=…&max_conversations=…`` names.

        Raises:
            ValueError: not such a URL; the message says what to write instead.
        """
        parts = urlsplit(url)
        if parts.scheme != "memory" or parts.netloc or parts.path or parts.fragment:
            raise ValueError(f"not a store in memory: {url!r}; write memory://")
        bounds = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = bounds.keys() - {"max_bytes", "max_conversations"}
        if unknown:
            raise ValueError(
                f"memory:// does not know {', '.join(sorted(unknown))}; "
                "write max_bytes and max_conversations only"
            )
        return cls(
            max_bytes=_bound(bounds, "max_bytes", MAX_BYTES),
            max_conversations=_bound(bounds, "max_conversations", MAX_CONVERSATIONS),
        )

    async def open(self) -> None:
        """See ``spi.Store``. Begins empty."""
        self._kept, self._bytes = OrderedDict(), 0

    async def close(self) -> None:
        """See ``spi.Store``. Forgets everything."""
        self._kept = None

    async def ready(self) -> None:
        """See ``spi.Store``. True from ``open`` to ``close``."""
        self._all()

    def known(self, owner: Owner, conversation: str) -> Conversation | None:
        """See ``spi.Store``."""
        return self._used(owner, conversation)

    async def load(self, owner: Owner, conversation: str) -> Conversation | None:
        """See ``spi.Store``."""
        return self._used(owner, conversation)

    async def path(
        self, owner: Owner, conversation: str, turn: str, limit: int | None = None
    ) -> tuple[Turn, ...]:
        """See ``spi.Store``."""
        kept = self._find(owner, conversation)
        path: list[Turn] = []
        at: str | None = turn
        while kept and at is not None and at in kept.turns and len(path) != limit:
            path.append(kept.turns[at])
            at = path[-1].parent
        return tuple(reversed(path))

    async def match(self, owner: Owner, conversation: str, chains: Sequence[bytes]) -> Turn | None:
        """See ``spi.Store``."""
        kept = self._find(owner, conversation)
        if kept is None:
            return None
        found = [kept.best[chain] for chain in chains if chain in kept.best]
        return max(found, key=lambda rank: rank[:2])[2] if found else None

    async def first_fingerprints(self, owner: Owner, conversation: str) -> frozenset[bytes]:
        """See ``spi.Store``."""
        kept = self._find(owner, conversation)
        roots = (turn for turn in kept.turns.values() if turn.parent is None) if kept else ()
        return frozenset(turn.messages[0].fingerprint for turn in roots if turn.messages)

    async def turn(self, owner: Owner, conversation: str, turn: str) -> Turn | None:
        """See ``spi.Store``."""
        kept = self._find(owner, conversation)
        return kept.turns.get(turn) if kept else None

    async def replied(self, owner: Owner, reply_id: str) -> tuple[str, str] | None:
        """See ``spi.Store``. Looks at everything of the owner's."""
        found: tuple[float, str, str] | None = None
        for (theirs, conversation), kept in self._all().items():
            for turn in kept.turns.values() if theirs == owner else ():
                if turn.reply_id == reply_id and reply_id:
                    newer = turn.created, conversation, turn.id
                    found = newer if found is None else max(found, newer)
        return found[1:] if found else None

    async def commit(self, owner: Owner, after: Conversation, turns: Sequence[Turn]) -> None:
        """See ``spi.Store``.

        Raises:
            StoreUnavailable: this conversation alone is larger than the whole store may be.
            ValueError: a turn is stored already, or its parent is not.
        """
        kept = self._find(owner, after.id)
        before = (kept.conversation.key, kept.conversation.version) if kept else (after.key, 0)
        if before != (after.key, after.version - 1):
            raise VersionConflict("the conversation was changed or erased meanwhile")
        kept = kept or _Kept(after)
        _check(kept.turns, turns)
        more = sum(map(_weight, turns))
        if _frame(after) + kept.weight + more > self.max_bytes:
            raise StoreUnavailable("the conversation is larger than max_bytes of memory://")
        if (owner, after.id) in self._all():
            self._bytes -= kept.size
        kept.put(after, turns)
        self._all()[owner, after.id] = kept
        self._all().move_to_end((owner, after.id))
        self._bytes += kept.size
        while len(self._all()) > self.max_conversations or self._bytes > self.max_bytes:
            self._bytes -= self._all().popitem(last=False)[1].size

    async def touch(self, owner: Owner, conversation: str) -> None:
        """See ``spi.Store``."""
        kept = self._find(owner, conversation)
        if kept is not None:
            kept.conversation = kept.conversation._replace(single_use=False)

    async def erase(self, owner: Owner, conversation: str) -> bool:
        """See ``spi.Store``."""
        kept = self._all().pop((owner, conversation), None)
        self._bytes -= kept.size if kept else 0
        return kept is not None

    async def expire(self, before: float) -> int:
        """See ``spi.Store``."""
        old = [
            place
            for place, kept in self._all().items()
            if kept.conversation.single_use and kept.conversation.updated < before
        ]
        for owner, conversation in old:
            await self.erase(owner, conversation)
        return len(old)

    def _all(self) -> OrderedDict[tuple[Owner, str], _Kept]:
        if self._kept is None:
            raise StoreUnavailable("the store is closed")
        return self._kept

    def _used(self, owner: Owner, conversation: str) -> Conversation | None:
        """The conversation, which is now the most recently used one."""
        kept = self._find(owner, conversation)
        if kept is None:
            return None
        self._all().move_to_end((owner, conversation))
        return kept.conversation

    def _find(self, owner: Owner, conversation: str) -> _Kept | None:
        return self._all().get((owner, conversation))


def _frame(conversation: Conversation) -> int:
    pinned = sum(MESSAGE_OVERHEAD + len(raw) for raw in conversation.pinned)
    return CONVERSATION_OVERHEAD + pinned


def _weight(turn: Turn) -> int:
    return sum(MESSAGE_OVERHEAD + len(message.raw) for message in turn.messages)


def _check(stored: Mapping[str, Turn], turns: Sequence[Turn]) -> None:
    added: set[str] = set()
    for turn in turns:
        if turn.id in stored or turn.id in added:
            raise ValueError("a turn with this id is stored already")
        if turn.parent is not None and turn.parent not in stored and turn.parent not in added:
            raise ValueError("the parent of a turn is not stored")
        added.add(turn.id)


def _bound(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"memory://: {name}={text!r} is no number; write a whole number above 0")
    return int(text)


_: type[Store] = MemoryStore

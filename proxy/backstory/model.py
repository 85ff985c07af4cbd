"""The words of memory: who, which conversation, what was said. Pure values, no ids of storage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

made = tuple.__new__
"""``made(Turn, (…))`` is ``Turn(…)`` with every field in its order, in a third of the time.

For what is made in every request; ``tests/repo/test_made.py`` counts the fields.
"""

Role = Literal["system", "user", "assistant", "tool"]
Mode = Literal["auto", "delta", "transcript", "window"]


class Owner(NamedTuple):
    """Whose memory: every store method takes one, and nothing is found without it."""

    tenant: str
    subject: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking, as the credential proved it."""

    owner: Owner
    conversation: str | None = None
    """The token's claim ``conversation_id``."""
    scopes: frozenset[str] = frozenset()
    anonymous: bool = False
    """No credential at all: everybody without one is the same subject."""


class Message(NamedTuple):
    """One utterance, as the bytes that were sent, and its facts."""

    role: Role
    raw: bytes
    """One JSON object, exactly as the client or the upstream spelled it (UTF-8).

    Where a form says so, several, with commas between them.
    """
    fingerprint: bytes
    """32 bytes: equal for what counts as the same message (``fingerprint.py``).

    A plain SHA-256 as a dialect reads it; a keyed hash under the conversation's key from the moment
    the conversation is known, and always in a store.
    """
    spine: bytes
    """The same over role and text alone, for user and assistant messages that have text; else empty."""
    calls: tuple[str, ...] = ()
    """Ids of the tool calls that this message asks for."""
    answers: tuple[str, ...] = ()
    """Ids of the tool calls whose results this message carries."""
    tokens: int = 0
    """An estimate, or a tokenizer's count (``docs/tokens.md``)."""
    form: str = "chat"
    """Which dialects can tell ``raw`` as it is: ``Dialect.form``. Others tell its text."""
    note: bytes = b""
    """What the dialect that read it wants to know again, and nobody else understands."""


class Turn(NamedTuple):
    """Everything newly asked in one request, and the reply: stored whole or not at all.

    Turns form a tree. A branch point is always the end of a turn, because what a client claims as
    history always ends with an assistant message.
    """

    id: str
    parent: str | None
    """Id of the turn before it; ``None`` at a root."""
    dialect: str
    asked: tuple[Message, ...]
    reply: tuple[Message, ...]
    chain: bytes
    """32 bytes over every fingerprint from the root to the end of this turn."""
    depth: int
    """Turns from the root, this one included: at least 1."""
    size: int
    """Messages from the root to the end of this turn."""
    tokens: int
    """Estimated tokens from the root to the end of this turn."""
    truncated: bool = False
    """The reply hit a length limit."""
    imported: bool = False
    """The client said that this happened; no upstream answer proves it."""
    created: float = 0.0
    """Seconds since the epoch."""
    reply_id: str = ""
    """What the upstream called the reply, where clients may refer to it (``previous_response_id``)."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was asked, then the reply."""
        return self.asked + self.reply


class Head(NamedTuple):
    """The turn at which a conversation stands: see the fields of ``Turn``."""

    turn: str
    chain: bytes
    depth: int
    size: int
    tokens: int


class Conversation(NamedTuple):
    """A conversation without its turns."""

    id: str
    key: bytes
    """32 random bytes made with the conversation: fingerprints and chains are keyed hashes under it."""
    version: int = 0
    """Grows by one with every change; 0: nothing is stored yet."""
    head: Head | None = None
    mode: Mode = "auto"
    """How the client keeps its own history, as learned."""
    longest_claim: int = 0
    """Most messages of history that a request has claimed."""
    cut: int = 0
    """How many of the oldest turns of the path are not told any more (``docs/alignment.md``)."""
    plain: bool = False
    """The upstream has refused the reasoning in this history: it is told without."""
    pinned: tuple[bytes, ...] = ()
    """The leading system messages as last sent, raw."""
    dialects: tuple[str, ...] = ()
    single_use: bool = True
    """Nobody has named it a second time: erased after ``single_use_ttl``."""
    created: float = 0.0
    updated: float = 0.0


class Budget(NamedTuple):
    """How much history may be told in front of a request."""

    turns: int
    tokens: int | None
    """An estimate; ``None``: as many as there are."""


class Verdict(Enum):
    """What an answer was (``docs/commit.md``). Only the first three are remembered."""

    COMPLETE = "complete"
    TOOL = "tool"
    """The model asks for tools; the turn waits for their results."""
    TRUNCATED = "truncated"
    """The length limit ended it, with text to show."""
    PAUSED = "paused"
    """The upstream asks to be called again with what it has said so far."""
    FILTERED = "filtered"
    ERROR = "error"
    EMPTY = "empty"
    """Nothing was generated."""
    UNPROVED = "unproved"
    """It may be whole, but neither framing nor marker proves it."""
    ABORTED = "aborted"
    """The body itself shows that it was cut."""

    kept: bool
    """Whether a turn with this verdict is remembered."""

    def __init__(self, word: str) -> None:
        self.kept = word in ("complete", "tool", "truncated")


class Reply(NamedTuple):
    """What the upstream said, as memory keeps it. ``messages`` is empty unless the verdict is kept."""

    verdict: Verdict
    messages: tuple[Message, ...] = ()
    reply_id: str = ""
    """See ``Turn.reply_id``."""
    prompt_tokens: int | None = None
    """How many tokens the upstream counted in the request, those from its cache included."""


class Remedy(Enum):
    """What may turn an upstream's refusal into an answer, where what we told is the reason."""

    LESS_HISTORY = "less_history"
    """The context is too long."""
    NO_REASONING = "no_reasoning"
    """Reasoning that was told again is not accepted."""


class Answer(NamedTuple):
    """A whole answer as it came, content coding undone."""

    status: int
    media_type: str
    """Lower case, without parameters; empty if the upstream sent none."""
    body: bytes
    proved: bool
    """The framing proved the end: the zero chunk, or all of Content-Length."""
    request: bytes = b""
    """The body that was sent upstream for it."""


class Beginning(NamedTuple):
    """How a body begins that lists messages: up to the end of one of them. True of equal bytes.

    What is in a dialect's list depends on its bytes alone, so it need not be read twice.
    """

    opens: int
    """Where the list begins: the offset in the body's bytes right behind its bracket."""
    starts: tuple[int, ...]
    """Where each message begins."""
    ends: tuple[int, ...]
    """Where each ends: right behind a closing brace, so that nothing can go on with it."""
    messages: tuple[Message, ...]
    """As they were read, one by one; at least one."""

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.ends[-1]

    def first(self, count: int) -> "Beginning | None":
        """The beginning up to the end of that many messages; ``None``: of none."""
        if count >= len(self.ends):
            return self
        opens, starts, ends, messages = self
        return Beginning(opens, starts[:count], ends[:count], messages[:count]) if count else None


class Prompt(NamedTuple):
    """A request, read: what of it is pinned, what it claims to be history, what is new."""

    body: bytes
    """As the client sent it, content coding undone."""
    pinned: tuple[Message, ...]
    """The leading system messages."""
    claimed: tuple[Message, ...]
    """Messages that pretend to be from earlier turns. Ends with an assistant message if not empty."""
    new: tuple[Message, ...]
    """The rest. Ends with an assistant message only if that is a prefill."""
    insert_at: tuple[int, int] = (0, 0)
    """Where history goes: for the dialect that read the prompt, and for nobody else."""
    prefill: bool = False
    """``new`` ends with the beginning of the reply, which the upstream continues."""
    auxiliary: bool = False
    """Housekeeping that must not touch memory: one token at most is asked for."""
    model: str = ""
    """As the body names it; empty if it does not."""
    reply_tokens: int | None = None
    """The longest reply that the client allows, where it says so."""
    fixed_tokens: int = 0
    """Estimate of what fills the context besides messages: tool schemas, top-level instructions."""
    follows: str = ""
    """The upstream's name of the reply that this continues (``previous_response_id``)."""
    conversation: str = ""
    """The conversation that the body itself names (``conversation`` in Responses)."""
    stores: bool = True
    """Whether the client lets the turn be kept (``store`` in Responses)."""
    begins: Beginning | None = None
    """What ``Dialect.read_prompt`` wants to know of the next body that begins as this one does."""
    resolve: Callable[[Sequence[Message]], bytes | None] | None = None
    """Some messages stand in the body by an id alone, so that none of them is read yet.

    Given those that the conversation holds: the body with them in their places, to be read in the
    place of this one; ``None``: not all of them are there.
    """


@dataclass(frozen=True, slots=True)
class Marker:
    """The bytes with which a stream says that the answer is complete."""

    spellings: tuple[bytes, ...]
    line_start: bool
    """Counts only at the beginning of a line."""
    top_level: bool = False
    """Counts only as a key of the JSON object that its line holds, not of one inside it."""

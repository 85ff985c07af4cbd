"""What plugins promise: a dialect reads and writes one API's spelling, a store keeps conversations."""

from collections.abc import Sequence
from typing import Protocol

from backstory.model import (
    Answer,
    Beginning,
    Budget,
    Conversation,
    Marker,
    Message,
    Owner,
    Prompt,
    Remedy,
    Reply,
    Turn,
)


class Dialect(Protocol):
    """One API's spelling of prompts and replies. Pure and synchronous: bytes in, values out."""

    name: str
    """As routes and stored turns name it, ``openai.chat`` for instance."""
    form: str
    """How it spells messages: ``chat`` is ``{"role": …, "content": …}`` of Chat Completions."""

    names_replies: bool
    """Clients may go on from a reply by the id that the upstream gave it (``Prompt.follows``)."""

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """Read a request body of any bytes; ``None`` if it is not what this dialect expects.

        Never raises: what is not understood is passed through, and the upstream's own error is
        the right answer.

        Args:
            body: content coding undone.
            begun: of the ``Prompt.begins`` that this dialect gave for an earlier body, what holds of
                this one: the bytes up to its end are the same. The result is the same without it.
        """

    def inject(self, prompt: Prompt, pinned: Sequence[bytes], history: Sequence[Message]) -> bytes:
        """The body to send upstream: ``pinned`` and ``history`` in front of what the client claims.

        Everything else keeps its bytes. With nothing to say the result is ``prompt.body`` itself,
        unless the dialect wraps every prompt.
        """

    def told(self, message: Message) -> Message | None:
        """A stored message of another form in this one: its role and text, its fingerprints kept.

        ``None`` if it has no text: then it is not told.
        """

    def without_calls(self, message: Message) -> Message | None:
        """``message`` without the tool calls that it asks for; ``None`` if nothing is left."""

    def without_reasoning(self, message: Message) -> Message | None:
        """``message`` without what only the model that wrote it may read; ``None``: nothing is left."""

    def end_marker(self, media_type: str) -> Marker | None:
        """How an answer of this media type says that it is complete; ``None``: by its framing only."""

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """The reply in a whole answer with a 2xx status. Never raises."""

    def remedy(self, answer: Answer) -> Remedy | None:
        """What may help against a refusal (a status of 400 and above). Never raises.

        Asked only if history was told and nothing has reached the client.
        """

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """Content type and body of an error of ours, in the shape that this API's clients know."""

    def error_event(self, code: str, message: str) -> bytes:
        """An error inside an event stream that has begun; empty if the dialect has none."""


class Policy(Protocol):
    """How much of a conversation is told again. Pure and synchronous."""

    name: str

    def cut(self, path: Sequence[Turn], cut: int, budget: Budget) -> int:
        """How many of the oldest turns of the conversation are not told.

        Args:
            path: the newest turns, oldest first, at least one; ``depth`` counts from the root.
            cut: what was answered last; from ``path[0].depth - 1`` to ``path[-1].depth``, and so
                is the result. It never goes down.
            budget: what must be kept to.
        """


class Tokenizer(Protocol):
    """How many tokens a text has for a model. Used from several threads at once."""

    name: str

    def count(self, text: str) -> int:
        """Tokens of ``text``, at most 32 Ki characters of anything, lone surrogates included.

        May raise, even what is no ``Exception``: then the estimate stands.
        """

    def is_of(self, model: str) -> bool:
        """Whether it is the tokenizer of ``model``, a name that a client gave: then counts are exact."""


class Store(Protocol):
    """Where conversations live between exchanges.

    Every method raises ``StoreUnavailable`` if the storage cannot be reached in time. An id that
    belongs to another owner is an id that does not exist. Ids and owners are any ``str``, lone
    surrogates and NUL included.
    """

    async def open(self) -> None:
        """Make ready: create or migrate what is needed, begin whatever runs in the background."""

    async def close(self) -> None:
        """Finish what was begun and let go of everything. May be called twice."""

    async def ready(self) -> None:
        """Return if a write would succeed now. Changes nothing that can be seen."""

    def known(self, owner: Owner, conversation: str) -> Conversation | None:
        """The conversation as last committed by anybody, if that can be said without waiting.

        ``None`` says nothing: ask ``load``.
        """

    async def load(self, owner: Owner, conversation: str) -> Conversation | None:
        """The conversation as last committed, or ``None``."""

    async def path(
        self, owner: Owner, conversation: str, turn: str, limit: int | None = None
    ) -> tuple[Turn, ...]:
        """The turns from the root to ``turn``, oldest first; the last ``limit`` of them if given.

        Empty if there is no such turn.
        """

    async def match(self, owner: Owner, conversation: str, chains: Sequence[bytes]) -> Turn | None:
        """The deepest turn of any branch whose ``chain`` is in ``chains``; the newest of equals."""

    async def first_fingerprints(self, owner: Owner, conversation: str) -> frozenset[bytes]:
        """The fingerprint of the first message of every root turn."""

    async def turn(self, owner: Owner, conversation: str, turn: str) -> Turn | None:
        """One turn of any branch, or ``None``."""

    async def replied(self, owner: Owner, reply_id: str) -> tuple[str, str] | None:
        """Conversation and turn, by their ids, of the newest turn with this ``reply_id``, or ``None``."""

    async def commit(self, owner: Owner, after: Conversation, turns: Sequence[Turn]) -> None:
        """Add ``turns`` and put ``after`` in the place of the stored conversation. Atomic, durable.

        Compare and set: the stored conversation must have the same ``key`` and the version
        ``after.version - 1``; version 1 is a conversation of which nothing may be stored yet.
        Turns come parents first; each parent is stored already or precedes it in ``turns``. A
        commit never makes a conversation single-use again that was named a second time.

        Raises:
            VersionConflict: it is another, a newer or an erased one. Nothing was changed.
            ValueError: a turn is stored already, or its parent is not. Nothing was changed.
        """

    async def touch(self, owner: Owner, conversation: str) -> None:
        """Note that somebody named the conversation again: clears ``single_use``.

        Does not change ``version``; nothing happens if there is no such conversation.
        """

    async def erase(self, owner: Owner, conversation: str) -> bool:
        """Forget everything of it, for ever; ``False`` if there was nothing."""

    async def expire(self, before: float) -> int:
        """Erase single-use conversations last updated before ``before`` (epoch seconds), of all owners.

        Returns how many.
        """

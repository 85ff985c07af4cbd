"""Memory itself: what is told again in front of a prompt, and how its turn is committed."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from backstory.align import READINGS, Decision, Plan, Stored, align
from backstory.errors import StoreUnavailable, VersionConflict
from backstory.fingerprint import keyed
from backstory.history import in_form, newest, repaired
from backstory.model import Conversation, Message, Mode, Owner, Prompt, Reply, Turn, Verdict
from backstory.receipt import Receipt
from backstory.settings import MemorySettings
from backstory.spi import Dialect, Store
from backstory.turns import Grower, claim_chains, new_turn_id

T = TypeVar("T")

_COMMIT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Recalled:
    """A prompt with its place in a conversation."""

    owner: Owner
    dialect: Dialect
    prompt: Prompt
    conversation: Conversation
    """As it was before this turn; version 0 if it is new."""
    plan: Plan
    history: tuple[Message, ...]
    """What is put in front, as the upstream accepts it."""
    pinned: tuple[bytes, ...]
    """System messages that stand in for those that the client left out."""
    receipt: Receipt
    turn: str
    """The id that the turn has once it is stored."""

    def body(self) -> bytes:
        """The body to send upstream."""
        return self.dialect.inject(self.prompt, self.pinned, self.history)


class Memory:
    """Recalls and commits, for every owner."""

    def __init__(
        self, store: Store, settings: MemorySettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        """``clock``: seconds since the epoch, for what people read; nothing is ordered by it."""
        self.store = store
        self._settings = settings
        self._clock = clock

    async def within(self, work: Awaitable[T]) -> T:
        """The result of a store's method, if it comes in time.

        Raises:
            StoreUnavailable: it did not, or the store says so.
        """
        try:
            async with asyncio.timeout(self._settings.store_seconds):
                return await work
        except TimeoutError:
            raise StoreUnavailable("the store did not answer in time") from None

    async def recall(
        self, owner: Owner, name: str, dialect: Dialect, prompt: Prompt, preset: Mode = "auto"
    ) -> Recalled:
        """Find the place of ``prompt`` in the conversation ``name``, and what to tell again.

        Raises:
            StoreUnavailable: an answer without its history would be a wrong answer.
        """
        found = await self.within(self.store.load(owner, name))
        conversation = found or Conversation(id=name, key=secrets.token_bytes(32))
        key = conversation.key
        claimed, new = keyed(prompt.claimed, key), keyed(prompt.new, key)
        stored = await self._stored(owner, conversation, claimed, preset)
        plan = align(claimed, new, stored)
        told = newest(plan.history, self._settings.max_history_turns)
        before = [message for group in told for message in group]
        told_again = in_form(before, dialect)
        history = repaired(told_again, (*claimed, *new), dialect.without_calls)
        sticky = plan.pins and self._settings.sticky_system and not prompt.pinned
        receipt = Receipt(
            "hit" if conversation.head else "new",
            turns=len(told),
            omitted=_history_depth(plan) - len(told),
            tokens=sum(message.tokens for message in history),
            version=conversation.version,
            read_as=_reading(plan, preset),
        )
        pinned = conversation.pinned if sticky else ()
        return Recalled(
            owner, dialect, prompt, conversation, plan, history, pinned, receipt, new_turn_id()
        )

    async def commit(self, recalled: Recalled, reply: Reply) -> str | None:
        """Store the turn, durably; ``None``, or why there is nothing left to store it in.

        Whoever loses a race becomes a branch: nothing is lost, nothing is interleaved.

        Raises:
            StoreUnavailable: it is not known to be durable.
        """
        before: Conversation | None = recalled.conversation
        for _ in range(_COMMIT_ATTEMPTS):
            assert before is not None
            after, turns = self._grown(recalled, before, reply)
            try:
                await self.within(self.store.commit(recalled.owner, after, turns))
            except VersionConflict:
                before = await self.within(self.store.load(recalled.owner, before.id))
                if reason := await self._gone(recalled, before):
                    return reason
                continue
            return None
        raise StoreUnavailable("others keep changing the conversation")

    async def _stored(
        self, owner: Owner, conversation: Conversation, claimed: Sequence[Message], preset: Mode
    ) -> Stored:
        """Read what the alignment needs, and no more: most requests need little."""
        head, name = conversation.head, conversation.id
        stored = Stored(
            head=head,
            mode=conversation.mode if preset == "auto" else preset,
            preset=preset != "auto",
            longest_claim=conversation.longest_claim,
        )
        if conversation.version == 0:
            return stored
        match: Turn | None = None
        if claimed:
            chains = claim_chains(claimed, conversation.key)
            match = await self.within(self.store.match(owner, name, chains[-1:]))
            if match and head and match.chain == head.chain:
                return replace(stored, match=match)  # the whole path: nothing more to know
            if match is None:
                match = await self.within(self.store.match(owner, name, chains))
        path: tuple[Turn, ...] = ()
        if head:
            limit = None if claimed else self._settings.max_history_turns
            path = await self.within(self.store.path(owner, name, head.turn, limit))
        stored = replace(stored, match=match, path=path)
        # Asked only where a first message in common decides.
        if match is None if claimed else stored.mode in ("transcript", "window"):
            firsts = await self.within(self.store.first_fingerprints(owner, name))
            stored = replace(stored, first_fingerprints=firsts)
        return stored

    def _grown(
        self, recalled: Recalled, before: Conversation, reply: Reply
    ) -> tuple[Conversation, list[Turn]]:
        """The conversation after this turn, and the turns to add."""
        plan, prompt, now = recalled.plan, recalled.prompt, self._clock()
        grower = Grower(plan.parent, key=before.key, dialect=recalled.dialect.name, now=now)
        grower.adopt(keyed(_last(prompt.claimed, len(plan.imported)), before.key))
        asked = prompt.new[:-1] if prompt.prefill else prompt.new
        grower.grow(
            keyed(asked, before.key),
            keyed(reply.messages, before.key),
            turn_id=recalled.turn,
            truncated=reply.verdict is Verdict.TRUNCATED,
        )
        moves = plan.moves_head and before.head == recalled.conversation.head
        after = replace(
            before,
            version=before.version + 1,
            head=grower.head if moves else before.head,
            mode=(plan.learns or before.mode) if moves else before.mode,
            longest_claim=max(before.longest_claim, len(prompt.claimed)),
            pinned=_raw(prompt.pinned) if moves and prompt.pinned else before.pinned,
            dialects=tuple(dict.fromkeys((*before.dialects, recalled.dialect.name))),
            single_use=before.version == 0,
            created=before.created or now,
            updated=now,
        )
        return after, grower.turns

    async def _gone(self, recalled: Recalled, now: Conversation | None) -> str | None:
        """Why the turn has no place any more, if so."""
        seen = recalled.conversation
        if now is None or (seen.version and now.key != seen.key):
            return "erased"  # while the answer was on its way: it stays erased
        parent = recalled.plan.parent
        if parent and not await self.within(self.store.turn(recalled.owner, now.id, parent.turn)):
            return "rolled_back"
        return None


def _history_depth(plan: Plan) -> int:
    """Turns that could be told again, even if only the newest were read."""
    if plan.decision is Decision.APPEND and plan.parent:
        return plan.parent.depth
    return len(plan.history)


def _reading(plan: Plan, preset: Mode) -> str:
    if plan.decision is Decision.NEW and preset != "auto":
        return preset
    return READINGS[plan.decision]


def _raw(messages: Sequence[Message]) -> tuple[bytes, ...]:
    return tuple(message.raw for message in messages)


def _last(messages: Sequence[Message], count: int) -> Sequence[Message]:
    return messages[len(messages) - count :]

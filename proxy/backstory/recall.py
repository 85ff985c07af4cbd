"""Memory itself: what is told again in front of a prompt, and how its turn is committed."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

from backstory.align import READINGS, Decision, Plan, Stored, align, append_at, head_of
from backstory.counts import Counts
from backstory.deadlines import Deadlines
from backstory.entropy import random_bytes
from backstory.errors import NoSuchTurn, StoreUnavailable, VersionConflict
from backstory.fingerprint import keyed
from backstory.history import Telling, grown, telling
from backstory.model import (
    Conversation,
    Head,
    Message,
    Mode,
    Owner,
    Prompt,
    Remedy,
    Reply,
    Turn,
    Verdict,
    made,
)
from backstory.receipt import Outcome, Receipt
from backstory.settings import MemorySettings
from backstory.spi import Dialect, Policy, Store, Tokenizer
from backstory.transcripts import Keyed, Transcripts
from backstory.trim import REQUEST_TOKENS, Budgets, cut_of
from backstory.turns import Grower, new_turn_id
from backstory.warm import Warm

T = TypeVar("T")

_COMMIT_ATTEMPTS = 20
_OWN_HISTORY = ("transcript", "window")
"""Modes in which clients send history themselves."""
_NONE: frozenset[bytes] = frozenset()
# To ask an enum for a member by its name is a call (Python 3.11).
_NEW, _APPEND_AT, _TRUNCATED = Decision.NEW, Decision.APPEND_AT, Verdict.TRUNCATED
RECENT_BYTES = 64 * 1024 * 1024
"""Of turns that were told a moment ago."""
_TURN_WEIGHT = 1500
"""Bytes of a turn beside its messages', roughly."""


class Recalled(NamedTuple):
    """A prompt with its place in a conversation."""

    owner: Owner
    dialect: Dialect
    prompt: Prompt
    conversation: Conversation
    """As it was before this turn; version 0 if it is new."""
    plan: Plan
    new: tuple[Message, ...]
    """What is asked, under the conversation's key."""
    told: Telling
    history: tuple[Message, ...]
    """What is put in front, as the upstream accepts it."""
    pinned: tuple[bytes, ...]
    """System messages that stand in for those that the client left out."""
    receipt: Receipt
    turn: str
    """The id that the turn has once it is stored."""
    tokens: int
    """Estimate of the whole request."""

    def body(self) -> bytes:
        """The body to send upstream."""
        return self.dialect.inject(self.prompt, self.pinned, self.history)


class _Recent(NamedTuple):
    """The newest turns of a path, and how they were told. True for ever: turns never change."""

    head: str
    path: tuple[Turn, ...]
    told: Telling
    weight: int


class Memory:
    """Recalls and commits, for every owner."""

    def __init__(
        self,
        store: Store,
        settings: MemorySettings,
        policy: Policy,
        *,
        tokenizer: Tokenizer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Remember in ``store``, and tell again what ``policy`` says.

        Args:
            store: keeps the turns.
            settings: the limits.
            policy: what is told where not everything fits.
            tokenizer: counts new messages; ``None``: the estimates stand.
            clock: seconds since the epoch, for what people read; nothing is ordered by it.
        """
        self.store = store
        self._settings = settings
        self._policy = policy
        self._counts = Counts(tokenizer) if tokenizer else None
        self._budgets = Budgets(settings, tokenizer.is_of if tokenizer else None)
        self._recent: Warm[tuple[Owner, str], _Recent] = Warm(RECENT_BYTES)
        self.transcripts = Transcripts()
        """What was read of clients that send everything again."""
        self._clock = clock
        self._deadlines = Deadlines(settings.store_seconds)

    def within(self, work: Awaitable[T]) -> Awaitable[T]:
        """The result of a store's method, if it comes in time.

        Raises:
            StoreUnavailable: it did not, or the store says so.
        """
        return self._deadlines.within(work, _late)

    async def recall(
        self,
        owner: Owner,
        name: str,
        dialect: Dialect,
        prompt: Prompt,
        preset: Mode = "auto",
        *,
        fresh: bool = False,
        after: str | None = None,
    ) -> Recalled:
        """Find the place of ``prompt`` in the conversation ``name``, and what to tell again.

        Args:
            owner: whose.
            name: of the conversation.
            dialect: reads and tells.
            prompt: what is asked.
            preset: how the client keeps its history, if that is known.
            fresh: the name was made for this request, so that there is nothing to find.
            after: the turn that this one continues, where the client has named it.

        Raises:
            NoSuchTurn: there is no turn ``after``.
            StoreUnavailable: an answer without its history would be a wrong answer.
        """
        if self._counts:
            prompt = await self._counts.prompt(owner, prompt, with_claimed=after is not None)
        found = None if fresh else self.store.known(owner, name)
        if found is None and not fresh:
            found = await self.within(self.store.load(owner, name))
        conversation = found or Conversation(id=name, key=random_bytes(32))
        said = self.transcripts.keyed(
            owner, conversation, dialect, prompt, keep=prompt.stores and not fresh
        )
        claimed, new, _ = said
        if after is None:
            stored = self._at_hand(owner, conversation, claimed, preset)
            if stored is None:
                stored = await self._stored(owner, conversation, said, preset)
            plan = align(claimed, new, stored)
        else:
            plan = append_at(await self._path_to(owner, conversation, after))
            new = claimed + new
        sticky = plan.pins and self._settings.sticky_system and not prompt.pinned
        tokens = _tokens(prompt)
        told = Telling(dialect.form, conversation.plain, conversation.cut, (), (), 0)
        history: tuple[Message, ...] = ()
        if plan.told:
            told, history = self._told(owner, conversation, dialect, prompt, plan, new, tokens)
        return made(
            Recalled,
            (
                owner,
                dialect,
                prompt,
                conversation,
                plan,
                new,
                told,
                history,
                conversation.pinned if sticky else (),
                _receipt(conversation, plan, told, history, _reading(plan, preset)),
                new_turn_id(),
                tokens + told.tokens,
            ),
        )

    async def path(self, owner: Owner, name: str, after: str | None = None) -> tuple[Turn, ...]:
        """All turns of the conversation ``name`` up to the turn ``after``, or up to its head.

        Raises:
            StoreUnavailable: what is stored cannot be read.
        """
        if after is not None:
            return await self.within(self.store.path(owner, name, after))
        found = self.store.known(owner, name)
        if found is None:
            found = await self.within(self.store.load(owner, name))
        if found is None or found.head is None:
            return ()
        return await self._path(owner, found, found.head, whole=True)

    def remedied(self, recalled: Recalled, remedy: Remedy) -> Recalled | None:
        """The same prompt told otherwise, after the upstream has refused it; ``None``: it cannot be."""
        told, turns = recalled.told, recalled.plan.told
        if not recalled.history:
            return None
        if remedy is Remedy.NO_REASONING:
            if told.plain:
                return None
            again = self._told(*_place(recalled), plain=True, least_cut=told.cut)
        elif self._settings.retry_on_overflow:
            half = told.cut + max(1, (turns[-1].depth - told.cut) // 2)
            again = self._told(*_place(recalled), plain=told.plain, least_cut=half)
        else:
            return None
        read_as = recalled.receipt.read_as or ""
        receipt = _receipt(recalled.conversation, recalled.plan, *again, read_as)
        tokens = recalled.tokens - told.tokens + again[0].tokens
        return recalled._replace(told=again[0], history=again[1], receipt=receipt, tokens=tokens)

    def _told(
        self,
        owner: Owner,
        conversation: Conversation,
        dialect: Dialect,
        prompt: Prompt,
        plan: Plan,
        new: Sequence[Message],
        tokens: int,
        *,
        plain: bool = False,
        least_cut: int = 0,
    ) -> tuple[Telling, tuple[Message, ...]]:
        """As much of ``plan.told`` as fits, and as it stands in front of ``prompt``."""
        budget = self._budgets.of(prompt, tokens, in_loop=bool(new[0].answers))
        before = conversation.cut
        if plan.decision is _APPEND_AT and plan.parent != conversation.head:
            before = 0  # the cut is that of the path to the head
        cut = cut_of(plan.told, max(before, least_cut), budget, self._policy)
        plain = plain or conversation.plain
        told: Telling | None = None
        recent = self._recent.get((owner, conversation.id))
        if recent and recent.head == plan.told[-1].id and not plan.without:
            told = recent.told
            if told.cut != cut or told.form != dialect.form or told.plain != plain:
                told = None
        if told is None:
            turns = plan.told[cut - plan.told[0].depth + 1 :]
            if plan.without and turns:
                turns = (*turns[:-1], _shortened(turns[-1], plan.without))
            told = telling(dialect, turns, cut=cut, plain=plain)
        if not told.pending:
            return told, told.settled
        return told, told.followed_by((*prompt.claimed, *prompt.new), dialect)

    async def commit(self, recalled: Recalled, reply: Reply) -> str | None:
        """Store the turn, durably; ``None``, or why there is nothing left to store it in.

        Whoever loses a race becomes a branch: nothing is lost, nothing is interleaved.

        Raises:
            StoreUnavailable: it is not known to be durable.
        """
        before: Conversation | None = recalled.conversation
        if self._counts:
            recalled, reply = await self._counted(self._counts, recalled, reply)
        for _ in range(_COMMIT_ATTEMPTS):
            assert before is not None
            after, turns = self._grown(recalled, before, reply)
            try:
                await self.within(self.store.commit(recalled.owner, after, turns))
            except StoreUnavailable:
                # What is durable is not known: the next request asks the store.
                self._recent.drop((recalled.owner, after.id))
                raise
            except VersionConflict:
                self._recent.drop((recalled.owner, after.id))
                before = await self.within(self.store.load(recalled.owner, before.id))
                if reason := await self._gone(recalled, before):
                    return reason
                continue
            if not (self._counts and recalled.prompt.claimed):  # of which most is an estimate
                self._budgets.learn(recalled.prompt.model, recalled.tokens, reply.prompt_tokens)
            self._keep(recalled, after, turns)
            return None
        raise StoreUnavailable("others keep changing the conversation")

    async def erase(self, owner: Owner, name: str) -> bool:
        """See ``spi.Store``."""
        self._recent.drop((owner, name))
        self.transcripts.drop(owner, name)
        return await self.within(self.store.erase(owner, name))

    def close(self) -> None:
        """Forget what is at hand."""
        self._recent.clear()
        self.transcripts.clear()
        if self._counts:
            self._counts.close()

    def _keep(self, recalled: Recalled, after: Conversation, turns: list[Turn]) -> None:
        """Have the path at hand for the next turn."""
        head, first = after.head, turns[0].parent
        if head is None or head.turn != turns[-1].id:
            return  # a branch: the path is what it was
        owner, dialect, _, _, plan, _, told, *_ = recalled
        key, told_turns = (owner, after.id), plan.told
        before: tuple[Turn, ...] = ()
        if told_turns and told_turns[-1].id == first and not plan.without:
            before = told_turns[told.cut - told_turns[0].depth + 1 :]
        elif first is not None:
            self._recent.drop(key)  # of a transcript's path nothing was read
            return
        else:
            told = Telling(told.form, told.plain, 0, (), (), 0)
        path: tuple[Turn, ...] = (*before, *turns)
        recent = self._recent.get(key)
        if recent and len(recent.path) == len(before) and recent.head == first:
            weight = recent.weight + _weight(turns)
        else:
            weight = _weight(path)
        told = grown(told, dialect, turns)
        self._recent.put(key, made(_Recent, (head.turn, path, told, weight)), weight)

    def _at_hand(
        self, owner: Owner, conversation: Conversation, claimed: Sequence[Message], preset: Mode
    ) -> Stored | None:
        """What the alignment needs of a client that sends its new turn alone, if it is at hand."""
        head, mode = conversation.head, conversation.mode if preset == "auto" else preset
        if claimed or mode in _OWN_HISTORY:
            return None
        path: tuple[Turn, ...] | None = ()
        if head is not None:
            path = self._warm_path(owner, conversation, head, whole=False)
        if path is None:
            return None
        longest = conversation.longest_claim
        return made(Stored, (head, path, None, _NONE, mode, preset != "auto", longest))

    async def _stored(
        self, owner: Owner, conversation: Conversation, said: Keyed, preset: Mode
    ) -> Stored:
        """Read what the alignment needs, and no more: most requests need little."""
        head, name, claimed = conversation.head, conversation.id, said.claimed
        mode = conversation.mode if preset == "auto" else preset
        match: Head | None = None
        path: tuple[Turn, ...] = ()
        firsts: frozenset[bytes] = frozenset()
        if claimed and head and said.chains[-1] == head.chain:
            match = head  # the whole path: nothing more to know
        elif conversation.version:
            if claimed:
                deepest = await self.within(self.store.match(owner, name, said.turn_ends()))
                match = head_of(deepest) if deepest else None
            if head:
                path = await self._path(owner, conversation, head, whole=bool(claimed))
            # Asked only where a first message in common decides.
            if match is None if claimed else mode in _OWN_HISTORY:
                firsts = await self.within(self.store.first_fingerprints(owner, name))
        longest = conversation.longest_claim
        return Stored(head, path, match, firsts, mode, preset != "auto", longest)

    async def _path_to(
        self, owner: Owner, conversation: Conversation, turn: str
    ) -> tuple[Turn, ...]:
        """As much of the path to a turn as may be told, and a turn more.

        Raises:
            NoSuchTurn: it is not there.
        """
        head, recent = conversation.head, self._recent.get((owner, conversation.id))
        most = self._settings.max_history_turns + 1
        path: tuple[Turn, ...] = ()
        if head and head.turn == turn:
            path = await self._path(owner, conversation, head, whole=False)
        elif recent and recent.head == turn and _reaches(recent.path, most):
            path = recent.path[-most:]
        else:  # what is at hand may begin at a cut that is not this path's any more
            path = await self.within(self.store.path(owner, conversation.id, turn, most))
        if not path:
            raise NoSuchTurn
        return path

    async def _path(
        self, owner: Owner, conversation: Conversation, head: Head, *, whole: bool
    ) -> tuple[Turn, ...]:
        """The path to the head: all of it, or as much as may be told and a turn more."""
        path = self._warm_path(owner, conversation, head, whole=whole)
        if path is not None:
            return path
        most = None if whole else self._most(head, conversation)
        return await self.within(self.store.path(owner, conversation.id, head.turn, most))

    def _warm_path(
        self, owner: Owner, conversation: Conversation, head: Head, *, whole: bool
    ) -> tuple[Turn, ...] | None:
        """See ``_path``; ``None``: it is not at hand."""
        recent = self._recent.get((owner, conversation.id))
        if recent is None or recent.head != head.turn:
            return None
        path = recent.path
        if whole:
            return path if path[0].parent is None else None
        most = self._most(head, conversation)
        # No more than would be read: what is found there decides.
        return path[-most:] if _reaches(path, most) else None

    def _most(self, head: Head, conversation: Conversation) -> int:
        """As many turns as may be told, and a turn more."""
        return max(1, min(head.depth - conversation.cut, self._settings.max_history_turns + 1))

    def _grown(
        self, recalled: Recalled, before: Conversation, reply: Reply
    ) -> tuple[Conversation, list[Turn]]:
        """The conversation after this turn, and the turns to add."""
        now = self._clock()
        _, dialect, prompt, seen, plan, new, told, *_ = recalled
        _, told_turns, _, parent, imported, _, moves_head, _, learns = plan
        spoken = dialect.name
        ident, key, version, head, mode, longest_claim, cut, plain, pinned, dialects, *_ = before
        claimed = prompt.claimed
        grower = Grower(parent, key=key, dialect=spoken, now=now)
        if imported:
            grower.adopt(keyed(_last(claimed, len(imported)), key))
        asked = new[:-1] if prompt.prefill else new
        if key != seen.key:  # another has begun it meanwhile
            asked = keyed((*claimed, *prompt.new)[-len(new) :][: len(asked)], key)
        verdict, said, reply_id, _ = reply
        grower.grow(
            asked,
            keyed(said, key),
            turn_id=recalled.turn,
            reply_id=reply_id,
            truncated=verdict is _TRUNCATED,
        )
        if moves_head and head == seen.head:
            depth = parent.depth if parent else 0
            cut = told.cut if told_turns else min(cut, depth)
            if cut >= depth and not told_turns:
                cut = 0
            head, mode = grower.head, learns or mode
            if prompt.pinned:
                pinned = _raw(prompt.pinned)
        after = made(
            Conversation,
            (
                ident,
                key,
                version + 1,
                head,
                mode,
                max(longest_claim, len(claimed)),
                cut,
                plain or told.plain,
                pinned,
                dialects if spoken in dialects else _joined(dialects, spoken),
                version == 0,
                before.created or now,
                now,
            ),
        )
        return after, grower.turns

    async def _counted(
        self, counts: Counts, recalled: Recalled, reply: Reply
    ) -> tuple[Recalled, Reply]:
        """The same with what is stored besides the question counted: the reply, and what is imported."""
        claimed, imported = recalled.prompt.claimed, len(recalled.plan.imported)
        counted = await counts.messages((*_last(claimed, imported), *reply.messages))
        claimed = (*claimed[: len(claimed) - imported], *counted[:imported])
        prompt = recalled.prompt._replace(claimed=claimed)
        reply = reply._replace(messages=counted[imported:])
        return recalled._replace(prompt=prompt), reply

    async def _gone(self, recalled: Recalled, now: Conversation | None) -> str | None:
        """Why the turn has no place any more, if so."""
        seen = recalled.conversation
        if now is None or (seen.version and now.key != seen.key):
            return "erased"  # while the answer was on its way: it stays erased
        parent = recalled.plan.parent
        if parent and not await self.within(self.store.turn(recalled.owner, now.id, parent.turn)):
            return "rolled_back"
        return None


def _late() -> StoreUnavailable:
    return StoreUnavailable("the store did not answer in time")


def _reaches(path: Sequence[Turn], most: int) -> bool:
    """Whether so many turns of a path are there, or all that it has."""
    return len(path) >= most or path[0].parent is None


def _place(
    recalled: Recalled,
) -> tuple[Owner, Conversation, Dialect, Prompt, Plan, Sequence[Message], int]:
    """What ``Memory._told`` wants to know."""
    tokens = recalled.tokens - recalled.told.tokens
    owner, dialect, prompt, conversation, plan, new, *_ = recalled
    return owner, conversation, dialect, prompt, plan, new, tokens


def _receipt(
    conversation: Conversation,
    plan: Plan,
    told: Telling,
    history: Sequence[Message],
    read_as: str,
) -> Receipt:
    _, _, cut, _, pending, tokens, _ = told
    if pending:
        tokens = sum([message.tokens for message in history])
    turns, omitted = (plan.told[-1].depth - cut, cut) if plan.told else (0, 0)
    outcome: Outcome = "hit" if conversation.head else "new"
    return made(Receipt, (outcome, turns, omitted, tokens, conversation.version, read_as, None))


@lru_cache(maxsize=256)
def _joined(dialects: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The same tuple for all conversations in which the same were spoken."""
    return (*dialects, name)


def _weight(turns: Sequence[Turn]) -> int:
    """Bytes that they take, roughly."""
    sizes = [len(message.raw) for turn in turns for message in turn.messages]
    return _TURN_WEIGHT * len(turns) + sum(sizes)


def _tokens(prompt: Prompt) -> int:
    """Estimate of what the client itself sends."""
    said = (*prompt.pinned, *prompt.claimed, *prompt.new)
    return REQUEST_TOKENS + prompt.fixed_tokens + sum([message.tokens for message in said])


def _shortened(turn: Turn, length: int) -> Turn:
    """``turn`` without its last ``length`` messages."""
    messages = turn.messages[:-length]
    asked = messages[: len(turn.asked)]
    return turn._replace(asked=asked, reply=messages[len(asked) :])


def _reading(plan: Plan, preset: Mode) -> str:
    if plan.decision is _NEW and preset != "auto":
        return preset
    return READINGS[plan.decision]


def _raw(messages: Sequence[Message]) -> tuple[bytes, ...]:
    return tuple(message.raw for message in messages)


def _last(messages: Sequence[Message], count: int) -> Sequence[Message]:
    return messages[len(messages) - count :]

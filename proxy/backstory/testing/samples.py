"""Messages, turns and conversations for the tests of stores: true chains, ids never used before."""

import secrets
from collections.abc import Sequence
from typing import Any

from backstory import jsonbody
from backstory.fingerprint import ROOT, chain, estimate_tokens, fingerprints, keyed
from backstory.model import Conversation, Head, Message, Owner, Role, Turn
from backstory.spi import Store

KEY = bytes(range(32))
"""The key of every conversation here that is not given another."""
ADA = Owner("team", "ada")


def message(role: Role, text: str, *, raw: bytes | None = None, **facts: Any) -> Message:
    """A message under ``KEY``; ``raw`` if its spelling matters, ``facts`` as fields of it."""
    raw = jsonbody.dump({"role": role, "content": text}) if raw is None else raw
    plain = Message(role, raw, *fingerprints(role, text), tokens=estimate_tokens(len(raw)))
    return keyed([plain], KEY)[0]._replace(**facts)


def turn(asked: str | Sequence[Message], after: Turn | None = None, **fields: Any) -> Turn:
    """The turn that follows ``after``: a question, or messages, and its reply."""
    if isinstance(asked, str):
        asked = [message("user", asked)]
    reply = fields.pop("reply", (message("assistant", "I see."),))
    messages = (*asked, *reply)
    before = after or Turn("", None, "", (), (), ROOT, 0, 0, 0)
    told = Turn(
        id=secrets.token_hex(8),
        parent=after.id if after else None,
        dialect="openai.chat",
        asked=tuple(asked),
        reply=tuple(reply),
        chain=chain(before.chain, messages, KEY),
        depth=before.depth + 1,
        size=before.size + len(messages),
        tokens=before.tokens + sum(said.tokens for said in messages),
        created=1_750_000_000.25,
    )
    return told._replace(**fields)


def line(length: int, after: Turn | None = None) -> list[Turn]:
    """``length`` turns, each the parent of the next."""
    turns: list[Turn] = []
    for number in range(length):
        turns.append(turn(f"question {number}", turns[-1] if turns else after))
    return turns


def conversation(name: str = "c1", **fields: Any) -> Conversation:
    """A conversation of which nothing is stored yet."""
    return Conversation(id=name, key=KEY, created=1_750_000_000.5, **fields)


def grown(before: Conversation, turns: Sequence[Turn], **fields: Any) -> Conversation:
    """``before`` one version later, its head at the last of ``turns``."""
    last = turns[-1]
    head = Head(last.id, last.chain, last.depth, last.size, last.tokens)
    return before._replace(version=before.version + 1, head=head, **fields)


async def remember(
    store: Store,
    turns: Sequence[Turn],
    *,
    owner: Owner = ADA,
    to: Conversation | None = None,
    **fields: Any,
) -> Conversation:
    """Commit ``turns`` at once, to a new conversation if none is given; returns it as stored."""
    after = grown(to or conversation(), turns, **fields)
    await store.commit(owner, after, turns)
    return after

"""Messages with the count of a tokenizer in place of the dialect's estimate (``docs/tokens.md``).

Texts come from strangers, and tokenizers are native code that was written for friends: it never gets
more than a slice at once, nothing long while the event loop waits, and if it fails, with whatever it
fails, the estimate stands.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from backstory.fingerprint import estimate_tokens
from backstory.model import Message, Owner, Prompt
from backstory.spi import Tokenizer
from backstory.texts import texts_of
from backstory.warm import Warm

log = logging.getLogger(__name__)

INLINE_BYTES = 2048
"""Counted where it stands: a thread's hop costs as much, and the worst text of this size 0.3 ms."""
SLICE_CHARS = 32768
"""At once. A run of a million blanks is more than a regular expression of tiktoken's can take."""
MOST_CHARS = 1048576
"""Of all texts that are counted for one request or reply; what is beyond keeps its estimate."""
MESSAGE_TOKENS = 4
"""What a message costs beside its texts: its role, its beginning and its end."""
CALL_TOKENS = 9
"""What a tool call costs beside that, its name and its arguments, in OpenAI's harmony format (o200k).

A result costs 6 there, and is counted like a call.
"""
_PINNED = 1024
"""System messages whose count is at hand: every request of a client brings the same one."""


class Counts:
    """Counts messages with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """``tokenizer``: may block, raise and panic."""
        self._tokenizer = tokenizer
        self._pinned: Warm[tuple[Owner, bytes], int] = Warm(_PINNED)
        self._has_failed = False

    async def prompt(self, owner: Owner, prompt: Prompt, *, with_claimed: bool) -> Prompt:
        """``prompt`` with what is new in it counted, and what is pinned.

        ``with_claimed``: what it claims is new as well. Else a claim is counted only if it comes to
        be stored: most are stored already.
        """
        claimed = prompt.claimed if with_claimed else ()
        parts = (claimed, prompt.new, self._unknown(owner, prompt.pinned))
        counted = await self.messages([message for part in parts for message in part])
        for message in counted[len(claimed) + len(prompt.new) :]:
            self._pinned.put((owner, message.fingerprint), message.tokens, 1)
        new_at = len(claimed)
        return prompt._replace(
            pinned=tuple([self._known(owner, message) for message in prompt.pinned]),
            claimed=counted[:new_at] or prompt.claimed,
            new=counted[new_at : new_at + len(prompt.new)],
        )

    async def messages(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """``messages``, each counted; as they are where that fails. None must be counted already."""
        if sum([len(message.raw) for message in messages]) <= INLINE_BYTES:
            return self._counted(messages)
        return await asyncio.to_thread(self._counted, messages)

    def close(self) -> None:
        """Forget what is at hand."""
        self._pinned.clear()

    def _unknown(self, owner: Owner, pinned: Sequence[Message]) -> list[Message]:
        return [m for m in pinned if self._pinned.get((owner, m.fingerprint)) is None]

    def _known(self, owner: Owner, message: Message) -> Message:
        tokens = self._pinned.get((owner, message.fingerprint))
        return message if tokens is None else message._replace(tokens=tokens)

    def _counted(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        counting = _Counting(self._tokenizer, MOST_CHARS)
        return tuple([self._with_count(message, counting) for message in messages])

    def _with_count(self, message: Message, counting: "_Counting") -> Message:
        try:
            return message._replace(tokens=counting.tokens_of(message))
        except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            raise
        except BaseException as exc:  # noqa: BLE001 - a panic of Rust's is no Exception
            if not self._has_failed:
                self._has_failed = True
                failure = type(exc).__name__  # what it says may hold the text
                log.warning("tokens cannot be counted (%s); estimates stand", failure)
            return message


@dataclass(slots=True)
class _Counting:
    """One go, in one thread."""

    tokenizer: Tokenizer
    left: int
    """Characters that may still be counted."""

    def tokens_of(self, message: Message) -> int:
        """Tokens of ``message``: its texts are counted, what is no text costs what it did.

        The dialect knows what media are worth, and has estimated the rest by its bytes: so media
        are worth what its estimate has over that of the bytes without them.
        """
        with_media = message.tokens != estimate_tokens(len(message.raw))
        said, unsaid = texts_of(message, with_media=with_media)
        chars = sum([len(text) for text in said])
        if chars > self.left:
            return message.tokens
        self.left -= chars
        rest = max(0, message.tokens - estimate_tokens(max(0, len(message.raw) - unsaid)))
        calls = len(message.calls) + len(message.answers)
        counted = sum([self._count(text) for text in said])
        return rest + counted + MESSAGE_TOKENS + CALL_TOKENS * calls

    def _count(self, text: str) -> int:
        count = self.tokenizer.count
        if len(text) <= SLICE_CHARS:
            return count(text)
        starts = range(0, len(text), SLICE_CHARS)
        return sum([count(text[at : at + SLICE_CHARS]) for at in starts])

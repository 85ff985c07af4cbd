"""A tokenizer's counts take the place of estimates, whatever strangers send and however it fails."""

import asyncio
import base64
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.proxy.chats import ADA, CHAT, spelled

from backstory import counts as module
from backstory.counts import (
    CALL_TOKENS,
    INLINE_BYTES,
    MESSAGE_TOKENS,
    MOST_CHARS,
    SLICE_CHARS,
    Counts,
)
from backstory.fingerprint import estimate_tokens
from backstory.model import Message, Owner, Prompt
from backstory.registry import load_tokenizer
from backstory_plugins.dialects import _blocks, _chat, _gemini

IMAGE = base64.b64encode(random.Random(4).randbytes(60_000)).decode()


class Words:
    """A tokenizer for which a word is a token."""

    name = "words"

    def __init__(self, fails: Callable[[str], BaseException | None] = lambda _: None) -> None:
        self.seen: list[str] = []
        self.threads: list[int] = []
        self._fails = fails

    def count(self, text: str) -> int:
        self.seen.append(text)
        self.threads.append(threading.get_ident())
        if failure := self._fails(text):
            raise failure
        return len(text.split())

    def is_of(self, model: str) -> bool:
        return model == "words"


def message(content: object, role: str = "user", **more: Any) -> Message:
    value = {"role": role, "content": content, **more}
    read = _chat.read_message(value, json.dumps(value, ensure_ascii=False).encode())
    assert read is not None
    return read


async def counted(tokenizer: Words, *messages: Message) -> list[int]:
    found = await Counts(tokenizer).messages(messages)
    assert [m._replace(tokens=0) for m in found] == [m._replace(tokens=0) for m in messages]
    return [m.tokens for m in found]


async def test_a_text_is_counted_and_its_json_is_not() -> None:
    short, long = message("a b c"), message("word " * 1000)
    assert await counted(Words(), short, long) == [3 + MESSAGE_TOKENS, 1000 + MESSAGE_TOKENS]


async def test_a_call_and_its_result_cost_more_than_their_texts() -> None:
    call = message(None, "assistant", tool_calls=spelled("c12")["tool_calls"])
    result = message("it rains", "tool", tool_call_id="1")
    two_calls = 2 * (CALL_TOKENS + len(["look", "{}"])) + MESSAGE_TOKENS
    assert await counted(Words(), call, result) == [two_calls, 2 + CALL_TOKENS + MESSAGE_TOKENS]


def picture(data: str) -> list[object]:
    return [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]


async def test_media_cost_what_they_did() -> None:
    expected = 1500 + 3 + MESSAGE_TOKENS
    assert await counted(Words(), message(picture(IMAGE))) == [expected]
    audio = {"type": "input_audio", "input_audio": {"data": IMAGE, "format": "wav"}}
    (tokens,) = await counted(Words(), message([audio]))
    assert tokens == len(IMAGE) // 20 + 1 + MESSAGE_TOKENS  # "wav"
    block = {"type": "image", "source": {"type": "base64", "media_type": "i", "data": IMAGE}}
    value = {"role": "user", "content": [block]}
    read = _blocks.read_message(value, json.dumps(value).encode())
    assert read is not None
    assert await counted(Words(), read) == [1500 + 1 + MESSAGE_TOKENS]
    value = {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": IMAGE}}]}
    read = _gemini.read_message(value, json.dumps(value).encode())
    assert read is not None
    (tokens,) = await counted(Words(), read)
    worth = read.tokens - estimate_tokens(len(read.raw) - len(IMAGE))
    assert worth > 1000
    assert tokens == worth + 1 + MESSAGE_TOKENS


async def test_a_signature_costs_what_it_did() -> None:
    value = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "a b", "signature": IMAGE}],
    }
    read = _blocks.read_message(value, json.dumps(value).encode())
    assert read is not None
    (tokens,) = await counted(Words(), read)
    assert abs(tokens - len(IMAGE) / 3 - 2 - MESSAGE_TOKENS) <= 1


async def test_what_is_short_is_counted_at_once_and_what_is_long_in_a_thread_by_slices() -> None:
    here = threading.get_ident()
    words = Words()
    await counted(words, message("a" * 100))
    assert set(words.threads) == {here}
    words = Words()
    await counted(words, *[message("a" * 100)] * (INLINE_BYTES // 100))
    assert here not in words.threads
    words = Words()
    text = "ab " * SLICE_CHARS
    await counted(words, message(text))
    assert here not in words.threads
    assert "".join(words.seen) == text
    assert max(map(len, words.seen)) == SLICE_CHARS


async def test_more_than_anybody_can_be_told_keeps_its_estimate() -> None:
    half, small = message("a" * (MOST_CHARS // 2 + 1)), message("a b")
    first, second, third = await counted(Words(), half, half, small)
    slices = -(-MOST_CHARS // 2 // SLICE_CHARS) + 1
    assert (first, second, third) == (slices + MESSAGE_TOKENS, half.tokens, 2 + MESSAGE_TOKENS)


class Panic(BaseException):
    """As native code panics."""


@pytest.mark.parametrize("failure", [Panic("SECRET"), ValueError("SECRET"), MemoryError("SECRET")])
async def test_where_it_fails_the_estimate_stands_and_the_rest_is_counted(
    failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    words = Words(lambda text: failure if "bad" in text else None)
    said = Counts(words)
    good, bad, long = message("a b"), message("bad"), message("bad " * 1000)
    for messages in ((good, bad), (bad, long, good)):
        found = await said.messages(messages)
        expected = [2 + MESSAGE_TOKENS if m is good else m.tokens for m in messages]
        assert [m.tokens for m in found] == expected
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "backstory.counts")
    kind = type(failure).__name__
    assert record.getMessage() == f"tokens cannot be counted ({kind}); estimates stand"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
async def test_who_wants_to_end_may(failure: type[BaseException]) -> None:
    with pytest.raises(failure):
        await counted(Words(lambda _: failure()), message("a"))


async def test_a_message_that_is_no_json_keeps_its_estimate() -> None:
    for raw in (b"{", b"[" * 9000 + b"]" * 9000):
        assert await counted(Words(), Message("user", raw, b"", b"", tokens=77)) == [77]


def prompt(pinned: Sequence[Message], claimed: Sequence[Message], new: Sequence[Message]) -> Prompt:
    return Prompt(b"{}", tuple(pinned), tuple(claimed), tuple(new))


async def test_of_a_prompt_what_is_new_and_what_is_pinned_is_counted() -> None:
    words = Words()
    said = Counts(words)
    system, claim, new = message("be kind", "system"), message("x", "assistant"), message("a b c")
    read = await said.prompt(ADA, prompt([system], [claim], [new]), with_claimed=False)
    assert [m.tokens for m in (*read.pinned, *read.claimed, *read.new)] == [
        2 + MESSAGE_TOKENS,
        claim.tokens,
        3 + MESSAGE_TOKENS,
    ]
    read = await said.prompt(ADA, prompt([system], [claim], [new]), with_claimed=True)
    assert [m.tokens for m in read.claimed] == [1 + MESSAGE_TOKENS]
    assert read.pinned[0].tokens == 2 + MESSAGE_TOKENS
    assert words.seen.count("be kind") == 1, "it is at hand"
    await said.prompt(Owner("acme", "bob"), prompt([system], [], [new]), with_claimed=False)
    assert words.seen.count("be kind") == 2, "for its owner only"
    said.close()
    await said.prompt(ADA, prompt([system], [], [new]), with_claimed=False)
    assert words.seen.count("be kind") == 3
    said.close()


HOSTILE = {
    "blanks": " " * 10**6,
    "one letter": "a" * 10**6,
    "line ends": "\n" * 10**6,
    "capitals": "É" * 10**6,
    "marks": "a" + "\u0301" * (10**6 - 1),
    "emoji": "😀" * 10**6,
    "apostrophes": "A'" * 500_000,
    "base64": base64.b64encode(random.Random(1).randbytes(750_000)).decode(),
    "surrogates": "\ud800" * 100_000,
    "special": "<|endoftext|>" * 70_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
async def test_openais_tokenizer_counts_anything_while_the_event_loop_goes_on(
    name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = load_tokenizer(name)
    assert tokenizer is not None
    plain = message("x")
    raw = json.dumps({"role": "user", "content": text}).encode()
    sent = plain._replace(raw=raw, tokens=estimate_tokens(len(raw)))
    began, turns = time.monotonic(), 0
    counting = asyncio.ensure_future(Counts(tokenizer).messages([sent]))  # noqa: TID251
    while not counting.done():
        turns += 1
        await asyncio.sleep(0)
    ((found,), seconds) = (counting.result(), time.monotonic() - began)
    assert not caplog.records, "nothing failed"
    assert found.tokens != sent.tokens
    assert len(text) / 130 < found.tokens < 4 * len(text)
    assert turns > 10, "others had their turns"
    assert seconds < 20


async def test_what_panics_without_slices_keeps_its_estimate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SLICE_CHARS", 10**7)
    tokenizer = load_tokenizer("o200k_base")
    assert tokenizer is not None
    with pytest.raises(BaseException, match="StackOverflow") as caught:
        tokenizer.count(HOSTILE["blanks"])
    assert not isinstance(caught.value, Exception)
    sent = message(HOSTILE["blanks"])
    (found,) = await Counts(tokenizer).messages([sent])
    assert found == sent
    assert "PanicException" in caplog.text


async def test_a_conversation_is_counted_as_openai_bills_it() -> None:
    """The cookbook's rule: 3 a message and 1 for its role; the request's 3 are ``REQUEST_TOKENS``."""
    tokenizer = load_tokenizer("o200k_base")
    assert tokenizer is not None
    read = CHAT.read_prompt(
        json.dumps(
            {"messages": [spelled("s1"), {"role": "user", "content": "Grüß Gott!\n\n— 你好"}]}
        ).encode()
    )
    assert read is not None
    found = await Counts(tokenizer).prompt(ADA, read, with_claimed=False)
    assert found.pinned[0].tokens == 3 + 1 + tokenizer.count("s1")
    assert found.new[0].tokens == 3 + 1 + tokenizer.count("Grüß Gott!\n\n— 你好")

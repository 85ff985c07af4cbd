"""What is said of a request's beginning is what one sees by comparing it with the one before."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.proxy.chats import ADA, chat_in, prompt_of, reply_of

from backstory.model import Remedy
from backstory.recall import Recalled
from backstory.reuse import Reuse, reuse
from backstory_plugins.dialects.anthropic import Anthropic


def raws(recalled: Recalled) -> list[bytes]:
    return [message.raw for message in recalled.history]


def compared(before: list[bytes], now: list[bytes]) -> tuple[int, int]:
    """Bytes that were told before, and those of them with which this one begins."""
    told = sum(map(len, before))
    return told, told if now[: len(before)] == before else 0


async def test_a_history_that_grows_is_reused_whole() -> None:
    chat = await chat_in()
    assert reuse(await chat.say("u1", "a1")) is None
    second = await chat.say("u2", "a2")
    assert reuse(second) == Reuse(0, 0, epoch=False)
    third = await chat.ask("u3")
    told = sum(map(len, raws(second)))
    assert reuse(third) == Reuse(told, told, epoch=False)


@given(st.integers(0, 2**32), st.integers(2, 30), st.booleans(), st.integers(20, 200))
def test_it_is_what_comparing_the_bytes_says(
    seed: int, turns: int, cold: bool, most_tokens: int
) -> None:
    drawn = random.Random(seed)

    async def talk() -> None:
        chat = await chat_in(max_history_tokens=most_tokens)
        before: list[bytes] | None = None
        cut = calls = 0
        for number in range(turns):
            asked = f"u{'x' * drawn.randrange(40)}{number}"
            if calls:
                asked, calls = f"t{calls}", 0
            reply = f"a{'y' * drawn.randrange(40)}"
            if drawn.random() < 0.2:
                calls = number + 1
                reply = f"c{'z' if calls > 9 else calls}"
                calls = 0 if calls > 9 else calls
            if cold:
                chat.memory.close()
            recalled = await chat.ask(asked)
            found = reuse(recalled)
            if recalled.history:
                assert found is not None
                assert before is not None
                assert (found.before, found.same) == compared(before, raws(recalled))
                assert found.epoch == (recalled.told.cut > cut)
            cut = recalled.told.cut
            before = raws(recalled)
            await chat.commit(recalled, reply)

    asyncio.run(talk())


@pytest.mark.parametrize(
    "asked",
    ["u1 a1 u2 a2 u3", "u2 a2 u3", "u9 a9 u3", "u1 a1 u7"],
    ids=["transcript", "window", "another", "fork"],
)
async def test_what_the_client_tells_is_not_counted(asked: str) -> None:
    chat = await chat_in()
    await chat.say("u1", "a1")
    await chat.say("u2", "a2")
    assert reuse(await chat.ask(asked)) is None


async def test_after_the_client_told_it_itself_nothing_is_counted() -> None:
    chat = await chat_in()
    await chat.say("u1", "a1")
    await chat.say("u1 a1 u2", "a2")
    recalled = await chat.ask("u3", preset="delta")
    assert recalled.history
    assert reuse(recalled) is None


async def test_told_in_another_form_it_begins_differently() -> None:
    chat = await chat_in()
    for number in range(3):
        await chat.say(f"u{number}", f"a{number}")
    claude = Anthropic()
    body = b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "u"}]}'
    prompt = claude.read_prompt(body)
    assert prompt is not None
    other = await chat.memory.recall(ADA, "c", claude, prompt)
    assert other.history
    found = reuse(other)
    assert found is not None
    assert found.before > found.same == 0
    assert not found.epoch


async def test_half_of_it_told_after_a_refusal_is_an_epoch() -> None:
    chat = await chat_in()
    for number in range(3):
        await chat.say(f"u{number}", f"a{number}")
    last = await chat.say("u3", "a3")
    refused = await chat.ask("u4")
    again = chat.memory.remedied(refused, Remedy.LESS_HISTORY)
    assert again is not None
    assert reuse(again) == Reuse(sum(map(len, raws(last))), 0, epoch=True)
    await chat.memory.commit(again, reply_of(prompt_of("u4"), "a4"))
    following = await chat.ask("u5")
    told = sum(map(len, raws(again)))
    assert reuse(following) == Reuse(told, told, epoch=False)

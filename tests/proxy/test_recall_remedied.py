"""What is told after an upstream has refused: half of the history, or no reasoning; and it stands."""

import json

import pytest
from tests.proxy.chats import CHAT, Chat, chat_in, forwarded

from backstory.model import Answer, Remedy
from backstory.recall import Memory, Recalled
from backstory.settings import MemorySettings
from backstory_plugins.policies.tokens import Tokens


@pytest.fixture
async def chat() -> Chat:
    return await chat_in()


def cold(chat: Chat) -> Chat:
    """The same conversation with nothing at hand."""
    return Chat(Memory(chat.memory.store, MemorySettings(), Tokens()))


async def four_turns(chat: Chat) -> None:
    for number in range(1, 5):
        await chat.say(f"u{number}", f"a{number}")


def remedied(chat: Chat, recalled: Recalled, remedy: Remedy = Remedy.LESS_HISTORY) -> Recalled:
    again = chat.memory.remedied(recalled, remedy)
    assert again is not None
    return again


async def test_the_older_half_is_left_out(chat: Chat) -> None:
    await four_turns(chat)
    recalled = await chat.ask("u5")
    again = remedied(chat, recalled)
    assert forwarded(again) == "u3 a3 u4 a4 u5"
    assert str(again.receipt).startswith("hit;turns=2;omitted=2;")
    assert again.receipt.tokens == sum(message.tokens for message in again.history)
    less = sum(message.tokens for message in recalled.history) - again.receipt.tokens
    assert again.tokens == recalled.tokens - less < recalled.tokens
    assert again.turn == recalled.turn


async def test_the_cut_stands_once_its_turn_is_stored(chat: Chat) -> None:
    await four_turns(chat)
    again = remedied(chat, await chat.ask("u5"))
    assert (await chat.stored()).cut == 0, "nothing is stored of what is only asked"
    assert forwarded(await chat.ask("u5")) == "u1 a1 u2 a2 u3 a3 u4 a4 u5"
    assert await chat.commit(again, "a5") is None
    assert (await chat.stored()).cut == 2
    assert await chat.path() == "u1 a1 u2 a2 u3 a3 u4 a4 u5 a5"
    for each in (chat, cold(chat)):
        assert forwarded(await each.ask("u6")) == "u3 a3 u4 a4 u5 a5 u6"


async def test_it_goes_on_from_where_the_cut_is(chat: Chat) -> None:
    await four_turns(chat)
    told = []
    again = await chat.ask("u5")
    for _ in range(3):
        again = remedied(chat, again)
        told.append(forwarded(again))
    assert told == ["u3 a3 u4 a4 u5", "u4 a4 u5", "u5"]
    assert chat.memory.remedied(again, Remedy.LESS_HISTORY) is None, "there is nothing left"


@pytest.mark.parametrize("remedy", Remedy)
async def test_where_nothing_is_told_nothing_helps(chat: Chat, remedy: Remedy) -> None:
    assert chat.memory.remedied(await chat.ask("u1"), remedy) is None
    await chat.say("u1", "a1")
    assert chat.memory.remedied(await chat.ask("u1 a1 u2"), remedy) is None


async def test_less_history_may_be_forbidden() -> None:
    chat = await chat_in(retry_on_overflow=False)
    await four_turns(chat)
    recalled = await chat.ask("u5")
    assert chat.memory.remedied(recalled, Remedy.LESS_HISTORY) is None
    assert chat.memory.remedied(recalled, Remedy.NO_REASONING) is not None


async def think(chat: Chat, asked: str, reply: str) -> None:
    """A turn whose reply has reasoning."""
    recalled = await chat.ask(asked)
    message = {"role": "assistant", "content": reply, "reasoning_content": "hm"}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    answer = Answer(200, "application/json", body, proved=True)
    assert await chat.memory.commit(recalled, CHAT.read_reply(recalled.prompt, answer)) is None


async def test_reasoning_is_left_out_and_stays_out(chat: Chat) -> None:
    await think(chat, "u1", "a1")
    recalled = await chat.ask("u2")
    assert b"reasoning_content" in recalled.body()
    again = remedied(chat, recalled, Remedy.NO_REASONING)
    assert b"reasoning_content" not in again.body()
    assert forwarded(again) == forwarded(recalled) == "u1 a1 u2"
    assert chat.memory.remedied(again, Remedy.NO_REASONING) is None, "not twice"
    assert not (await chat.stored()).plain
    assert b"reasoning_content" in (await chat.ask("u2")).body()
    assert await chat.commit(again, "a2") is None
    assert (await chat.stored()).plain
    await think(chat, "u3", "a3")
    for each in (chat, cold(chat)):
        later = await each.ask("u4")
        assert forwarded(later) == "u1 a1 u2 a2 u3 a3 u4"
        assert b"reasoning_content" not in later.body()


@pytest.mark.parametrize("remedies", [tuple(Remedy), tuple(Remedy)[::-1]])
async def test_one_remedy_does_not_undo_the_other(
    chat: Chat, remedies: tuple[Remedy, Remedy]
) -> None:
    for number in range(1, 5):
        await think(chat, f"u{number}", f"a{number}")
    again = await chat.ask("u5")
    for remedy in remedies:
        again = remedied(chat, again, remedy)
    assert b"reasoning_content" not in again.body()
    assert forwarded(again) == "u3 a3 u4 a4 u5"
    await chat.commit(again, "a5")
    stored = await chat.stored()
    assert (stored.plain, stored.cut) == (True, 2)

"""Recall and commit: what is told, what the receipt says of it, what is stored and how.

Two at once: ``test_recall_races.py``.
"""

import itertools
import json

import pytest
from tests.proxy.chats import ADA, Chat, chat_in, forwarded, letters_of, reply_of

from backstory.align import Decision
from backstory.model import Mode, Owner, Verdict
from backstory.recall import Memory
from backstory.settings import MemorySettings
from backstory_plugins.policies.tokens import Tokens


@pytest.fixture
async def chat() -> Chat:
    return await chat_in()


async def test_a_first_turn_makes_the_conversation(chat: Chat) -> None:
    recalled = await chat.ask("s1 u1")
    assert str(recalled.receipt) == "new;turns=0;omitted=0;tokens=0;version=0;as=delta"
    assert recalled.body() is recalled.prompt.body
    assert await chat.memory.store.load(ADA, "c") is None, "recalling stores nothing"
    assert await chat.commit(recalled, "a1") is None
    stored = await chat.stored()
    assert (stored.version, stored.single_use, stored.dialects) == (1, True, ("openai.chat",))
    assert (stored.created, stored.updated, len(stored.key)) == (1234.5, 1234.5, 32)
    assert [json.loads(raw)["content"] for raw in stored.pinned] == ["s1"]
    (turn,) = await chat.turns(recalled.turn)
    assert (await chat.path(), turn.id, turn.imported, turn.truncated) == (
        "u1 a1",
        recalled.turn,
        False,
        False,
    )


async def test_no_key_is_like_another() -> None:
    keys = set()
    for _ in range(3):
        chat = await chat_in()
        await chat.say("u1", "a1")
        keys.add((await chat.stored()).key)
    assert len(keys) == 3


async def test_another_owner_has_another_memory(chat: Chat) -> None:
    await chat.say("u1", "a1")
    other = Chat(chat.memory, Owner("acme", "bob"))
    assert forwarded(await other.say("u2", "a2")) == "u2"
    assert (await chat.path(), await other.path()) == ("u1 a1", "u2 a2")


async def test_naming_it_again_makes_it_last(chat: Chat) -> None:
    await chat.say("u1", "a1")
    await chat.say("u2", "a2")
    assert not (await chat.stored()).single_use


@pytest.mark.parametrize(
    ("asked", "preset", "receipt"),
    [
        ("u3", "auto", "hit;turns=2;omitted=0;tokens={};version=2;as=delta"),
        ("u3", "delta", "hit;turns=2;omitted=0;tokens={};version=2;as=delta"),
        ("u3", "transcript", "hit;turns=0;omitted=0;tokens={};version=2;as=detached"),
        ("u1", "transcript", "hit;turns=0;omitted=0;tokens={};version=2;as=fork"),
        ("u1", "window", "hit;turns=0;omitted=0;tokens={};version=2;as=fork"),
        ("u1 a1 u2 a2 u3", "auto", "hit;turns=0;omitted=0;tokens={};version=2;as=transcript"),
        ("u1 a1 u9", "auto", "hit;turns=0;omitted=0;tokens={};version=2;as=fork"),
        ("u1 a9 u9", "auto", "hit;turns=0;omitted=0;tokens={};version=2;as=fork"),
        ("u2 a2 u3", "auto", "hit;turns=1;omitted=0;tokens={};version=2;as=window"),
        ("a2 u3", "auto", "hit;turns=2;omitted=0;tokens={};version=2;as=window"),
        ("u2 a2 u3 a3 u4", "auto", "hit;turns=1;omitted=0;tokens={};version=2;as=window"),
        ("u7 a7 u8", "auto", "hit;turns=0;omitted=0;tokens={};version=2;as=detached"),
    ],
)
async def test_the_receipt_says_how_a_request_was_read(
    chat: Chat, asked: str, preset: Mode, receipt: str
) -> None:
    await chat.say("u1", "a1")
    await chat.say("u2", "a2")
    recalled = await chat.ask(asked, preset)
    tokens = sum(message.tokens for message in recalled.history)
    assert str(recalled.receipt) == receipt.format(tokens)
    assert (tokens > 0) == bool(recalled.receipt.turns)
    told = letters_of([message.raw for message in recalled.history])
    assert forwarded(recalled) == f"{told} {asked}".strip()


@pytest.mark.parametrize("preset", ["delta", "transcript", "window"])
async def test_a_new_conversation_is_read_as_it_was_said_to_be(chat: Chat, preset: Mode) -> None:
    assert (await chat.ask("u1", preset)).receipt.read_as == preset


async def test_a_failed_turn_leaves_no_trace(chat: Chat) -> None:
    await chat.say("u1", "a1")
    before = await chat.stored()
    await chat.ask("u2")
    assert await chat.stored() == before
    assert forwarded(await chat.ask("u2")) == "u1 a1 u2"


async def test_a_length_limit_is_noted(chat: Chat) -> None:
    recalled = await chat.ask("u1")
    reply = reply_of(recalled.prompt, "a1", finish="length")
    assert reply.verdict is Verdict.TRUNCATED
    await chat.memory.commit(recalled, reply)
    assert [turn.truncated for turn in await chat.turns(recalled.turn)] == [True]


async def test_only_so_many_turns_are_told(chat: Chat) -> None:
    chat = await chat_in(max_history_turns=2)
    for number in range(1, 5):
        await chat.say(f"u{number}", f"a{number}")
    recalled = await chat.say("u5", "a5")
    assert forwarded(recalled) == "u3 a3 u4 a4 u5"
    assert (recalled.receipt.turns, recalled.receipt.omitted) == (2, 2)
    assert recalled.receipt.tokens == sum(message.tokens for message in recalled.history)
    assert await chat.path() == "u1 a1 u2 a2 u3 a3 u4 a4 u5 a5"
    window = await chat.ask("u5 a5 u6")
    assert forwarded(window) == "u3 a3 u4 a4 u5 a5 u6"
    assert (window.receipt.turns, window.receipt.omitted) == (2, 2)


async def test_no_turn_at_all_may_be_told() -> None:
    chat = await chat_in(max_history_turns=0)
    await chat.say("u1", "a1")
    recalled = await chat.say("u2", "a2")
    assert forwarded(recalled) == "u2"
    assert (recalled.receipt.turns, recalled.receipt.omitted, recalled.receipt.tokens) == (0, 1, 0)
    assert await chat.path() == "u1 a1 u2 a2"


async def test_a_cut_never_parts_a_call_from_its_result() -> None:
    chat = await chat_in(max_history_turns=2)
    await chat.say("u1", "c12")
    await chat.say("t1 t2", "a1")
    await chat.say("u2", "a2")
    recalled = await chat.say("u3", "c3")
    assert forwarded(recalled) == "u2 a2 u3"
    assert (recalled.receipt.turns, recalled.receipt.omitted) == (1, 2)


async def test_a_chain_of_calls_longer_than_the_bound_goes_on() -> None:
    chat = await chat_in(max_history_turns=2)
    await chat.say("u1", "c1")
    for number in range(1, 5):
        await chat.say(f"t{number}", f"c{number + 1}")
    recalled = await chat.say("t5", "c6")
    assert forwarded(recalled) == "c4 t4 c5 t5"
    assert (recalled.receipt.turns, recalled.receipt.omitted) == (2, 3)


async def test_calls_that_nobody_answered_are_stored_and_not_told(chat: Chat) -> None:
    await chat.say("u1", "c1")
    assert forwarded(await chat.say("u2", "a2")) == "u1 u2"
    assert await chat.path() == "u1 c1 u2 a2"


async def test_a_result_without_its_call_is_passed_on_and_not_stored(chat: Chat) -> None:
    await chat.say("u1", "a1")
    recalled = await chat.ask("t9")
    assert (forwarded(recalled), recalled.plan.stores) == ("t9", False)
    assert recalled.plan.decision is Decision.ORPHAN_TOOL_RESULT


@pytest.mark.parametrize(
    ("sticky", "asked", "told"),
    [
        (True, "u2", "s1 u1 a1 u2"),
        (True, "s2 u2", "s2 u1 a1 u2"),
        (True, "a1 u2", "s1 u1 a1 u2"),
        (True, "u1 a1 u2", "u1 a1 u2"),
        (False, "u2", "u1 a1 u2"),
        (False, "s2 u2", "s2 u1 a1 u2"),
    ],
)
async def test_system_messages_stand_in_where_the_client_sends_none(
    sticky: bool, asked: str, told: str
) -> None:
    chat = await chat_in(sticky_system=sticky)
    await chat.say("s1 u1", "a1")
    assert forwarded(await chat.ask(asked)) == told


async def test_the_last_system_messages_are_the_ones_that_stay(chat: Chat) -> None:
    await chat.say("s1 s2 u1", "a1")
    assert forwarded(await chat.say("s3 u2", "a2")) == "s3 u1 a1 u2"
    assert forwarded(await chat.say("u3", "a3")) == "s3 u1 a1 u2 a2 u3"
    assert letters_of((await chat.stored()).pinned) == "s3"


async def test_a_question_beside_the_conversation_changes_no_more_than_the_version(
    chat: Chat,
) -> None:
    await chat.say("s1 u1", "a1", "transcript")
    await chat.say("s1 u1 a1 u2", "a2", "transcript")
    before = await chat.stored()
    beside = await chat.say("s9 u9", "a9", "transcript")
    after = await chat.stored()
    assert after == before._replace(version=before.version + 1, updated=after.updated)
    assert await chat.path(beside.turn) == "u9 a9"


async def test_what_the_client_says_has_happened_is_marked_as_imported(chat: Chat) -> None:
    recalled = await chat.say("u1 a1 u2 a2 u3", "a3")
    turns = await chat.turns(recalled.turn)
    assert [turn.imported for turn in turns] == [True, True, False]
    assert [turn.depth for turn in turns] == [1, 2, 3]
    assert await chat.path() == "u1 a1 u2 a2 u3 a3"
    assert (await chat.stored()).version == 1
    again = await chat.say("u1 a1 u2 a2 u3 a3 u4", "a4")
    assert again.plan.decision is Decision.EXTEND, "a turn is stored once"
    assert again.plan.imported == ()


@pytest.mark.parametrize("claimed", ["u1 a1 u2 a2 u3 a3", "u1 a1 u8 a8"])
async def test_what_is_stored_is_not_imported_again(chat: Chat, claimed: str) -> None:
    first = await chat.say("u1", "a1")
    await chat.say("u1 a1 u2", "a2")
    recalled = await chat.say(f"{claimed} u9", "a9")
    turns = await chat.turns(recalled.turn)
    assert turns[0].id == first.turn
    assert [turn.imported for turn in turns[-2:]] == [True, False]
    assert await chat.path() == f"{claimed} u9 a9"


async def test_times_are_those_of_the_first_and_the_last_change(chat: Chat) -> None:
    clock = itertools.count(1.0).__next__
    chat = Chat(Memory(chat.memory.store, MemorySettings(), Tokens(), clock=clock))
    await chat.say("u1", "a1")
    turns = await chat.turns((await chat.say("u2", "a2")).turn)
    stored = await chat.stored()
    assert (stored.created, stored.updated) == (1.0, 2.0)
    assert [turn.created for turn in turns] == [1.0, 2.0]


async def test_the_beginning_of_a_reply_is_stored_as_part_of_it(chat: Chat) -> None:
    recalled = await chat.say("u1 a1", "a2")
    assert recalled.prompt.prefill
    assert forwarded(recalled) == "u1 a1"
    assert await chat.path() == "u1 a1a2"


async def test_how_a_client_keeps_history_is_learned(chat: Chat) -> None:
    modes = []
    for asked in ["u1", "u2", "u1 a u2 a u3", "u3 a u4", "u5"]:
        await chat.say(asked, "a")
        stored = await chat.stored()
        modes.append((stored.mode, stored.longest_claim))
    assert modes[:4] == [("auto", 0), ("delta", 0), ("transcript", 4), ("window", 4)]


@pytest.mark.parametrize("asked", ["u1 a1 u2 a2 u4", "u1 a1 u2 a2 u3 a3 u4"])
async def test_every_branch_is_found_again(chat: Chat, asked: str) -> None:
    await chat.say("u1 a1 u2", "a2")
    await chat.say("u1 a1 u2 a2 u3", "a3")
    await chat.say("u1 a1 u8", "a8")
    recalled = await chat.say(asked, "a9")
    assert recalled.plan.decision is Decision.FORK
    assert forwarded(recalled) == asked
    assert await chat.path() == f"{asked} a9"

"""What was read of a transcript: the same as if it were read anew, nobody else's, and not for long."""

import asyncio
import itertools
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.proxy.chats import ADA, CHAT, body_of, prompt_of
from tests.proxy.clock import on_a_clock, ticking

from backstory.fingerprint import keyed
from backstory.model import Beginning, Conversation, Message, Owner, Prompt
from backstory.transcripts import Keyed, Transcripts, in_common
from backstory.turns import chains_after, claim_chains
from backstory_plugins.dialects.openai_chat import OpenAIChat

KEY = b"k" * 32
C = Conversation("c", KEY, version=1)
BOB = Owner("acme", "bob")
AGAIN = body_of("u1 a1 u2 a2 u3")


def begun_in(transcripts: Transcripts, body: bytes = AGAIN, owner: Owner = ADA) -> int:
    """How many messages of ``body`` need not be read."""
    begun = transcripts.beginning(owner, "c", CHAT, body)
    return len(begun.messages) if begun else 0


def anew(conversation: Conversation, prompt: Prompt) -> Keyed:
    claimed = keyed(prompt.claimed, conversation.key)
    chains = chains_after(claimed, conversation.key) if conversation.version else []
    return Keyed(claimed, keyed(prompt.new, conversation.key), tuple(chains))


@pytest.fixture
async def transcripts() -> Transcripts:
    """One was sent: ``u1 a1 u2``."""
    transcripts = Transcripts()
    transcripts.keyed(ADA, C, CHAT, prompt_of("u1 a1 u2"))
    return transcripts


async def test_what_was_sent_is_the_beginning_of_what_is_sent_next(
    transcripts: Transcripts,
) -> None:
    assert begun_in(transcripts) == 3
    assert begun_in(transcripts, body_of("u1 a1 u2")) == 3
    assert begun_in(transcripts, body_of("u1 a1 u3")) == 2
    assert begun_in(transcripts, body_of("u1 a2")) == 1
    assert begun_in(transcripts, body_of("u2 a1 u2 a2 u3")) == 0
    assert begun_in(transcripts, AGAIN.replace(b'"m"', b'"n"')) == 0
    transcripts.clear()


async def test_it_is_nobody_elses(transcripts: Transcripts) -> None:
    assert begun_in(transcripts, owner=BOB) == 0
    assert transcripts.beginning(ADA, "d", CHAT, AGAIN) is None
    assert transcripts.beginning(ADA, "c", OpenAIChat(), AGAIN) is None, "another row's"
    transcripts.clear()


async def test_what_is_forgotten_is_read_anew(transcripts: Transcripts) -> None:
    transcripts.drop(ADA, "c")
    assert begun_in(transcripts) == 0
    transcripts.keyed(ADA, C, CHAT, prompt_of("u1 a1 u2"))
    transcripts.clear()
    assert begun_in(transcripts) == 0


@pytest.mark.parametrize(("letters", "keep"), [("u1 a1 u2", False), ("u1", True), ("s1 u1", True)])
async def test_what_will_not_come_again_is_not_kept(letters: str, keep: bool) -> None:
    transcripts = Transcripts()
    prompt = prompt_of(letters)
    assert transcripts.keyed(ADA, C, CHAT, prompt, keep=keep) == anew(C, prompt)
    assert begun_in(transcripts, body_of(letters)) == 0


async def test_together_they_are_bounded_and_so_is_each() -> None:
    heavy = prompt_of("u1 a1 u2")
    weight = 2 * len(heavy.body) + 3 * 700
    alone, none = Transcripts(4 * weight), Transcripts(4 * weight - 4)
    for transcripts in (alone, none):
        transcripts.keyed(ADA, C, CHAT, heavy)
    assert (begun_in(alone), begun_in(none)) == (3, 0)
    for name in "defg":
        alone.keyed(ADA, C._replace(id=name), CHAT, heavy)
    assert begun_in(alone) == 0
    assert alone.beginning(ADA, "g", CHAT, AGAIN) is not None
    alone.clear()


def test_within_a_minute_of_silence_it_is_gone() -> None:
    async def play() -> None:
        transcripts = Transcripts()
        transcripts.keyed(ADA, C, CHAT, prompt_of("u1 a1 u2"))
        await ticking().pass_by(30)
        assert begun_in(transcripts) == 3
        await ticking().pass_by(30)
        assert begun_in(transcripts) == 0

    on_a_clock(play())


async def test_only_what_is_new_is_keyed(transcripts: Transcripts) -> None:
    prompt = CHAT.read_prompt(AGAIN, transcripts.beginning(ADA, "c", CHAT, AGAIN))
    assert prompt is not None
    first = transcripts.keyed(ADA, C, CHAT, prompt)
    second = transcripts.keyed(ADA, C, CHAT, prompt)
    assert first == second == anew(C, prompt)
    for old, new in zip(first.claimed, second.claimed, strict=True):
        assert old is new
    assert all(old is new for old, new in zip(first.chains, second.chains, strict=True))
    transcripts.clear()


def test_turns_end_behind_replies() -> None:
    said = anew(C, prompt_of("u1 a1 u2 u3 a2 u4"))
    assert said.turn_ends() == [said.chains[1], said.chains[4]]
    assert said.turn_ends() == claim_chains(said.claimed, chains_after(said.claimed, KEY))


LETTERS = st.lists(st.sampled_from(["s1", "u1", "u2", "a1", "a2", "c1", "t1"]), max_size=6)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["more", "more", "more", "other", "cut", "erase", "begin"]),
        LETTERS,
        st.sampled_from([ADA, ADA, BOB]),
        st.sampled_from([CHAT, CHAT, OpenAIChat()]),
    ),
    max_size=10,
)


@given(STEPS)
def test_everything_is_as_if_it_were_read_anew(
    steps: Sequence[tuple[str, list[str], Owner, OpenAIChat]],
) -> None:
    keys = itertools.count(1)

    async def play() -> None:
        transcripts, said, conversation = Transcripts(), list[str](), C
        for what, letters, owner, dialect in steps:
            if what == "erase":
                transcripts.drop(owner, "c")
            elif what == "begin":  # another process has erased it: it begins anew
                conversation = C._replace(key=bytes([next(keys)]) * 32, version=0)
                continue
            said = letters if what == "other" else said[: len(letters)] if what == "cut" else said
            said = [*said, *letters, "u3"]
            body = body_of(" ".join(said))
            prompt = dialect.read_prompt(body, transcripts.beginning(owner, "c", dialect, body))
            assert prompt == dialect.read_prompt(body)
            assert prompt is not None
            now = transcripts.keyed(owner, conversation, dialect, prompt)
            assert now == anew(conversation, prompt)
            conversation = conversation._replace(version=conversation.version + 1)
        transcripts.clear()

    asyncio.run(play())


ENDS = st.lists(st.integers(1, 4), min_size=1, max_size=9).map(
    lambda lengths: list(itertools.accumulate(lengths))
)


@given(ENDS, st.data())
def test_what_is_in_common_ends_where_a_message_ends(ends: list[int], data: st.DataObject) -> None:
    before = data.draw(st.binary(min_size=ends[-1], max_size=ends[-1] + 2))
    same = data.draw(st.integers(0, len(before)))
    body = before[:same] + data.draw(st.binary(max_size=3))
    messages = tuple(Message("user", b"%d" % end, b"", b"") for end in ends)
    begins = Beginning(0, (0, *ends[:-1]), tuple(ends), messages)
    found = in_common(before, begins, body)
    expected = [end for end in ends if body[:end] == before[:end] and len(body) >= end]
    assert (list(found.ends) if found else []) == expected
    if found:
        assert (found.end, found.messages) == (expected[-1], messages[: len(expected)])
        assert found.starts == begins.starts[: len(expected)]


def test_blanks_that_a_client_adds_are_read() -> None:
    messages = json.loads(AGAIN)["messages"]
    spaced = json.dumps({"model": "m", "messages": messages}, indent=1).encode()
    known = CHAT.read_prompt(spaced)
    assert known is not None
    assert known.begins is not None
    assert in_common(spaced, known.begins, AGAIN) is None
    assert in_common(spaced, known.begins, spaced) is known.begins

"""Thousands of random conversations: the upstream is told what the client's user sees, always.

Each client keeps its history in its way, and makes what people make of it: it asks again, edits,
goes back to an older branch, asks elsewhere, trims what it sends back; answers fail. After every
step the forwarded messages and the stored path must be the transcript on the user's screen.

``BACKSTORY_TEST_CONVERSATIONS`` says how many of each kind; a failure names its kind and number.
"""

import itertools
import json
import os
import random
from dataclasses import dataclass, field

import pytest

from backstory.align import Decision
from backstory.fingerprint import canonical_text
from backstory.model import Answer, Mode, Owner
from backstory.recall import Memory, Recalled
from backstory.settings import MemorySettings
from backstory.turns import new_conversation_id
from backstory_plugins.dialects.openai_chat import OpenAIChat
from backstory_plugins.policies.tokens import Tokens
from backstory_plugins.stores.memory import MemoryStore

CONVERSATIONS = int(os.environ.get("BACKSTORY_TEST_CONVERSATIONS", "250"))
STEPS = 9
OWNER = Owner("acme", "ada")
CHAT = OpenAIChat()

ONE, FEW, FIFTY, MANY = 1, 3, 50, 10**9
"""Sizes of vocabularies. With many texts nothing is said twice by chance: where texts repeat, the
middle of a conversation may look like its beginning, and no window can be told apart then."""

Said = tuple[str, str]
"""Role and text."""


@dataclass
class Kind:
    """How a client keeps its history, and what its user does."""

    keeps: Mode
    preset: bool
    words: int
    acts: tuple[str, ...]
    careless: bool = False
    """Sends replies back trimmed and without their reasoning."""


DELTA = ("say",)
TREE = ("say", "say", "say", "again", "edit", "back")
AWAY = (*TREE, "away", "amend")
PATH = ("say", "say", "say", "again", "edit")

KINDS = {
    "delta": Kind("delta", False, FIFTY, DELTA),
    "delta, few words": Kind("delta", True, FEW, DELTA),
    "delta, one word": Kind("delta", False, ONE, DELTA),
    "transcript": Kind("transcript", False, FIFTY, TREE, careless=True),
    "transcript, preset": Kind("transcript", True, FIFTY, AWAY),
    "transcript, few words": Kind("transcript", True, FEW, TREE, careless=True),
    "transcript, one word": Kind("transcript", True, ONE, TREE),
    "window": Kind("window", False, MANY, PATH, careless=True),
    "window, preset": Kind("window", True, MANY, PATH),
}


@dataclass
class Client:
    """A client of a kind, and its user's screen."""

    kind: Kind
    rng: random.Random
    conversation: str = field(default_factory=new_conversation_id)
    screen: list[Said] = field(default_factory=list)
    """The transcript."""
    older: list[list[Said]] = field(default_factory=list)
    """Screens that the user can go back to."""
    pending: list[Said] = field(default_factory=list)
    """Asked and never answered: still on the screen, and sent again with what is asked next."""
    answered: int = 0

    def __post_init__(self) -> None:
        self.window = self.rng.randint(4, 9)

    def word(self) -> str:
        return f"continue {self.rng.randrange(self.kind.words)}"

    def act(self) -> str:
        """Do something that leads to a request; says what."""
        act = self.rng.choice(self.kind.acts)
        learned = self.kind.preset or self.answered > 1
        if act == "back" and self.older:
            self.screen, self.pending = list(self.rng.choice(self.older)), []
        elif act in ("again", "edit") and self.screen and learned:
            asked = self.rng.choice(
                [at for at, said in enumerate(self.screen) if said[0] == "user"]
            )
            if act == "again":
                asked = max(at for at, said in enumerate(self.screen) if said[0] == "user")
            question = self.screen[asked] if act == "again" else ("user", self.word())
            self.screen[asked:], self.pending = [], [question]
            return act
        elif act == "away":
            for _ in range(self.rng.randint(1, 2)):
                self.screen += [*self.pending, ("user", self.word()), ("assistant", self.word())]
                self.pending = []
        elif act == "amend" and self.screen:
            self.screen[-1] = ("assistant", self.word())
        self.pending.append(("user", self.word()))
        return act

    def request(self) -> list[Said]:
        """What is sent: the client's own idea of history, and what is asked."""
        keeps = self.kind.keeps
        if keeps == "delta":
            return self.pending
        claimed = self.screen if keeps == "transcript" else self.screen[-self.window :]
        return [*claimed, *self.pending]

    def failed(self) -> None:
        """No answer came: the user tries something else, or the same beside it."""
        if self.kind.keeps == "delta" or self.rng.random() < 0.5:
            self.pending = []

    def heard(self, reply: str) -> None:
        shown = canonical_text(reply, assistant=True) if self.kind.careless else reply
        self.screen += [*self.pending, ("assistant", shown)]
        self.pending, self.answered = [], self.answered + 1
        self.older.append(list(self.screen))


def body_of(said: list[Said]) -> bytes:
    messages = [{"role": role, "content": text} for role, text in said]
    return json.dumps({"model": "m", "messages": messages}).encode()


def shown(spelled: list[dict[str, str]]) -> list[Said]:
    """Messages as a screen shows them: role and text, less what clients do not send back."""
    return [
        (m["role"], canonical_text(m["content"], assistant=m["role"] == "assistant"))
        for m in spelled
    ]


async def ask(memory: Memory, client: Client) -> Recalled:
    body = body_of(client.request())
    begun = memory.transcripts.beginning(OWNER, client.conversation, CHAT, body)
    prompt = CHAT.read_prompt(body, begun)
    assert prompt is not None
    preset: Mode = client.kind.keeps if client.kind.preset else "auto"
    return await memory.recall(OWNER, client.conversation, CHAT, prompt, preset)


async def answer(memory: Memory, recalled: Recalled, text: str) -> None:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice]}).encode()
    reply = CHAT.read_reply(recalled.prompt, Answer(200, "application/json", body, proved=True))
    assert await memory.commit(recalled, reply) is None


async def stored(memory: Memory, client: Client, turn: str) -> list[Said]:
    path = await memory.store.path(OWNER, client.conversation, turn)
    return shown([json.loads(said.raw) for turn in path for said in turn.messages])


async def converse(memory: Memory, client: Client) -> None:
    for _ in range(STEPS):
        act = client.act()
        truth = [*client.screen, *client.pending]
        recalled = await ask(memory, client)
        decision = recalled.plan.decision
        assert shown(json.loads(recalled.body())["messages"]) == truth, (act, decision)
        if client.rng.random() < 0.15:
            client.failed()
            continue
        word = client.word()
        reply = f"<think>{word}?</think>\n{word}\n" if client.kind.careless else word
        await answer(memory, recalled, reply)
        client.heard(reply)
        assert await stored(memory, client, recalled.turn) == client.screen, (act, decision)
        conversation = await memory.store.load(OWNER, client.conversation)
        assert conversation is not None
        assert conversation.head is not None
        if recalled.plan.moves_head:
            assert conversation.head.turn == recalled.turn
        else:  # a first question that was changed looks like a title generator's
            assert decision in (Decision.DETACHED, Decision.UNRELATED)
            assert truth[0] not in [screen[0] for screen in client.older[:-1]]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_upstream_is_told_what_the_user_sees(kind: str) -> None:
    memory = Memory(MemoryStore(max_conversations=1), MemorySettings(), Tokens())
    await memory.store.open()
    for number in range(CONVERSATIONS):
        rng = random.Random(f"{kind} {number}")
        try:
            await converse(memory, Client(KINDS[kind], rng))
        except AssertionError as error:
            error.add_note(f"conversation {number} of kind {kind!r}")
            raise


async def sizes(memory: Memory, turns: int) -> list[int]:
    """Bytes forwarded for each question of a client that sends nothing but questions."""
    client = Client(Kind("delta", False, FIFTY, DELTA), random.Random(1))
    forwarded = []
    for _ in range(turns):
        client.pending = [("user", "x" * 100)]
        recalled = await ask(memory, client)
        forwarded.append(len(recalled.body()))
        await answer(memory, recalled, "y" * 100)
    return forwarded


async def test_what_is_forwarded_grows_by_one_turn_a_turn_up_to_the_bound() -> None:
    memory = Memory(MemoryStore(), MemorySettings(max_history_turns=20), Tokens())
    await memory.store.open()
    forwarded = await sizes(memory, 40)
    growth = {after - before for before, after in itertools.pairwise(forwarded[:21])}
    assert len(growth) == 1, "each turn is told once"
    assert 200 < growth.pop() < 300
    assert max(forwarded) == forwarded[20], "then two turns go at a time"
    assert min(forwarded[20:]) == forwarded[19 - 1]

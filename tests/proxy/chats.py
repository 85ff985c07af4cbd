"""A conversation in letters, with the memory, a store and a dialect as they are."""

import json
from collections.abc import Sequence
from typing import Any

from backstory.model import Answer, Conversation, Mode, Owner, Prompt, Reply, Turn
from backstory.recall import Memory, Recalled
from backstory.settings import MemorySettings
from backstory.spi import Store
from backstory_plugins.dialects.openai_chat import OpenAIChat
from backstory_plugins.policies.tokens import Tokens
from backstory_plugins.stores.memory import MemoryStore

ADA = Owner("acme", "ada")
CHAT = OpenAIChat()
Spelled = dict[str, Any]


class Chat:
    """The conversation ``c`` of one owner.

    ``u1`` is a question, ``a1`` a reply, ``s1`` a system message, ``c12`` the calls 1 and 2,
    ``t1`` the result of call 1.
    """

    def __init__(self, memory: Memory, owner: Owner = ADA) -> None:
        self.memory = memory
        self.owner = owner

    async def ask(self, letters: str, preset: Mode = "auto") -> Recalled:
        body = body_of(letters)
        begun = self.memory.transcripts.beginning(self.owner, "c", CHAT, body)
        prompt = CHAT.read_prompt(body, begun)
        assert prompt is not None
        return await self.memory.recall(self.owner, "c", CHAT, prompt, preset)

    async def commit(self, recalled: Recalled, reply: str) -> str | None:
        return await self.memory.commit(recalled, reply_of(recalled.prompt, reply))

    async def say(self, letters: str, reply: str, preset: Mode = "auto") -> Recalled:
        recalled = await self.ask(letters, preset)
        assert await self.commit(recalled, reply) is None
        return recalled

    async def stored(self) -> Conversation:
        conversation = await self.memory.store.load(self.owner, "c")
        assert conversation is not None
        return conversation

    async def path(self, turn: str | None = None) -> str:
        """The messages up to a turn, or to the head."""
        if turn is None:
            head = (await self.stored()).head
            assert head is not None
            turn = head.turn
        return letters_of([m.raw for t in await self.turns(turn) for m in t.messages])

    async def turns(self, turn: str) -> tuple[Turn, ...]:
        return await self.memory.store.path(self.owner, "c", turn)


def spelled(letters: str) -> Spelled:
    kind, rest = letters[0], letters[1:]
    if kind == "c":
        function = {"name": "look", "arguments": "{}"}
        calls = [{"id": ident, "type": "function", "function": function} for ident in rest]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    if kind == "t":
        return {"role": "tool", "tool_call_id": rest, "content": letters}
    return {"role": {"s": "system", "u": "user", "a": "assistant"}[kind], "content": letters}


def body_of(letters: str) -> bytes:
    messages = [spelled(each) for each in letters.split()]
    return json.dumps({"model": "m", "messages": messages}).encode()


def prompt_of(letters: str) -> Prompt:
    prompt = CHAT.read_prompt(body_of(letters))
    assert prompt is not None
    return prompt


def reply_of(prompt: Prompt, letters: str, finish: str = "stop") -> Reply:
    choice = {"message": spelled(letters), "finish_reason": finish}
    body = json.dumps({"choices": [choice]}).encode()
    return CHAT.read_reply(prompt, Answer(200, "application/json", body, proved=True))


def letters_of(raws: Sequence[bytes]) -> str:
    return " ".join(_letters(json.loads(raw)) for raw in raws)


def _letters(message: Spelled) -> str:
    calls = "".join(call["id"] for call in message.get("tool_calls", ()))
    return f"c{calls}" if calls else message["content"]


def forwarded(recalled: Recalled) -> str:
    return " ".join(map(_letters, json.loads(recalled.body())["messages"]))


async def chat_in(store: Store | None = None, **settings: Any) -> Chat:
    store = store or MemoryStore()
    await store.open()
    return Chat(Memory(store, MemorySettings(**settings), Tokens(), clock=lambda: 1234.5))

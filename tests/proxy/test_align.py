"""The alignment vectors: what is forwarded and what is stored, for every rule.

Small cases and the searches: ``test_align_cases.py``; thousands of conversations:
``test_align_random.py``.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backstory.fingerprint import keyed
from backstory.model import Answer, Conversation, Message, Mode, Owner, Turn
from backstory.recall import Memory, Recalled
from backstory.settings import MemorySettings
from backstory.spi import Dialect
from backstory.turns import Grower
from backstory_plugins.dialects.anthropic import Anthropic
from backstory_plugins.dialects.falcon import Falcon
from backstory_plugins.dialects.ollama_chat import OllamaChat
from backstory_plugins.dialects.openai_chat import OpenAIChat
from backstory_plugins.dialects.openai_responses import OpenAIResponses
from backstory_plugins.policies.tokens import Tokens
from backstory_plugins.stores.memory import MemoryStore

VECTORS = json.loads((Path(__file__).parent / "data" / "alignment_vectors.json").read_bytes())
DIALECTS: dict[str, Dialect] = {
    "anthropic": Anthropic(),
    "openai.chat": OpenAIChat(),
    "falcon": Falcon(),
    "ollama.chat": OllamaChat(),
    "openai.responses": OpenAIResponses(),
}
LISTS = {"falcon": "text", "openai.responses": "input"}
"""Where each dialect's messages stand, if not in ``messages``."""
OWNER = Owner("acme", "ada")
KEY = b"k" * 32


class RecordingStore(MemoryStore):
    """A store that tells how many branches it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[Turn] = []

    async def commit(self, owner: Owner, after: Conversation, turns: Sequence[Turn]) -> None:
        await super().commit(owner, after, turns)
        self.turns.extend(turns)

    def leaves(self) -> set[str]:
        return {turn.id for turn in self.turns} - {
            turn.parent for turn in self.turns if turn.parent
        }


@pytest.mark.parametrize(
    "vector",
    [pytest.param(v, id=v["id"]) for v in VECTORS["vectors"]],
)
async def test_vector(vector: dict[str, Any]) -> None:
    expected = dict(vector["expected"])
    dialect = DIALECTS[vector["dialect"]]
    store = RecordingStore()
    memory = Memory(store, MemorySettings(), Tokens())
    await store.open()
    await store_before(memory, dialect, vector["stored"])
    before = await memory.store.load(OWNER, "c")
    named = before.head.turn if "at_branch_prefix" in vector and before and before.head else None

    prompt = dialect.read_prompt(body_of(vector))
    assert prompt is not None
    preset: Mode = vector["stored"]["mode"] if vector["stored"].get("preset") else "auto"
    recalled = await memory.recall(OWNER, "c", dialect, prompt, preset, after=named)

    assert recalled.plan.decision.name == expected.pop("decision")
    if "forwarded" in expected:
        forwarded = json.loads(recalled.body())
        key = LISTS.get(vector["dialect"], "messages")
        assert forwarded[key] == expected.pop("forwarded")
    await reply(memory, recalled, vector)
    after = await memory.store.load(OWNER, "c")
    if "stored_after" in expected:
        assert await stored_path(memory, after) == expected.pop("stored_after")
    if "branch_count_after" in expected:
        assert len(store.leaves()) == expected.pop("branch_count_after")
    if "mode_after" in expected:
        assert after is not None
        assert after.mode == expected.pop("mode_after")
    if "system_after" in expected:
        assert after is not None
        assert [json.loads(raw) for raw in after.pinned] == expected.pop("system_after")
    assert not expected, "every expectation of the vector was checked"


def body_of(vector: dict[str, Any]) -> bytes:
    if vector["dialect"] == "falcon":
        return json.dumps({"text": vector["incoming_text"], "top_k": 1}).encode()
    key = LISTS.get(vector["dialect"], "messages")
    return json.dumps({"model": "m", key: vector["incoming"]}).encode()


async def store_before(memory: Memory, dialect: Dialect, stored: dict[str, Any]) -> None:
    branches = stored.get("branches") or [stored["messages"]]
    pinned = tuple(json.dumps(m).encode() for m in stored.get("system", ()))
    if dialect.name == "openai.responses":
        pinned = ()  # a system prompt is `instructions` there, which belong to their request alone
    if branches == [[]]:
        return
    conversation = Conversation(id="c", key=KEY, mode=stored.get("mode", "auto"), pinned=pinned)
    for at, branch in enumerate(branches):
        grower = Grower(None, key=KEY, dialect=dialect.name, now=1.0)
        grower.adopt(keyed(messages_of(branch, dialect), KEY))
        conversation = Conversation(
            **{
                **{name: getattr(conversation, name) for name in conversation._fields},
                "version": conversation.version + 1,
                "head": grower.head
                if at == stored.get("head", len(branches) - 1)
                else conversation.head,
                "longest_claim": len(branch) if stored.get("mode") == "transcript" else 0,
            }
        )
        await memory.store.commit(OWNER, conversation, grower.turns)


def messages_of(branch: list[dict[str, Any]], dialect: Dialect) -> tuple[Message, ...]:
    question = {"role": "user", "content": "?"}
    reader = dialect if dialect.form != "chat" else DIALECTS["openai.chat"]
    key = LISTS.get(reader.name, "messages")
    prompt = reader.read_prompt(json.dumps({key: [*branch, question]}).encode())
    assert prompt is not None
    return prompt.claimed


async def reply(memory: Memory, recalled: Recalled, vector: dict[str, Any]) -> None:
    if vector["dialect"] == "falcon":
        if "upstream_chunks_latin1" not in vector:
            return
        body = "".join(vector["upstream_chunks_latin1"]).encode("latin-1")
        answer = Answer(200, "text/plain", body, proved=True)
    elif vector["reply"] is None:
        return
    else:
        spelled = SPELLED.get(vector["dialect"], answer_of)
        answer = spelled(vector["reply"], complete=vector.get("reply_complete", True))
    read = recalled.dialect.read_reply(recalled.prompt, answer)
    if read.verdict.kept and recalled.plan.stores:
        assert await memory.commit(recalled, read) is None


def answer_of(message: dict[str, Any], *, complete: bool) -> Answer:
    if complete:
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
        return Answer(200, "application/json", body, proved=True)
    choice = {"index": 0, "delta": message, "finish_reason": None}  # only a stream can lack its end
    return Answer(
        200,
        "text/event-stream",
        f"data: {json.dumps({'choices': [choice]})}\n\n".encode(),
        proved=True,
    )


def claude_answer(message: dict[str, Any], *, complete: bool) -> Answer:
    value = message | {"stop_reason": "end_turn" if complete else None}
    return Answer(200, "application/json", json.dumps(value).encode(), proved=True)


def ollama_answer(message: dict[str, Any], *, complete: bool) -> Answer:
    value = {"message": message, "done": complete, "done_reason": "stop"}
    return Answer(200, "application/json", json.dumps(value).encode(), proved=True)


def responses_answer(item: dict[str, Any], *, complete: bool) -> Answer:
    status = "completed" if complete else "in_progress"
    value = {"id": "resp_2", "status": status, "output": [item]}
    return Answer(200, "application/json", json.dumps(value).encode(), proved=True)


SPELLED = {
    "anthropic": claude_answer,
    "ollama.chat": ollama_answer,
    "openai.responses": responses_answer,
}
"""How a whole answer is spelled, where it is not as in Chat Completions."""


async def stored_path(memory: Memory, conversation: Conversation | None) -> list[Any]:
    if conversation is None or conversation.head is None:
        return []
    turns = await memory.store.path(OWNER, "c", conversation.head.turn)
    raws = [message.raw for turn in turns for message in turn.messages]
    return json.loads(b"[" + b",".join(raws) + b"]") if raws else []

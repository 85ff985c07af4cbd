"""What Anthropic's API would accept: random conversations against an upstream as strict as it is.

Instructions, tools and the model change, older turns are left out, calls are given up, turns
pause; what memory tells is never the reason for a refusal.
"""

import json
import os
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.strict_claude import StrictClaude

from backstory.history import repaired
from backstory.model import Answer, Message, Prompt, Remedy
from backstory_plugins.dialects._thinking import note_of
from backstory_plugins.dialects.anthropic import Anthropic

CLAUDE = Anthropic()
CONVERSATIONS = int(os.environ.get("BACKSTORY_TEST_CONVERSATIONS", "250"))
STEPS = 12
MARK = {"type": "ephemeral"}


class Conversation:
    """A client, what is remembered of what it said, and the upstream."""

    def __init__(self, seed: int, models: Sequence[str], *, unruly: bool = False) -> None:
        """``unruly``: what binds thinking changes within a tool loop as well."""
        self.unruly = unruly
        self.rng = random.Random(seed)
        self.models = models
        self.upstream = StrictClaude(self.rng)
        self.model, self.system, self.tools = models[0], "Be kind.", [{"name": "look"}]
        self.turns: list[tuple[Message, ...]] = []
        self.told_from = 0
        self.refusals = 0
        self.in_a_loop = False
        self.changed_in_a_loop = False

    def step(self, number: int) -> None:
        """One request, and its retry where there is a remedy."""
        rng = self.rng
        self.in_a_loop = bool(self.open_calls())
        asked = self.question(number)
        pending = bool(self.open_calls())
        self.changed_in_a_loop &= pending
        if not pending or (self.unruly and rng.random() < 0.3):
            self.change()
        history = self.history()
        resent = self.resent(history)
        self.ask([*resent, *asked], history[: len(history) - len(resent)])

    def open_calls(self) -> tuple[str, ...]:
        return self.turns[-1][-1].calls if self.turns else ()

    def question(self, number: int) -> list[dict[str, Any]]:
        calls, rng = self.open_calls(), self.rng
        blocks: list[dict[str, Any]] = []
        if calls and rng.random() < 0.8:
            blocks = [
                {"type": "tool_result", "tool_use_id": ident, "content": f"result {ident}"}
                for ident in calls
            ]
        else:
            self.in_a_loop = False
        if not blocks or rng.random() < 0.2:
            blocks.append({"type": "text", "text": f"question {number}"})
        if rng.random() < 0.5:
            blocks[-1]["cache_control"] = MARK
        if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} and rng.random() < 0.5:
            return [{"role": "user", "content": blocks[0]["text"]}]
        return [{"role": "user", "content": blocks}]

    def change(self) -> None:
        """What binds thinking, most often not at all."""
        what = self.rng.choice(["system", "tools", "model", "trim", *["nothing"] * 8])
        if what == "system":
            self.system = self.rng.choice(["Be kind.", "Be brief."])
        elif what == "tools":
            self.tools = [{"name": name} for name in self.rng.choice([["look"], ["look", "see"]])]
        elif what == "model":
            self.model = self.rng.choice(self.models)
        elif what == "trim" and not self.open_calls():
            self.told_from = self.rng.randrange(self.told_from, len(self.turns) + 1)
        self.changed_in_a_loop |= bool(self.open_calls())

    def history(self) -> list[Message]:
        return [message for turn in self.turns[self.told_from :] for message in turn]

    def resent(self, history: Sequence[Message]) -> list[dict[str, Any]]:
        """Within a tool loop most clients send its messages again, as they got them."""
        if not self.in_a_loop or self.unruly or self.rng.random() < 0.5:
            return []
        asked = [at for at, m in enumerate(history) if m.role == "user" and not m.answers]
        return [unmarked(json.loads(m.raw)) for m in history[asked[-1] :]] if asked else []

    def ask(self, messages: list[dict[str, Any]], history: Sequence[Message]) -> None:
        fields = {
            "model": self.model,
            "max_tokens": 99,
            "system": [{"type": "text", "text": self.system, "cache_control": MARK}],
            "tools": self.tools,
            "messages": messages,
        }
        prompt = CLAUDE.read_prompt(json.dumps(fields).encode())
        assert prompt is not None
        self.keep(prompt, self.send(prompt, history))

    def send(self, prompt: Prompt, history: Sequence[Message]) -> Answer:
        following = (*prompt.claimed, *prompt.new)
        told = repaired(history, following, CLAUDE.without_calls)
        answer = self.upstream.answer(CLAUDE.inject(prompt, (), told))
        if answer.status == 400:
            assert self.changed_in_a_loop, answer.body
            assert CLAUDE.remedy(answer) is Remedy.NO_REASONING
            self.refusals += 1
            bare = [CLAUDE.without_reasoning(message) for message in told]
            left = [message for message in bare if message is not None]
            answer = self.upstream.answer(CLAUDE.inject(prompt, (), left))
        assert answer.status == 200, answer.body
        return answer

    def keep(self, prompt: Prompt, answer: Answer) -> None:
        reply = CLAUDE.read_reply(prompt, answer)
        if reply.verdict.kept:
            asked = prompt.new[:-1] if prompt.prefill else prompt.new
            self.turns.append((*asked, *reply.messages))
        elif reply.verdict.value == "paused":
            history = self.history()
            sent = json.loads(prompt.body)["messages"]
            paused = {"role": "assistant", "content": content_of(answer)}
            self.ask([*sent, paused], history[: len(history) - len(prompt.claimed)])


def unmarked(message: dict[str, Any]) -> dict[str, Any]:
    """As clients send it again: their marks move on to the newest messages."""
    for block in message["content"] if isinstance(message["content"], list) else ():
        block.pop("cache_control", None)
    return message


def content_of(answer: Answer) -> list[dict[str, Any]]:
    """The blocks of an answer, as a client puts them together."""
    if answer.media_type == "application/json":
        content: list[dict[str, Any]] = json.loads(answer.body)["content"]
        return content
    blocks: list[dict[str, Any]] = []
    for line in answer.body.decode().splitlines():
        if not line.startswith("data: "):
            continue
        event = json.loads(line.removeprefix("data: "))
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            for key in delta.keys() - {"type", "partial_json"}:
                blocks[-1][key] += delta[key]
    return blocks


BOUND, OTHER, MANUAL = "bound-1", "bound-2", "manual-1"


def talk(models: Sequence[str], *, unruly: bool = False) -> tuple[int, int]:
    """How much thinking was heard again, and how often it was refused, in many conversations."""
    heard = refused = 0
    for seed in range(CONVERSATIONS):
        conversation = Conversation(seed, models, unruly=unruly)
        for number in range(STEPS):
            conversation.step(number)
        heard += conversation.upstream.heard_thinking
        refused += conversation.refusals
    return heard, refused


@pytest.mark.parametrize(
    "models", [[BOUND], [MANUAL], [BOUND, OTHER], [BOUND, OTHER, MANUAL]], ids=str
)
def test_nothing_that_is_told_is_refused(models: Sequence[str]) -> None:
    heard, refused = talk(models)
    assert refused == 0
    assert heard > CONVERSATIONS  # thinking was told, and not merely left out


def test_what_changes_within_a_tool_loop_has_its_remedy() -> None:
    heard, refused = talk([BOUND, OTHER], unruly=True)
    assert 0 < refused < heard


def test_whatever_changes_a_model_that_insists_gets_its_thinking() -> None:
    heard, refused = talk([MANUAL], unruly=True)
    assert refused == 0
    assert heard > CONVERSATIONS


# One reply with thinking, and what it is told behind.

FIRST = {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": MARK}]}
SECOND = {"role": "user", "content": "c"}
FIELDS = {"model": "m", "system": "Be kind.", "tools": [{"name": "look", "cache_control": MARK}]}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


def body_of(*messages: object, **fields: object) -> bytes:
    return json.dumps({**FIELDS, **fields, "messages": messages}).encode()


def remembered(asked: bytes, request: bytes | None = None) -> list[Message]:
    """The turn of a request, its reply with thinking."""
    prompt = CLAUDE.read_prompt(asked)
    assert prompt is not None
    content = [THOUGHT, {"type": "text", "text": "b"}]
    reply = json.dumps({"content": content, "stop_reason": "end_turn"}).encode()
    answer = Answer(200, "application/json", reply, True, asked if request is None else request)
    return [*prompt.new, *CLAUDE.read_reply(prompt, answer).messages]


def thinks_again(history: Sequence[Message], body: bytes) -> bool:
    prompt = CLAUDE.read_prompt(body)
    assert prompt is not None
    return b'"thinking"' in CLAUDE.inject(prompt, (), history)


@pytest.mark.parametrize(
    ("fields", "again"),
    [
        pytest.param({}, True, id="nothing changed"),
        pytest.param({"temperature": 1}, True, id="what does not bind"),
        pytest.param({"system": [{"type": "text", "text": "Be kind."}]}, True, id="spelling"),
        pytest.param({"tools": [{"name": "look"}]}, True, id="marks"),
        pytest.param({"model": "n"}, False, id="model"),
        pytest.param({"system": "Be brief."}, False, id="system"),
        pytest.param({"system": None}, False, id="no system"),
        pytest.param({"tools": []}, False, id="tools"),
    ],
)
def test_thinking_is_told_behind_what_it_was_written_behind(
    fields: dict[str, object], again: bool
) -> None:
    history = remembered(body_of(FIRST))
    assert len(history[-1].note) == 32
    assert thinks_again(history, body_of(SECOND, **fields)) is again


def test_thinking_of_which_nothing_is_known_is_not_told() -> None:
    for request in (b"", b"{", b"[]", b'{"messages":7}'):
        history = remembered(body_of(FIRST), request)
        assert history[-1].note == b""
        assert not thinks_again(history, body_of(SECOND))


def test_instructions_that_memory_puts_in_bind_as_those_of_the_client() -> None:
    system = b'{"role":"system","content":"Be kind."}'
    history = remembered(body_of(FIRST))
    prompt = CLAUDE.read_prompt(
        json.dumps({"model": "m", "tools": FIELDS["tools"], "messages": [SECOND]}).encode()
    )
    assert prompt is not None
    assert b'"thinking"' in CLAUDE.inject(prompt, [system], history)
    assert b'"thinking"' not in CLAUDE.inject(prompt, (), history)


def test_a_note_is_about_what_stands_before_the_reply() -> None:
    begun = {"role": "assistant", "content": "b"}
    assert note_of(body_of(FIRST, begun)) == note_of(body_of(FIRST))
    assert note_of(body_of(FIRST, SECOND)) != note_of(body_of(FIRST))
    merged = {"role": "user", "content": [{"type": "text", "text": text} for text in "ac"]}
    assert note_of(body_of(merged)) == note_of(body_of(FIRST, SECOND))
    thought = {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "b"}]}
    bare = {"role": "assistant", "content": "b"}
    with_it, without = (
        note_of(body_of(FIRST, thought, SECOND)),
        note_of(body_of(FIRST, bare, SECOND)),
    )
    assert with_it[:16] == without[:16]  # thinking does not bind thinking
    assert with_it[16:] == note_of(body_of(FIRST))[:16]  # but none may be missing since the first


def test_what_cannot_be_compared_is_told_without_thinking() -> None:
    history = remembered(body_of(FIRST))
    for depth in range(900, 1000):
        deep = "[" * depth + "]" * depth
        body = f'{{"tools":{deep},"messages":[{{"role":"user","content":"c"}}]}}'.encode()
        prompt = CLAUDE.read_prompt(body)
        if prompt is not None:
            assert b'"thinking"' not in CLAUDE.inject(prompt, (), history)


# Calls and results, whatever was given up or left out.


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Messages with parallel calls, answered wholly, in part, one by one, or not at all."""
    said: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 6))):
        blocks = [{"type": "text", "text": f"reply {number}"}] if draw(st.booleans()) else []
        idents = [f"t{number}{n}" for n in range(draw(st.integers(0, 3)))]
        calls = [{"type": "tool_use", "id": i, "name": "look", "input": {}} for i in idents]
        if (blocks or calls) and draw(st.booleans()):
            blocks.insert(0, THOUGHT)
        said.append({"role": "user", "content": f"question {number}"})
        said.append({"role": "assistant", "content": [*blocks, *calls] or "reply"})
        answered = draw(st.lists(st.sampled_from([*idents, "t99"]), unique=True))
        results = [{"type": "tool_result", "tool_use_id": i, "content": "3"} for i in answered]
        parts = [results] if draw(st.booleans()) else [[result] for result in results]
        said += [{"role": "user", "content": part} for part in parts if part]
        if draw(st.booleans()):
            said.append({"role": "assistant", "content": f"done {number}"})
        if draw(st.integers(0, 4)) == 0:
            said.append({"role": "system", "content": "s"})
    return said


@given(conversations(), st.integers(0, 12), st.booleans())
def test_no_call_and_no_result_stands_alone(
    said: list[dict[str, Any]], cut: int, answers: bool
) -> None:
    read = CLAUDE.read_prompt(json.dumps({"messages": [*said, SECOND]}).encode())
    assert read is not None
    history = [*read.claimed, *read.new][cut:-1]
    calls = history[-1].calls if history else ()
    new = [{"type": "tool_result", "tool_use_id": i, "content": "3"} for i in calls if answers]
    body = {"model": BOUND, "system": "s", "messages": [{"role": "user", "content": new or "c"}]}
    prompt = CLAUDE.read_prompt(json.dumps(body).encode())
    assert prompt is not None
    told = repaired(history, prompt.new, CLAUDE.without_calls)
    sent = json.loads(CLAUDE.inject(prompt, (), told))
    sent["messages"] = [without_thinking(m) for m in sent["messages"] if m["role"] != "system"]
    if sent["messages"][0]["role"] == "assistant":  # a loop whose question was left out
        assert new
        assert not any(m.role == "user" and not m.answers for m in history)
        sent["messages"].insert(0, SECOND)
    answer = StrictClaude(random.Random(0)).answer(json.dumps(sent).encode())
    assert answer.status == 200, answer.body


def without_thinking(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, list):
        content = [block for block in content if block["type"] != "thinking"]
    return message | {"content": content}

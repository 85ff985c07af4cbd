"""Items become messages, and what is told again of them is what the API accepts."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.cuts import newest

from backstory.history import repaired
from backstory.model import Answer, Message, Prompt
from backstory_plugins.dialects._runs import NOT_TOLD, without_calls, without_reasoning
from backstory_plugins.dialects.openai_responses import OpenAIResponses

RESPONSES = OpenAIResponses()
Spelled = dict[str, Any]

U: Spelled = {"role": "user", "content": "u"}
R: Spelled = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "g" * 400}
A: Spelled = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "a", "annotations": []}],
}
C: Spelled = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "1",
    "name": "f",
    "arguments": '{"a": 1}',
}
C2 = C | {"id": "fc_2", "call_id": "2"}
T: Spelled = {"type": "function_call_output", "call_id": "1", "output": "t"}
W: Spelled = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
X: Spelled = {"type": "of_tomorrow", "id": "x_1"}

APPROVED: Spelled = {"type": "mcp_approval_response", "approval_request_id": "m", "approve": True}


def read(*items: Spelled) -> tuple[Message, ...]:
    """All messages of a request with these items and a question behind them."""
    prompt = RESPONSES.read_prompt(json.dumps({"input": [*items, U]}).encode())
    assert prompt is not None
    return (*prompt.pinned, *prompt.claimed, *prompt.new[:-1])


def run(*items: Spelled) -> Message:
    (message,) = read(*items)
    return message


def spelled(message: Message | None) -> list[Spelled]:
    assert message is not None
    items: list[Spelled] = json.loads(b"[" + message.raw + b"]")
    return items


def nameless(item: Spelled) -> Spelled:
    return {key: value for key, value in item.items() if key != "id"}


def test_each_result_is_a_message_that_answers_its_call() -> None:
    user, calls, first, second = read(U, R, C, C2, T, T | {"call_id": "2"})
    assert [m.role for m in (user, calls, first, second)] == ["user", "assistant", "tool", "tool"]
    assert (calls.calls, first.answers, second.answers) == (("1", "2"), ("1",), ("2",))
    assert {m.form for m in (user, calls, first, second)} == {"responses"}


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (
            {"type": "custom_tool_call", "name": "f", "input": "x"},
            {"type": "custom_tool_call_output"},
        ),
        ({"type": "computer_call", "actions": []}, {"type": "computer_call_output"}),
        ({"type": "shell_call", "action": {}}, {"type": "shell_call_output"}),
        ({"type": "local_shell_call", "action": {}}, {"type": "local_shell_call_output"}),
        ({"type": "apply_patch_call", "operation": {}}, {"type": "apply_patch_call_output"}),
        ({"type": "tool_search_call", "arguments": {}}, {"type": "tool_search_output"}),
        ({"type": "of_tomorrow_call"}, {"type": "of_tomorrow_call_output"}),
    ],
)
def test_calls_of_every_kind_are_answered_by_their_id(call: Spelled, result: Spelled) -> None:
    asked, answer = read(call | {"call_id": "7"}, result | {"call_id": "7"})
    assert (asked.calls, answer.answers, answer.role) == (("7",), ("7",), "tool")


def test_calls_whose_results_name_them_otherwise() -> None:
    approval = {"type": "mcp_approval_request", "id": "m", "name": "f", "arguments": "{}"}
    asked, answer = read(approval, APPROVED)
    assert (asked.calls, answer.answers) == (("m",), ("m",))
    (answer,) = read({"type": "local_shell_call_output", "id": "7", "output": "t"})
    assert answer.answers == ("7",)


def test_what_the_upstream_runs_is_the_assistants() -> None:
    program = {"type": "program", "call_id": "p", "code": "f()"}
    output = {"type": "program_output", "call_id": "p", "result": "1"}
    search = {"type": "tool_search_call", "execution": "server", "call_id": None}
    found: Spelled = {
        "type": "tool_search_output",
        "execution": "server",
        "call_id": None,
        "tools": [],
    }
    for items in (
        [program, output, A],
        [search, found, A],
        [W, A],
        [{"type": "mcp_list_tools"}, A],
    ):
        message = run(*items)
        assert (message.role, message.calls, spelled(message)) == ("assistant", (), items)
        assert message.fingerprint == run(A).fingerprint


def test_a_result_without_a_call_id_stays_where_it_stands() -> None:
    (message,) = read(U, {"type": "function_call_output", "output": "t"})
    assert (message.role, message.answers) == ("user", ())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([R, A], [nameless(A)], True),
        ([A | {"phase": "final_answer"}], [A | {"content": "a"}], True),
        ([A, X], [A], True),
        ([C], [C | {"call_id": "9", "arguments": '{"a":1}', "status": "completed"}], True),
        ([C], [C | {"arguments": '{"a": 2}'}], False),
        ([C], [C | {"name": "g"}], False),
        ([A], [A, C], False),
        ([W], [{"type": "file_search_call", "id": "fs_1"}], False),
        ([T], [T | {"output": [{"type": "input_text", "text": "t"}]}], True),
        ([T], [T | {"output": "other"}], False),
        ([T], [T | {"call_id": "2"}], False),
        (
            [T | {"output": [{"stdout": "a", "stderr": ""}]}],
            [T | {"output": [{"stdout": "b", "stderr": ""}]}],
            False,
        ),
        (
            [APPROVED],
            [APPROVED | {"approve": False}],
            False,
        ),
        (
            [U | {"content": [{"type": "input_image", "image_url": "data:1"}]}],
            [U | {"content": [{"type": "input_image", "image_url": "data:2"}]}],
            False,
        ),
        (
            [U | {"content": [{"type": "input_file", "file_id": "file_1"}]}],
            [U | {"content": [{"type": "input_file", "file_id": "file_2"}]}],
            False,
        ),
        ([U], [U | {"type": "message", "content": [{"type": "input_text", "text": "u"}]}], True),
        ([U | {"role": "developer"}], [U | {"role": "system"}], True),
    ],
)
def test_what_counts_as_the_same(one: list[Spelled], other: list[Spelled], same: bool) -> None:
    first, second = [m.fingerprint for m in read(*one)], [m.fingerprint for m in read(*other)]
    assert (first == second) is same


def test_what_is_no_text_counts_for_its_tokens_and_not_for_its_bytes() -> None:
    image = U | {"content": [{"type": "input_image", "image_url": "data:" + "A" * 100_000}]}
    drawn = {"type": "image_generation_call", "id": "ig_1", "result": "A" * 100_000}
    shown = T | {"output": [{"type": "input_image", "file_id": "file_1"}]}
    for item in (image, drawn, shown):
        assert 1500 <= run(item).tokens < 1600
    assert run(U | {"content": [{"type": "input_file", "file_data": "A" * 2000}]}).tokens in range(
        100, 160
    )
    assert run(R, A).tokens - run(A).tokens in range(100, 160)


@pytest.mark.parametrize(
    ("items", "left"),
    [
        ([C], None),
        ([R, C], None),
        ([R, C, C2], None),
        ([C, A], [A]),
        ([R, A, C], [R, A]),
        ([R, C, A], [nameless(A)]),
        ([R, C, R | {"id": "rs_2"}, A], [R | {"id": "rs_2"}, A]),
        ([R, A, R | {"id": "rs_2"}, C], [R, A]),
        ([A, C, X], [A, X]),
        ([R, W, R, C], [R, W]),
        ([{"type": "program", "call_id": "p"}, C, A], [A]),
        (
            [{"type": "program", "call_id": "p"}, {"type": "program_output", "call_id": "p"}, A, C],
            [{"type": "program", "call_id": "p"}, {"type": "program_output", "call_id": "p"}, A],
        ),
    ],
)
def test_calls_go_with_the_reasoning_before_them(
    items: list[Spelled], left: list[Spelled] | None
) -> None:
    message = run(*items)
    stripped = without_calls(message)
    if left is None:
        assert stripped is None
        return
    assert spelled(stripped) == left
    assert stripped is not None
    assert (stripped.calls, stripped.fingerprint) == ((), message.fingerprint)
    assert stripped.tokens < message.tokens


@pytest.mark.parametrize(
    ("items", "left"),
    [
        ([R, A], [nameless(A)]),
        ([R, R, C, C2, A], [nameless(C), nameless(C2), nameless(A)]),
        ([A, R, C], [A, nameless(C)]),
        ([R, W, A], [W, nameless(A)]),
        ([R, nameless(A)], [nameless(A)]),
    ],
)
def test_without_reasoning_nothing_is_asked_for_by_its_id(
    items: list[Spelled], left: list[Spelled]
) -> None:
    message = run(*items)
    stripped = without_reasoning(message)
    assert spelled(stripped) == left
    assert stripped is not None
    assert (stripped.calls, stripped.fingerprint) == (message.calls, message.fingerprint)


def test_what_has_neither_is_left_as_it_is() -> None:
    message = run(A | {"content": 'no "reasoning" here'})
    assert without_calls(message) is message
    assert without_reasoning(message) is message


def test_an_id_is_cut_out_and_no_other_byte() -> None:
    raw = (
        b'{ "type":"message" , "id" : "msg_1","role":"assistant", "content":"\\u0061", "n": 1E400 }'
    )
    reasoning = b'{"type":"reasoning","encrypted_content":"g"}'
    message = run(A)._replace(raw=reasoning + b", " + raw)
    left = without_reasoning(message)
    assert left is not None
    assert left.raw == raw.replace(b' , "id" : "msg_1"', b"")


def test_reasoning_alone_is_remembered_but_not_told() -> None:
    _, message = read(U, R)
    assert (message.note, spelled(message)) == (NOT_TOLD, [R])
    assert without_reasoning(message) is None


@pytest.mark.parametrize("raw", [b"", b"7", b"\xff", b'{"role":'])
def test_what_is_no_item_has_nothing_to_leave(raw: bytes) -> None:
    broken = Message("assistant", raw + b'"reasoning"', b"", b"", calls=("1",), form="responses")
    assert without_calls(broken) is None
    assert without_reasoning(broken) is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["ask", "answer", "answer some", "answer in part and ask", "answer wrongly"]
        ),
        st.lists(
            st.sampled_from(["think", "say", "call", "search", "unknown", "forget"]),
            min_size=1,
            max_size=6,
        ),
    ),
    min_size=1,
    max_size=6,
)


class Talk:
    """A conversation of a delta client with a model, told turn by turn."""

    def __init__(self) -> None:
        self.turns: list[tuple[Message, ...]] = []
        self._number = 0
        self._open: list[str] = []

    def asks(self, how: str) -> list[Spelled]:
        answered = self._open if how == "answer" else self._open[:1]
        if how == "ask" or not self._open:
            return [U]
        if how == "answer wrongly":
            return [T | {"call_id": "of nobody"}]
        results = [T | {"call_id": call} for call in answered]
        return [*results, U] if how == "answer in part and ask" else results

    def replies(self, steps: Sequence[str]) -> list[Spelled]:
        """Ids say which reasoning led to the item."""
        items: list[Spelled] = []
        self._open, led = [], ""
        for step in steps:
            self._number += 1
            name = f"{self._number}"
            if step in ("think", "forget"):
                led = name if step == "think" else f"gone{name}"
                items.append(R | {"id": led, "encrypted_content": "g" if step == "think" else None})
            elif step == "call":
                items.append(C | {"id": f"fc by {led}", "call_id": name})
                self._open.append(name)
            elif step == "say":
                items.append(A | {"id": f"msg by {led}"})
            else:
                items.append(W if step == "search" else X)
        return items

    def go_on(self, how: str, steps: Sequence[str]) -> None:
        prompt = prompt_of(self.asks(how))
        output = self.replies(steps)
        body = json.dumps({"status": "completed", "output": output}).encode()
        reply = RESPONSES.read_reply(prompt, Answer(200, "application/json", body, True))
        if reply.verdict.kept:
            self.turns.append((*prompt.new, *reply.messages))


def prompt_of(items: list[Spelled]) -> Prompt:
    prompt = RESPONSES.read_prompt(json.dumps({"input": items}).encode())
    assert prompt is not None
    return prompt


@given(STEPS, st.sampled_from(["ask", "answer", "answer some", "answer wrongly"]), st.data())
def test_whatever_is_cut_away_the_rest_is_accepted(
    steps: list[tuple[str, list[str]]], last: str, data: st.DataObject
) -> None:
    talk = Talk()
    for how, replies in steps:
        talk.go_on(how, replies)
    asked = talk.asks(last)
    prompt = prompt_of(asked)
    if data.draw(st.booleans()):
        kept = newest(talk.turns, data.draw(st.integers(0, 6)))
        history = [message for turn in kept for message in turn]
    else:  # a window's history ends anywhere, and so does one that was cut
        history = [message for turn in talk.turns for message in turn]
        history = history[data.draw(st.integers(0, len(history))) :]
    if data.draw(st.booleans()):
        stripped = [RESPONSES.without_reasoning(message) for message in history]
        history = [message for message in stripped if message]
    told = repaired(history, prompt.new, RESPONSES.without_calls)
    forwarded: list[Spelled] = json.loads(RESPONSES.inject(prompt, (), told))["input"]
    assert forwarded[len(forwarded) - len(asked) :] == asked
    accepted(forwarded[: len(forwarded) - len(asked)], asked)


def accepted(items: list[Spelled], asked: list[Spelled]) -> None:
    """As the API is known to check: calls with results, reasoning with what it led to, ids."""
    everything = [*items, *asked]
    results = {item["call_id"] for item in everything if item.get("type") == T["type"]}
    called: set[str] = set()
    led: list[str] = []
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "message":
            assert item["role"] in ("user", "assistant")
        if kind == "reasoning":
            assert item["encrypted_content"]
            follows = everything[at + 1]
            assert follows.get("role") != "user"
            assert follows["type"] != T["type"]
            led.append(item["id"])
        if " by " in item.get("id", "") and (by := item["id"].partition(" by ")[2]):
            assert by in led, "an id by which the API asks for reasoning that is not there"
        if kind == C["type"]:
            called.add(item["call_id"])
            assert results & {each["call_id"] for each in group(items, at)}, "nobody answered"
        if kind == T["type"]:
            assert item["call_id"] in called


def group(items: list[Spelled], at: int) -> list[Spelled]:
    """The calls of the reply in which the call at ``at`` stands."""

    def mine(item: Spelled) -> bool:
        return item.get("role") != "user" and item.get("type") != T["type"]

    first = at
    while first and mine(items[first - 1]):
        first -= 1
    last = at
    while last < len(items) and mine(items[last]):
        last += 1
    return [item for item in items[first:last] if item["type"] == C["type"]]

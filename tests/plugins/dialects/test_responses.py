"""Replies of the Responses API: every row of the table of verdicts, and what is kept of each."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Answer, Prompt, Reply, Verdict
from backstory.tee import Tee
from backstory_plugins.dialects.openai_responses import OpenAIResponses

DATA = Path(__file__).parent / "data" / "openai.responses"
RESPONSES = OpenAIResponses()
NOTHING = Prompt(b"", (), (), ())
STREAM = "text/event-stream"

TEXT = {"type": "output_text", "text": "4", "annotations": []}
SAID: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [TEXT],
}
REFUSED = SAID | {"content": [{"type": "refusal", "refusal": "No."}]}
EMPTY = SAID | {"content": []}
CALL: dict[str, Any] = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city":"Oslo"}',
    "status": "completed",
}
SEALED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
OPEN = {"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "Hm."}]}
FORGOTTEN: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "encrypted_content": None,
}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
SHELL = {
    "type": "shell_call",
    "id": "sh_1",
    "call_id": "call_2",
    "action": {"commands": ["ls"]},
    "environment": {"type": "container_reference", "container_id": "c"},
}
SHELL_OUTPUT = {"type": "shell_call_output", "call_id": "call_2", "output": []}
LOCAL = SHELL | {"environment": {"type": "local"}}


def read(body: bytes, media_type: str = "application/json", *, proved: bool = True) -> Reply:
    return RESPONSES.read_reply(NOTHING, Answer(200, media_type, body, proved))


def recorded(name: str) -> Reply:
    media_type = STREAM if name.endswith(".sse") else "application/json"
    return read((DATA / name).read_bytes(), media_type)


def both(status: str, *output: object, **more: object) -> Reply:
    """The reply in a response that says all this, whole and as the last event of a stream."""
    response = {"id": "resp_1", "status": status, "output": output, **more}
    whole = read(json.dumps(response).encode())
    event = {"type": f"response.{status}", "response": response}
    streamed = read(b"data: %b\n\n" % json.dumps(event).encode(), STREAM)
    assert streamed == whole
    return whole


def items(reply: Reply) -> list[Any]:
    (message,) = reply.messages
    spelled: list[Any] = json.loads(b"[" + message.raw + b"]")
    return spelled


@pytest.mark.parametrize(
    ("output", "verdict"),
    [
        ([SAID], Verdict.COMPLETE),
        ([SEALED, SAID], Verdict.COMPLETE),
        ([REFUSED], Verdict.COMPLETE),
        ([SEARCH, SAID], Verdict.COMPLETE),
        ([{"type": "image_generation_call", "id": "ig_1", "result": "iVBO"}], Verdict.COMPLETE),
        ([{"type": "of_tomorrow"}], Verdict.COMPLETE),
        ([SHELL, SHELL_OUTPUT, SAID], Verdict.COMPLETE),
        ([SHELL, SAID], Verdict.COMPLETE),
        ([CALL], Verdict.TOOL),
        ([SEALED, CALL, CALL | {"call_id": "call_3"}], Verdict.TOOL),
        ([SAID, CALL], Verdict.TOOL),
        ([LOCAL], Verdict.TOOL),
        ([LOCAL, SHELL_OUTPUT, SAID], Verdict.COMPLETE),
        ([CALL | {"type": "custom_tool_call", "input": "not JSON {"}], Verdict.TOOL),
        ([{"type": "computer_call", "call_id": "call_1", "actions": []}], Verdict.TOOL),
        ([{"type": "apply_patch_call", "call_id": "call_1", "operation": {}}], Verdict.TOOL),
        (
            [{"type": "mcp_approval_request", "id": "m", "name": "f", "arguments": "{}"}],
            Verdict.TOOL,
        ),
        ([{"type": "tool_search_call", "call_id": "c", "execution": "client"}], Verdict.TOOL),
        (
            [{"type": "tool_search_call", "call_id": "c", "execution": "server"}, SAID],
            Verdict.COMPLETE,
        ),
        ([{"type": "program", "call_id": "p", "code": "f()"}, CALL], Verdict.TOOL),
        ([CALL | {"arguments": '{"city":"Os'}], Verdict.ERROR),
        ([CALL | {"type": "custom_tool_call", "input": None}], Verdict.ERROR),
        ([], Verdict.EMPTY),
        ([EMPTY], Verdict.EMPTY),
        ([SEALED], Verdict.EMPTY),
        ([FORGOTTEN], Verdict.EMPTY),
        ([{"type": "mcp_list_tools", "tools": []}], Verdict.EMPTY),
        (["4"], Verdict.ERROR),
        ([{}], Verdict.ERROR),
        ([SAID | {"role": "user"}], Verdict.ERROR),
        ([{"type": "item_reference", "id": "msg_1"}], Verdict.ERROR),
        ([SAID | {"x": float("nan")}], Verdict.ERROR),
    ],
)
def test_completed(output: list[object], verdict: Verdict) -> None:
    assert both("completed", *output).verdict is verdict


@pytest.mark.parametrize("reason", ["max_output_tokens", "max_tokens"])
@pytest.mark.parametrize(
    ("output", "verdict"),
    [
        ([SAID | {"status": "incomplete"}], Verdict.TRUNCATED),
        ([SAID, SEALED], Verdict.TRUNCATED),
        ([SAID, CALL], Verdict.TRUNCATED),
        ([CALL], Verdict.EMPTY),
        ([SEALED], Verdict.EMPTY),
        ([EMPTY], Verdict.EMPTY),
        ([SAID, CALL | {"status": "incomplete", "arguments": "{}"}], Verdict.ERROR),
        ([SAID, CALL | {"arguments": '{"ci'}], Verdict.ERROR),
    ],
)
def test_incomplete_for_its_length(reason: str, output: list[object], verdict: Verdict) -> None:
    reply = both("incomplete", *output, incomplete_details={"reason": reason})
    assert reply.verdict is verdict


@pytest.mark.parametrize(
    ("details", "verdict"),
    [
        ({"reason": "content_filter"}, Verdict.FILTERED),
        ({"reason": "of tomorrow"}, Verdict.ABORTED),
        ({}, Verdict.ABORTED),
        (None, Verdict.ABORTED),
    ],
)
def test_incomplete_for_another_reason(details: object, verdict: Verdict) -> None:
    assert both("incomplete", SAID, incomplete_details=details).verdict is verdict


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_failed_is_an_error(status: str) -> None:
    assert both(status, SAID).verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("queued", Verdict.ABORTED),
        ("in_progress", Verdict.ABORTED),
        ("of tomorrow", Verdict.COMPLETE),
        (None, Verdict.COMPLETE),
    ],
)
def test_what_a_whole_answer_may_say_besides(status: str | None, verdict: Verdict) -> None:
    body = json.dumps({"status": status, "output": [SAID]}).encode()
    assert read(body).verdict is verdict


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("cut.sse", Verdict.ABORTED),
        ("failed.sse", Verdict.ERROR),
        ("error.sse", Verdict.ERROR),
        ("incomplete.sse", Verdict.TRUNCATED),
        ("error.json", Verdict.ERROR),
        ("background.json", Verdict.ABORTED),
    ],
)
def test_recorded_answers_that_are_not_whole(name: str, verdict: Verdict) -> None:
    assert recorded(name).verdict is verdict


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"message":"Overloaded."}',
        b'data: {"type":"error","message":"Overloaded."}',
        b'data: {"error":{"message":"Overloaded."}}',
        b"error: Overloaded.",
        b"event: response.output_item.done\ndata: {",
    ],
)
def test_an_error_in_the_middle_counts(event: bytes) -> None:
    end = {"type": "response.completed", "response": {"output": [SAID]}}
    body = event + b"\n\ndata: " + json.dumps(end).encode() + b"\n\n"
    assert read(body, STREAM).verdict is Verdict.ERROR


def test_nothing_after_the_end_counts() -> None:
    body = (DATA / "reply.sse").read_bytes() + b'data: {"type":"error"}\n\ndata: [DONE]\n\n'
    assert read(body, STREAM) == recorded("reply.sse")


def test_events_that_say_nothing_new_are_not_looked_into() -> None:
    body = b"event: response.output_text.delta\ndata: \xff\n\ndata: what?\n\n: ping\n\n"
    assert read(body + (DATA / "reply.sse").read_bytes(), STREAM) == recorded("reply.sse")


@pytest.mark.parametrize("name", ["reply.json", "reply.sse", "thin.sse"])
def test_a_reply_is_all_its_items_as_they_were_spelled(name: str) -> None:
    reply = recorded(name)
    reasoning, said = items(reply)
    assert (reasoning["encrypted_content"], said["phase"]) == ("gAAAAB==", "final_answer")
    assert said["content"][0]["text"] == "It is 4 — four.\u2028Yes."
    assert (reply.reply_id, reply.prompt_tokens) == ("resp_1", 75)
    for each in reply.messages[0].raw.split(b", {") if name == "reply.sse" else ():
        assert each.removeprefix(b"{") in (DATA / name).read_bytes()


@pytest.mark.parametrize("name", ["tool.json", "tool.sse"])
def test_tool_calls(name: str) -> None:
    reply = recorded(name)
    assert reply.verdict is Verdict.TOOL
    assert reply.messages[0].calls == ("call_1", "call_2")
    _, *calls = items(reply)
    assert [json.loads(call["arguments"])["city"] for call in calls] == ["Oslo", "Rome"]


def test_reasoning_that_is_not_encrypted_is_kept() -> None:
    assert items(recorded("vllm.sse"))[0]["content"][0]["text"] == "2+2…"
    assert items(both("completed", OPEN, SAID)) == [OPEN, SAID]


def test_reasoning_that_only_the_upstream_could_complete_is_not_kept() -> None:
    nameless = {key: value for key, value in SAID.items() if key != "id"}
    assert items(both("completed", FORGOTTEN, SAID)) == [nameless]
    assert items(both("completed", FORGOTTEN, SEARCH, SAID)) == [SEARCH, nameless]
    assert items(both("completed", FORGOTTEN, SEARCH, SEALED, SAID)) == [SEARCH, SEALED, SAID]


def test_reasoning_that_was_cut_is_not_kept() -> None:
    details = {"reason": "max_output_tokens"}
    assert items(both("incomplete", SAID, SEALED, incomplete_details=details)) == [SAID]


def test_what_the_upstream_ran_itself_is_part_of_the_reply() -> None:
    reply = both("completed", SHELL, SHELL_OUTPUT, SAID)
    assert items(reply) == [SHELL, SHELL_OUTPUT, SAID]
    asked = {
        "input": [{"role": "user", "content": "u"}, *items(reply), {"role": "user", "content": "u"}]
    }
    prompt = RESPONSES.read_prompt(json.dumps(asked).encode())
    assert prompt is not None
    assert prompt.claimed[1].fingerprint == reply.messages[0].fingerprint


def test_a_reply_goes_on_with_what_the_request_ends_with() -> None:
    began = {"type": "message", "role": "assistant", "content": [TEXT | {"text": "2+2="}]}
    prompt = RESPONSES.read_prompt(json.dumps({"input": [began]}).encode())
    assert prompt is not None
    assert prompt.prefill
    body = json.dumps({"status": "completed", "output": [SAID]}).encode()
    reply = RESPONSES.read_reply(prompt, Answer(200, "application/json", body, True))
    assert items(reply) == [began, SAID]


@pytest.mark.parametrize("name", ["reply.sse", "data_only.sse", "incomplete.sse", "thin.sse"])
def test_wherever_a_stream_is_split_its_last_event_waits(name: str) -> None:
    body = (DATA / name).read_bytes()
    marker = RESPONSES.end_marker(STREAM)
    assert marker is not None
    ends = [body.find(b"\n" + spelling) + 1 for spelling in marker.spellings]
    end = min(at for at in ends if at)
    for at in range(len(body) + 1):
        tee = Tee(1 << 20, RESPONSES.end_marker)
        tee.begin(200, STREAM, (), None)
        assert tee.feed(body[:at]) + tee.feed(body[at:]) == body[:end]
        assert (tee.marked, tee.release()) == (True, body[end:])
        assert read(tee.body(), STREAM) == recorded(name)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=4)
    | st.sampled_from(
        ["assistant", "user", "function_call", "reasoning", "message", "{}", "\ud800"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "role",
                    "content",
                    "text",
                    "call_id",
                    "id",
                    "name",
                    "arguments",
                    "output",
                    "environment",
                    "execution",
                    "input",
                    "image_url",
                    "encrypted_content",
                    "refusal",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=14,
)


@given(st.lists(JSON, max_size=4), JSON, st.sampled_from(["completed", "incomplete"]))
def test_any_output_has_a_verdict(output: list[object], more: object, status: str) -> None:
    details = {"reason": "max_tokens"}
    for spelled in (output, more, [SAID, *output]):
        response = {"output": spelled, "id": more, "usage": more, "incomplete_details": details}
        body = json.dumps(response | {"status": status}).encode()
        event = json.dumps({"type": f"response.{status}", "response": response}).encode()
        for reply in (read(body), read(b"data: " + event + b"\n\n", STREAM)):
            assert bool(reply.messages) == reply.verdict.kept
            for message in reply.messages:
                json.loads(b"[" + message.raw + b"]", parse_constant=pytest.fail)
                left = RESPONSES.without_calls(message)
                assert left is None or not left.calls


@given(st.lists(JSON, max_size=4), JSON)
def test_any_input_is_read_or_not(items: list[object], more: object) -> None:
    for spelled in (items, [{"role": "user"}, *items], more):
        body = {"input": spelled, "conversation": None, "max_output_tokens": more, "tools": more}
        prompt = RESPONSES.read_prompt(json.dumps(body).encode())
        if prompt is not None:
            json.loads(RESPONSES.inject(prompt, [], (*prompt.claimed, *prompt.new)))


def test_any_depth_has_a_verdict() -> None:
    """What can just be parsed may be too deep to be written, or compared."""
    for depth in [*range(100, 800, 100), *range(800, 1000, 3), 2000, 100_000]:
        deep = "[" * depth + "]" * depth
        for spelled in (
            f'{{"type":"message","role":"assistant","content":"4","x":{deep}}}',
            f'{{"type":"function_call","call_id":"c","name":"f","arguments":"{deep}"}}',
            f'{{"type":"shell_call","call_id":"c","action":{deep}}}',
            f'{{"type":"function_call_output","call_id":"c","output":{{"a":{deep}}}}}',
        ):
            body = f'{{"status":"completed","output":[{spelled}]}}'
            for reply in (
                read(body.encode()),
                read(f'data: {{"type":"response.completed","response":{body}}}'.encode(), STREAM),
            ):
                assert bool(reply.messages) == reply.verdict.kept
            RESPONSES.read_prompt(f'{{"input":[{spelled}]}}'.encode())

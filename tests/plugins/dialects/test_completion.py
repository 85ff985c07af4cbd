"""What an answer was, and which of it memory keeps."""

import json
from collections.abc import Mapping

import pytest

from backstory.model import Answer, Message, Prompt, Reply, Verdict
from backstory_plugins.dialects._completion import read_completion, read_stream

NOTHING = Prompt(b"", (), (), ())
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUT_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a'}}
CUSTOM = {"id": "c1", "type": "custom", "custom": {"name": "sh", "input": "ls {"}}


def both(message: object, finish: object) -> list[Reply]:
    """The same reply, streamed and not."""
    choice = {"index": 0, "finish_reason": finish}
    whole = json.dumps({"choices": [{**choice, "message": message}]}).encode()
    piece = json.dumps({"choices": [{**choice, "delta": message}]}).encode()
    return [completed(whole), streamed(b"data: " + piece + b"\n\ndata: [DONE]\n\n")]


def completed(body: bytes, *, proved: bool = True, prompt: Prompt = NOTHING) -> Reply:
    return read_completion(prompt, Answer(200, "application/json", body, proved))


def streamed(body: bytes, *, proved: bool = True, prompt: Prompt = NOTHING) -> Reply:
    return read_stream(prompt, Answer(200, "text/event-stream", body, proved))


def stored(message: Mapping[str, object], finish: str = "stop") -> dict[str, object]:
    whole, pieces = both(message, finish)
    assert json.loads(whole.messages[0].raw) == json.loads(pieces.messages[0].raw)
    value = json.loads(whole.messages[0].raw)
    assert isinstance(value, dict)
    return value


def prefilled(content: object) -> Prompt:
    raw = json.dumps({"role": "assistant", "content": content, "prefix": True}).encode()
    return Prompt(b"", (), (), (Message("assistant", raw, b"", b""),), prefill=True)


@pytest.mark.parametrize(
    ("message", "finish", "verdict"),
    [
        ({"content": "4"}, "stop", Verdict.COMPLETE),
        ({"content": "4", "tool_calls": []}, "stop", Verdict.COMPLETE),
        ({"content": None, "refusal": "No."}, "stop", Verdict.COMPLETE),
        ({"content": [{"type": "text", "text": "4"}]}, "stop", Verdict.COMPLETE),
        ({"content": None, "audio": {"id": "a1"}}, "stop", Verdict.COMPLETE),
        ({"content": "4"}, "eos", Verdict.COMPLETE),
        ({"content": "4"}, "tool_calls", Verdict.COMPLETE),
        ({"tool_calls": [CALL]}, "stop", Verdict.TOOL),
        ({"tool_calls": [CALL]}, "tool_calls", Verdict.TOOL),
        ({"tool_calls": [CUSTOM]}, "tool_calls", Verdict.TOOL),
        ({"tool_calls": [CALL]}, "eos", Verdict.TOOL),
        ({"function_call": CALL["function"]}, "function_call", Verdict.TOOL),
        ({"tool_calls": [CUT_CALL]}, "tool_calls", Verdict.ERROR),
        ({"tool_calls": [CALL, CUT_CALL]}, "stop", Verdict.ERROR),
        ({"content": "4"}, "length", Verdict.TRUNCATED),
        ({"content": "4", "tool_calls": [CALL]}, "length", Verdict.TRUNCATED),
        ({"content": "4", "tool_calls": [CUT_CALL]}, "length", Verdict.ERROR),
        ({"content": " \n"}, "length", Verdict.EMPTY),
        ({"content": None, "reasoning": "hm"}, "length", Verdict.EMPTY),
        ({"content": None, "tool_calls": [CALL]}, "length", Verdict.EMPTY),
        ({"content": "4"}, "content_filter", Verdict.FILTERED),
        ({"content": None}, "content_filter", Verdict.FILTERED),
        ({"content": "4"}, "error", Verdict.ERROR),
        ({"content": "4"}, "abort", Verdict.ERROR),
        ({"content": ""}, "stop", Verdict.EMPTY),
        ({"content": None, "reasoning_content": "hm"}, "stop", Verdict.EMPTY),
        ({}, "load", Verdict.EMPTY),
    ],
)
def test_verdicts(message: dict[str, object], finish: str, verdict: Verdict) -> None:
    for reply in both(message, finish):
        assert reply.verdict is verdict
        assert bool(reply.messages) == verdict.kept


def test_a_stream_without_a_finish_reason_was_cut() -> None:
    body = b'data: {"choices":[{"delta":{"content":"4"}}]}\n\n'
    for proved in (True, False):
        for end in (b"", b"data: [DONE]\n\n"):
            assert streamed(body + end, proved=proved).verdict is Verdict.ABORTED
    assert streamed(b"").verdict is Verdict.ABORTED


def test_a_stream_needs_done_only_if_its_framing_proves_nothing() -> None:
    body = b'data: {"choices":[{"delta":{"content":"4"},"finish_reason":"stop"}]}\n\n'
    assert streamed(body).verdict is Verdict.COMPLETE
    assert streamed(body, proved=False).verdict is Verdict.ABORTED
    assert streamed(body + b"data: [DONE]", proved=False).verdict is Verdict.COMPLETE


def test_json_proves_its_own_end() -> None:
    body = b'{"choices":[{"message":{"content":"4"},"finish_reason":"stop"}]}'
    assert completed(body, proved=False).verdict is Verdict.COMPLETE
    assert completed(body[:-1], proved=False).verdict is Verdict.ABORTED
    assert completed(body[:-1]).verdict is Verdict.ERROR
    assert completed(b"<html>").verdict is Verdict.ERROR


@pytest.mark.parametrize("finish", [7, []])
def test_json_with_an_odd_finish_reason_has_stopped(finish: object) -> None:
    assert both({"content": "4"}, finish)[0].verdict is Verdict.COMPLETE


def test_json_without_the_key_has_stopped_and_with_null_has_not() -> None:
    body = b'{"choices":[{"message":{"content":"4"}}]}'
    assert completed(body).verdict is Verdict.COMPLETE
    unfinished = b'{"choices":[{"message":{"content":"4"},"finish_reason":null}]}'
    assert completed(unfinished).verdict is Verdict.ABORTED


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b'{"error":{"message":"overloaded"},"choices":[]}', Verdict.ERROR),
        (b'{"error":null,"choices":[{"message":{"content":"4"}}]}', Verdict.COMPLETE),
        (b'{"choices":[]}', Verdict.EMPTY),
        (b'{"choices":[7,{"message":"4"}]}', Verdict.EMPTY),
        (b'{"choices":[{"message":null}]}', Verdict.EMPTY),
        (b"{}", Verdict.EMPTY),
        (b'{"choices":{}}', Verdict.ERROR),
        (b"[]", Verdict.ERROR),
        (b'{"choices":[{"message":{"content":"4","x":' + b"[" * 100_000, Verdict.ERROR),
    ],
)
def test_json_that_is_no_completion(body: bytes, verdict: Verdict) -> None:
    assert completed(body).verdict is verdict


def test_memory_keeps_the_choice_with_the_lowest_index() -> None:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": str(index)}}
        for index in (2, 0, 1)
    ]
    reply = completed(json.dumps({"choices": choices}).encode())
    assert json.loads(reply.messages[0].raw)["content"] == "0"


def test_a_message_that_can_be_sent_again_keeps_its_bytes() -> None:
    raw = b'{ "content": "\\u0034", "role": "assistant", "x": 1E400 }'
    reply = completed(b'{"choices":[ {"message": %b } ]}' % raw)
    assert reply.messages[0].raw == raw


SAID = b'{"role":"assistant","content":"4"}'
OTHER = b'{"role":"assistant","content":"5"}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"m\\u0065ssage":%b}],"usage":{"message":%b}}' % (SAID, OTHER),
        b'{"choices":[{"index":1,"message":%b},{"index":0,"m\\u0065ssage":%b}]}' % (OTHER, SAID),
        b'{"choices":[{"message":%b,"message":%b}]}' % (OTHER, SAID),
        b'{"note":"message","choices":[{"m\\u0065ssage":%b}]}' % SAID,
        b'{"choices":[{"message"\r\n\t :  %b }],"choices":[{"message":%b}]}' % (OTHER, SAID),
    ],
)
def test_the_message_is_the_one_that_json_says(body: bytes) -> None:
    reply = completed(body)
    assert json.loads(reply.messages[0].raw) == json.loads(SAID)


@pytest.mark.parametrize(
    "body", [b'{"choices":[{"message"::%b}]}', b'{"choices":[{"message" %b}]}', b'"message":%b']
)
def test_a_message_in_what_is_no_json_is_none(body: bytes) -> None:
    assert completed(body % SAID).verdict is Verdict.ERROR


def test_what_a_request_may_not_hold_is_dropped() -> None:
    assert stored(
        {
            "content_filter_results": {},
            "annotations": [{"type": "url_citation"}],
            "tool_calls": [{"index": 0, **CALL, "extra_content": {"a": 1}}],
            "content": "",
            "refusal": None,
            "function_call": None,
            "audio": {"id": "a1", "data": "x", "expires_at": 1, "transcript": "four"},
            "logprobs": {},
            "index": 0,
            "parsed": None,
            "reasoning_content": "",
            "reasoning_details": [{"type": "reasoning.text"}],
            "unknown": {"kept": True},
        },
        "tool_calls",
    ) == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{**CALL, "extra_content": {"a": 1}}],
        "audio": {"id": "a1"},
        "reasoning_content": "",
        "reasoning_details": [{"type": "reasoning.text"}],
        "unknown": {"kept": True},
    }


def test_an_empty_list_of_calls_is_dropped() -> None:
    """vLLM always sends one, and OpenAI refuses it in a request."""
    assert stored({"content": "4", "tool_calls": []}) == {"role": "assistant", "content": "4"}


def test_the_role_comes_first_and_is_the_assistants() -> None:
    for reply in both({"x": 1, "content": "4", "role": "system"}, "stop"):
        assert reply.messages[0].raw == b'{"role":"assistant","content":"4","x":1}'
        assert reply.messages[0].role == "assistant"


def test_content_that_is_missing_stays_missing_and_null_stays_null() -> None:
    assert "content" not in stored({"tool_calls": [CALL]})
    assert stored({"tool_calls": [CALL], "content": None})["content"] is None
    (odd,) = both({"tool_calls": [CALL], "content": 7}, "stop")[0].messages
    assert "content" not in json.loads(odd.raw)


def test_what_says_no_role_loses_nothing_else() -> None:
    """Content and one other field are as many as role and content."""
    said = {"content": "4", "reasoning_content": "2 + 2"}
    assert stored(said) == {"role": "assistant", **said}


def test_a_number_that_json_cannot_spell_is_never_stored() -> None:
    message = {"content": "NaN or Infinity?", "x": float("inf")}
    assert [reply.verdict for reply in both(message, "stop")] == [Verdict.ERROR] * 2
    assert stored({"content": "NaN or Infinity?"})["content"] == "NaN or Infinity?"


@pytest.mark.parametrize(
    ("began", "content", "whole"),
    [
        ("The answer is (", "B)", "The answer is (B)"),
        (None, "B)", "B)"),
        (
            [{"type": "text", "text": "("}],
            "B)",
            [{"type": "text", "text": "("}, {"type": "text", "text": "B)"}],
        ),
        (
            "(",
            [{"type": "text", "text": "B)"}],
            [{"type": "text", "text": "("}, {"type": "text", "text": "B)"}],
        ),
    ],
)
def test_a_prefill_and_its_continuation_are_one_message(
    began: object, content: object, whole: object
) -> None:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    reply = completed(json.dumps({"choices": [choice]}).encode(), prompt=prefilled(began))
    assert [json.loads(message.raw) for message in reply.messages] == [
        {"role": "assistant", "content": whole}
    ]


def test_a_prefill_that_is_not_continued_is_empty() -> None:
    body = b'{"choices":[{"message":{"content":""}}]}'
    assert completed(body, prompt=prefilled("(")).verdict is Verdict.EMPTY


def test_an_unknown_finish_reason_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        both({"content": "the text"}, "eos")
    assert "'eos'" in caplog.text
    assert "the text" not in caplog.text

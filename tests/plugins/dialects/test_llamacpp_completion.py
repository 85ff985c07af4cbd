"""The llama.cpp server's own completions, as a real one answered them."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.raw_texts import HELLO, Recorded, prompt_of, said

from backstory.model import Answer, Prompt, Remedy, Verdict
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.llamacpp_completion import LlamaCppCompletion

RECORDED = Recorded("llamacpp.completion")
LLAMA = LlamaCppCompletion()
NOTHING = Prompt(b"", (), (), ())


def whole(**fields: object) -> Answer:
    return Answer(200, "application/json", json.dumps({"content": "4"} | fields).encode(), True)


def streamed(*events: dict[str, object], proved: bool = True) -> Answer:
    body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    return Answer(200, "text/event-stream", body, proved)


def verdict(answer: Answer) -> Verdict:
    return LLAMA.read_reply(NOTHING, answer).verdict


class TestLlamaCppCompletion(DialectContract):
    wraps_every_prompt = True

    @pytest.fixture
    def dialect(self) -> Dialect:
        return LlamaCppCompletion()

    @pytest.fixture
    def request_body(self) -> bytes:
        return RECORDED.body("request.json")

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        return [RECORDED.answer(name) for name in ["reply.sse", "reply.json", "older.json"]]


def test_history_is_told_inside_the_prompt_and_every_other_byte_stays() -> None:
    prompt = prompt_of(LLAMA, RECORDED.body("request.json"))
    assert LLAMA.inject(prompt, (), HELLO) == RECORDED.body("injected.json")
    assert (prompt.reply_tokens, prompt.auxiliary) == (64, False)


@pytest.mark.parametrize(
    "prompt",
    [
        "null",
        "[1,2]",
        '["a"]',
        '["a",1]',
        '{"prompt_string":"a","multimodal_data":["x"]}',
        '"a","prompt":"b"',
    ],
)
def test_the_prompt_must_be_one_string(prompt: str) -> None:
    assert LLAMA.read_prompt(f'{{"prompt":{prompt}}}'.encode()) is None


@pytest.mark.parametrize(
    ("limit", "auxiliary", "reply_tokens"),
    [
        ('"n_predict":0', True, None),
        ('"n_predict":1', True, 1),
        ('"max_tokens":1', True, 1),
        ('"n_predict":-1', False, None),
        ('"n_predict":9', False, 9),
    ],
)
def test_one_token_is_housekeeping(limit: str, auxiliary: bool, reply_tokens: int | None) -> None:
    prompt = prompt_of(LLAMA, f'{{"prompt":"a",{limit}}}'.encode())
    assert (prompt.auxiliary, prompt.reply_tokens) == (auxiliary, reply_tokens)


@pytest.mark.parametrize(
    ("name", "expected", "text", "tokens"),
    [
        ("reply.sse", Verdict.COMPLETE, "2+2 = 4", 13),
        ("reply.json", Verdict.COMPLETE, "2+2 = 4", 13),
        ("limit.json", Verdict.TRUNCATED, "2+2", 13),
        ("older.json", Verdict.COMPLETE, " It is 4 — четыре.", 21),
    ],
)
def test_what_a_server_answered(name: str, expected: Verdict, text: str, tokens: int) -> None:
    reply = LLAMA.read_reply(NOTHING, RECORDED.answer(name))
    assert (reply.verdict, reply.prompt_tokens) == (expected, tokens)
    assert said(reply.messages) == [("assistant", text)]


VERDICTS: list[tuple[dict[str, object], Verdict]] = [
    ({"stop_type": "eos"}, Verdict.COMPLETE),
    ({"stop_type": "word"}, Verdict.COMPLETE),
    ({"stop_type": "limit"}, Verdict.TRUNCATED),
    ({"stop_type": "none"}, Verdict.ABORTED),
    ({"stop_type": "else"}, Verdict.UNPROVED),
    ({"stop_type": "eos", "truncated": True}, Verdict.TRUNCATED),
    ({"stop_type": "none", "truncated": True}, Verdict.ABORTED),
    ({"stopped_eos": True, "stopped_limit": False, "stopped_word": False}, Verdict.COMPLETE),
    ({"stopped_eos": False, "stopped_limit": False, "stopped_word": True}, Verdict.COMPLETE),
    ({"stopped_eos": False, "stopped_limit": True, "stopped_word": False}, Verdict.TRUNCATED),
    ({"stopped_eos": False, "stopped_limit": False, "stopped_word": False}, Verdict.ABORTED),
    ({}, Verdict.UNPROVED),
]


@pytest.mark.parametrize(("fields", "expected"), VERDICTS, ids=repr)
def test_verdicts_on_how_it_stopped(fields: dict[str, object], expected: Verdict) -> None:
    assert verdict(whole(stop=True, **fields)) is expected
    first: dict[str, object] = {"content": "4", "stop": False}
    last: dict[str, object] = {"content": "", "stop": True} | fields
    assert verdict(streamed(first, last, proved=False)) is expected


def test_fields_that_the_client_does_not_want_may_be_those_that_prove_the_end() -> None:
    assert verdict(whole()) is Verdict.UNPROVED
    assert verdict(whole(stop_type="eos")) is Verdict.COMPLETE
    assert verdict(streamed({"content": "4", "stop": False}, {"content": ""})) is Verdict.ABORTED


def test_other_verdicts() -> None:
    for proved in (True, False):
        assert verdict(RECORDED.answer("cut.sse", proved=proved)) is Verdict.ABORTED
        assert verdict(RECORDED.answer("error.sse", proved=proved)) is Verdict.ERROR
    assert verdict(RECORDED.answer("error.json")) is Verdict.ERROR
    assert verdict(whole(stop=False, stop_type="eos")) is Verdict.ABORTED
    assert verdict(whole(stop=True, stop_type="eos", content=" ")) is Verdict.EMPTY
    assert verdict(whole(stop=True, stop_type="eos", content=7)) is Verdict.EMPTY
    error: dict[str, object] = {"error": {"code": 500}}
    last: dict[str, object] = {"content": "4", "stop": True, "stop_type": "eos"}
    assert verdict(streamed(last, error)) is Verdict.ERROR
    assert verdict(streamed(last)) is Verdict.COMPLETE


def test_of_several_replies_the_first_is_kept() -> None:
    first: dict[str, object] = {"index": 0, "content": "a", "stop": False}
    second: dict[str, object] = {"index": 1, "content": "b", "stop": True, "stop_type": "limit"}
    last: dict[str, object] = {"index": 0, "content": "c", "stop": True, "stop_type": "eos"}
    reply = LLAMA.read_reply(NOTHING, streamed(first, second, last))
    assert (reply.verdict, said(reply.messages)) == (Verdict.COMPLETE, [("assistant", "ac")])
    body = json.dumps([last, second]).encode()
    both = LLAMA.read_reply(NOTHING, Answer(200, "application/json", body, True))
    assert said(both.messages) == [("assistant", "c")]


def test_pings_and_done_are_no_part_of_the_reply() -> None:
    body = b": ping\n\n" + RECORDED.body("reply.sse") + b"data: [DONE]\n\n"
    reply = LLAMA.read_reply(NOTHING, Answer(200, "text/event-stream", body, False))
    assert said(reply.messages) == [("assistant", "2+2 = 4")]


def test_only_the_key_of_the_last_event_is_the_marker() -> None:
    marker = LLAMA.end_marker("text/event-stream")
    assert marker is not None
    assert marker.top_level
    assert RECORDED.body("reply.sse").count(b'"stop":true') == 1
    assert LLAMA.end_marker("application/json") is None


def test_a_refusal_for_its_length_may_be_helped() -> None:
    body = b'{"error":{"code":400,"message":"request (3001 tokens) exceeds the available context size (2048 tokens), try increasing it","type":"exceed_context_size_error"}}'
    assert LLAMA.remedy(Answer(400, "application/json", body, True)) is Remedy.LESS_HISTORY


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "authentication_error"),
        (409, "invalid_request_error"),
        (502, "server_error"),
        (503, "unavailable_error"),
    ],
)
def test_errors_are_those_of_the_server(status: int, kind: str) -> None:
    media_type, body = LLAMA.error_body(status, "code", "No.")
    assert media_type == "application/json"
    assert json.loads(body)["error"] == {"code": status, "message": "No.", "type": kind}
    assert LLAMA.error_event("code", "No.").startswith(b'data: {"error":{"code":500,')


@given(st.binary(), st.booleans(), st.sampled_from(["text/event-stream", "application/json"]))
def test_any_bytes_have_a_verdict(body: bytes, proved: bool, media_type: str) -> None:
    reply = LLAMA.read_reply(NOTHING, Answer(200, media_type, body, proved))
    assert bool(reply.messages) == reply.verdict.kept

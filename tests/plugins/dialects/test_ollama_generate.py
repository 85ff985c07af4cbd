"""Ollama's raw prompt: lines of JSON by default, and a memory of its own that is left alone."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.raw_texts import HELLO, Recorded, prompt_of, said

from backstory.model import Answer, Prompt, Verdict
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.ollama_generate import OllamaGenerate

RECORDED = Recorded("ollama.generate")
OLLAMA = OllamaGenerate()
NOTHING = Prompt(b"", (), (), ())


def read(fields: str) -> Prompt | None:
    return OLLAMA.read_prompt(f'{{"model":"m",{fields}}}'.encode())


def whole(**fields: object) -> Answer:
    value = {"response": "4", "done": True} | fields
    return Answer(200, "application/json", json.dumps(value).encode(), True)


def lines(*pieces: dict[str, object], proved: bool = True) -> Answer:
    body = b"".join(json.dumps(piece).encode() + b"\n" for piece in pieces)
    return Answer(200, "application/x-ndjson", body, proved)


def verdict(answer: Answer) -> Verdict:
    return OLLAMA.read_reply(NOTHING, answer).verdict


class TestOllamaGenerate(DialectContract):
    wraps_every_prompt = True

    @pytest.fixture
    def dialect(self) -> Dialect:
        return OllamaGenerate()

    @pytest.fixture
    def request_body(self) -> bytes:
        return RECORDED.body("request.json")

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        names = ["reply.ndjson", "thinking.ndjson", "older.ndjson", "reply.json"]
        return [RECORDED.answer(name) for name in names]


def test_history_is_told_inside_the_prompt_and_every_other_byte_stays() -> None:
    prompt = prompt_of(OLLAMA, RECORDED.body("request.json"))
    assert OLLAMA.inject(prompt, (), HELLO) == RECORDED.body("injected.json")
    assert (prompt.model, prompt.reply_tokens) == ("llama3.2", 64)


@pytest.mark.parametrize(
    "fields",
    [
        '"system":"load me"',
        '"prompt":""',
        '"prompt":null',
        '"prompt":["a"]',
        '"prompt":"a","prompt":"b"',
        '"prompt":"a","context":[1,2]',
        '"prompt":"a","context":[1],"context":[]',
        '"prompt":"a","suffix":"b"',
        '"prompt":"a","raw":true,"system":"s"',
        '"prompt":"a","raw":true,"template":"t"',
        '"prompt":"a","raw":true,"context":[1]',
        '"messages":[]',
    ],
)
def test_loading_infill_and_a_memory_of_the_client_s_own_are_not_read(fields: str) -> None:
    assert read(fields) is None


@pytest.mark.parametrize(
    "fields",
    ['"raw":true', '"context":[]', '"context":null', '"suffix":""', '"raw":false,"system":"s"'],
)
def test_what_says_nothing_is_no_reason(fields: str) -> None:
    assert read('"prompt":"a",' + fields) is not None


@pytest.mark.parametrize(
    ("options", "auxiliary", "reply_tokens"),
    [
        ('{"num_predict":1}', True, 1),
        ('{"num_predict":0}', True, None),
        ('{"num_predict":-1}', False, None),
        ('{"num_predict":-2}', False, None),
        ('{"num_predict":9}', False, 9),
        ("null", False, None),
        ("[1]", False, None),
    ],
)
def test_one_token_is_housekeeping(options: str, auxiliary: bool, reply_tokens: int | None) -> None:
    prompt = read(f'"prompt":"a","options":{options}')
    assert prompt is not None
    assert (prompt.auxiliary, prompt.reply_tokens) == (auxiliary, reply_tokens)


def test_a_system_prompt_and_images_fill_the_context() -> None:
    bare = read('"prompt":"a"')
    full = read('"prompt":"a","system":"\\ud800","images":["' + "A" * 90_000 + '","B"]')
    assert bare is not None
    assert full is not None
    assert bare.fixed_tokens == 0
    assert 3000 < full.fixed_tokens < 3100


@pytest.mark.parametrize(
    ("name", "expected", "text"),
    [
        ("reply.ndjson", Verdict.COMPLETE, 'It says "done":true —\u2028 четыре.'),
        ("thinking.ndjson", Verdict.TRUNCATED, "4."),
        ("reply.json", Verdict.COMPLETE, "It is 4 — четыре."),
        ("older.ndjson", Verdict.COMPLETE, "It is 4."),
    ],
)
def test_what_a_server_answers(name: str, expected: Verdict, text: str) -> None:
    reply = OLLAMA.read_reply(NOTHING, RECORDED.answer(name))
    assert (reply.verdict, reply.prompt_tokens) == (expected, 33)
    assert said(reply.messages) == [("assistant", text)]


VERDICTS: list[tuple[dict[str, object], Verdict]] = [
    ({"done_reason": "stop"}, Verdict.COMPLETE),
    ({"done_reason": "length"}, Verdict.TRUNCATED),
    ({"done_reason": "load"}, Verdict.EMPTY),
    ({"done_reason": "unload"}, Verdict.EMPTY),
    ({"done_reason": "bored"}, Verdict.COMPLETE),
    ({"done_reason": 7}, Verdict.ABORTED),
    ({}, Verdict.ABORTED),
    ({"eval_count": 0}, Verdict.ABORTED),
    ({"eval_count": 3}, Verdict.COMPLETE),
    ({"eval_count": True}, Verdict.ABORTED),
    ({"done_reason": "", "eval_count": 3}, Verdict.COMPLETE),
    ({"done_reason": "", "eval_count": 0}, Verdict.ABORTED),
    ({"done_reason": "stop", "done": False}, Verdict.ABORTED),
    ({"done_reason": "stop", "error": "gone"}, Verdict.ERROR),
]


@pytest.mark.parametrize(("fields", "expected"), VERDICTS, ids=repr)
def test_verdicts(fields: dict[str, object], expected: Verdict) -> None:
    assert verdict(whole(**fields)) is expected
    first: dict[str, object] = {"response": "4", "done": False}
    last: dict[str, object] = {"response": "", "done": True} | fields
    assert verdict(lines(first, last, proved=False)) is expected


def test_verdicts_on_what_is_not_whole() -> None:
    for proved in (True, False):
        assert verdict(RECORDED.answer("cut.ndjson", proved=proved)) is Verdict.ABORTED
        assert verdict(RECORDED.answer("error.ndjson", proved=proved)) is Verdict.ERROR
    assert verdict(RECORDED.answer("load.json")) is Verdict.EMPTY
    assert verdict(whole(response="", done_reason="stop")) is Verdict.EMPTY
    assert verdict(whole(response="", eval_count=3)) is Verdict.ABORTED
    assert verdict(Answer(200, "application/json", b"x", True)) is Verdict.ERROR
    assert verdict(Answer(200, "application/json", b'{"resp', False)) is Verdict.ABORTED
    broken = lines({"response": "4", "done": True, "done_reason": "stop"})
    assert verdict(broken._replace(body=b"x\n" + broken.body)) is Verdict.ERROR


def test_only_a_stream_of_lines_has_a_marker() -> None:
    marker = OLLAMA.end_marker("application/x-ndjson")
    assert marker is not None
    assert marker.top_level
    assert RECORDED.body("reply.ndjson").count(b'"done":true') == 1
    assert OLLAMA.end_marker("application/json") is None


def test_errors_are_those_of_ollama() -> None:
    assert OLLAMA.error_body(503, "draining", "Gone.") == (
        "application/json",
        b'{"error":"Gone."}',
    )
    assert OLLAMA.error_event("draining", "Gone.") == b'{"error":"Gone."}\n'


@given(st.binary(), st.booleans(), st.sampled_from(["application/x-ndjson", "application/json"]))
def test_any_bytes_have_a_verdict(body: bytes, proved: bool, media_type: str) -> None:
    reply = OLLAMA.read_reply(NOTHING, Answer(200, media_type, body, proved))
    assert bool(reply.messages) == reply.verdict.kept

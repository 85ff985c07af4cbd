"""OpenAI's legacy Completions, in the spellings of several servers."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.raw_texts import HELLO, Recorded, prompt_of, said

from backstory.model import Answer, Prompt, Verdict
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.openai_completions import OpenAICompletions

RECORDED = Recorded("openai.completions")
COMPLETIONS = OpenAICompletions()
NOTHING = Prompt(b"", (), (), ())


def read(fields: str) -> Prompt | None:
    return COMPLETIONS.read_prompt(f'{{"model":"m",{fields}}}'.encode())


def verdict(answer: Answer) -> Verdict:
    return COMPLETIONS.read_reply(NOTHING, answer).verdict


def told(name: str) -> list[tuple[str, str]]:
    reply = COMPLETIONS.read_reply(NOTHING, RECORDED.answer(name))
    assert reply.verdict.kept
    return said(reply.messages)


class TestOpenAICompletions(DialectContract):
    wraps_every_prompt = True

    @pytest.fixture
    def dialect(self) -> Dialect:
        return OpenAICompletions()

    @pytest.fixture
    def request_body(self) -> bytes:
        return RECORDED.body("request.json")

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        names = ["reply.json", "reply.sse", "vllm_two.sse"]
        return [RECORDED.answer(name) for name in names]


def test_history_is_told_inside_the_prompt_and_every_other_byte_stays() -> None:
    prompt = prompt_of(COMPLETIONS, RECORDED.body("request.json"))
    assert COMPLETIONS.inject(prompt, (), HELLO) == RECORDED.body("injected.json")
    assert (prompt.model, prompt.reply_tokens) == ("gpt-3.5-turbo-instruct", 64)


def test_an_array_of_one_string_stays_an_array() -> None:
    body = b'{"prompt": [ "What is 2+2?" ] , "max_tokens": 7}'
    told = COMPLETIONS.inject(prompt_of(COMPLETIONS, body), (), HELLO)
    assert told == body.replace(
        b"What is 2+2?", rb"Human: Hi, I am Ada.\nAI: Hello Ada!\nHuman: What is 2+2?\nAI: "
    )


def test_another_template() -> None:
    chatml = OpenAICompletions(
        human="<|im_start|>user\n", ai="<|im_start|>assistant\n", end="<|im_end|>\n"
    )
    body = chatml.inject(prompt_of(chatml, b'{"prompt":"So?"}'), (), HELLO[:1])
    assert json.loads(body)["prompt"] == (
        "<|im_start|>user\nHi, I am Ada.<|im_end|>\n"
        "<|im_start|>user\nSo?<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    "fields",
    [
        '"prompt":null',
        '"prompt":7',
        '"prompt":{}',
        '"prompt":[]',
        '"prompt":["a","b"]',
        '"prompt":[1,2]',
        '"prompt":[[1,2]]',
        '"prompt":["a"],"prompt":"a"',
        '"prompt":"a","prompt":"a"',
        '"prompt":"a","suffix":"b"',
        '"prompt":"a","suffix":"b","suffix":null',
        '"prompt":"a","echo":true',
        '"messages":[]',
    ],
)
def test_batches_tokens_infill_and_echo_are_not_read(fields: str) -> None:
    assert read(fields) is None


@pytest.mark.parametrize("fields", ['"suffix":null', '"suffix":""', '"echo":false', '"echo":null'])
def test_what_asks_for_nothing_is_no_reason(fields: str) -> None:
    assert read('"prompt":"a",' + fields) is not None


@pytest.mark.parametrize(
    ("limit", "auxiliary", "reply_tokens"),
    [("1", True, 1), ("0", True, None), ("16", False, 16), ("null", False, None)],
)
def test_one_token_is_housekeeping(limit: str, auxiliary: bool, reply_tokens: int | None) -> None:
    prompt = read(f'"prompt":"a","max_tokens":{limit}')
    assert prompt is not None
    assert (prompt.auxiliary, prompt.reply_tokens) == (auxiliary, reply_tokens)


def test_the_text_of_a_stream_is_that_of_choice_0() -> None:
    assert told("reply.sse") == [("assistant", " It is\u2028 4 — четыре.")]
    assert told("vllm_two.sse") == [("assistant", " It is 4.")]
    assert told("llamacpp.sse") == [("assistant", "2+2 = 4\n\n")]


def test_the_text_of_an_object_is_that_of_the_lowest_choice() -> None:
    assert told("reply.json") == [("assistant", " Two\u2028plus two is 4 — четыре.")]
    body = (
        b'{"choices":[{"index":1,"text":"b","finish_reason":"stop"},7,'
        b'{"index":0,"text":"a","finish_reason":"stop"}]}'
    )
    reply = COMPLETIONS.read_reply(NOTHING, Answer(200, "application/json", body, True))
    assert said(reply.messages) == [("assistant", "a")]


@pytest.mark.parametrize("name", ["reply.json", "reply.sse"])
def test_the_tokens_of_the_prompt_are_counted_by_the_upstream(name: str) -> None:
    assert COMPLETIONS.read_reply(NOTHING, RECORDED.answer(name)).prompt_tokens == 21


FINISH = [
    ('"stop"', Verdict.COMPLETE),
    ('"length"', Verdict.TRUNCATED),
    ('"content_filter"', Verdict.FILTERED),
    ('"error"', Verdict.ERROR),
    ('"abort"', Verdict.ERROR),
    ('"eos"', Verdict.COMPLETE),
    ("null", Verdict.ABORTED),
    ("7", Verdict.ABORTED),
]


@pytest.mark.parametrize(("finish", "expected"), FINISH)
def test_verdicts_on_a_finish_reason(finish: str, expected: Verdict) -> None:
    body = f'{{"choices":[{{"text":"4","index":0,"finish_reason":{finish}}}]}}'.encode()
    assert verdict(Answer(200, "application/json", body, True)) is expected
    stream = b"data: " + body + b"\n\ndata: [DONE]\n\n"
    assert verdict(Answer(200, "text/event-stream", stream, False)) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"choices":[{"text":"4"}]}', Verdict.COMPLETE),
        (b'{"choices":[{"text":" \\n","finish_reason":"stop"}]}', Verdict.EMPTY),
        (b'{"choices":[{"text":"","finish_reason":"length"}]}', Verdict.EMPTY),
        (b'{"choices":[{"finish_reason":"stop"}]}', Verdict.EMPTY),
        (b'{"choices":[]}', Verdict.ERROR),
        (b'{"choices":{}}', Verdict.ERROR),
        (b'{"content":"llama.cpp\'s own /completions","stop":true}', Verdict.ERROR),
        (b'{"choices":[{"text":"4"}],"error":{"message":"x"}}', Verdict.ERROR),
        (b"not json", Verdict.ERROR),
        (b"[" * 100_000, Verdict.ERROR),
    ],
)
def test_verdicts_on_an_object(body: bytes, expected: Verdict) -> None:
    assert verdict(Answer(200, "application/json", body, True)) is expected


def test_verdicts_on_a_stream() -> None:
    for proved in (True, False):
        assert verdict(RECORDED.answer("cut.sse", proved=proved)) is Verdict.ABORTED
        assert verdict(RECORDED.answer("error.sse", proved=proved)) is Verdict.ERROR
    assert verdict(RECORDED.answer("error.json")) is Verdict.ERROR
    unfinished = RECORDED.body("reply.sse").replace(b'"stop"', b"null")
    assert verdict(Answer(200, "text/event-stream", unfinished, True)) is Verdict.ABORTED
    without_done = RECORDED.body("reply.sse").removesuffix(b"data: [DONE]\n\n")
    assert verdict(Answer(200, "text/event-stream", without_done, True)) is Verdict.COMPLETE
    assert verdict(Answer(200, "text/event-stream", without_done, False)) is Verdict.ABORTED


def test_what_the_model_wrote_for_the_user_is_stored_unless_cut() -> None:
    body = b'{"choices":[{"text":"4\\nHuman: And?\\nAI: 5","finish_reason":"length"}]}'
    answer = Answer(200, "application/json", body, True)
    kept = COMPLETIONS.read_reply(NOTHING, answer)
    cut = OpenAICompletions(cut_at_human=True).read_reply(NOTHING, answer)
    assert said(kept.messages) == [("assistant", "4\nHuman: And?\nAI: 5")]
    assert (cut.verdict, said(cut.messages)) == (Verdict.TRUNCATED, [("assistant", "4")])


def test_errors_are_those_of_openai() -> None:
    media_type, body = COMPLETIONS.error_body(409, "conversation_busy", "Wait.")
    assert (media_type, json.loads(body)["error"]) == (
        "application/json",
        {"message": "Wait.", "type": "conflict_error", "param": None, "code": "conversation_busy"},
    )
    assert COMPLETIONS.error_event("draining", "Gone").startswith(b'data: {"error":{')


def test_only_an_event_stream_has_a_marker() -> None:
    marker = COMPLETIONS.end_marker("text/event-stream")
    assert marker is not None
    assert marker.line_start
    assert COMPLETIONS.end_marker("application/json") is None


@given(st.binary(), st.booleans(), st.sampled_from(["text/event-stream", "application/json"]))
def test_any_bytes_have_a_verdict(body: bytes, proved: bool, media_type: str) -> None:
    reply = COMPLETIONS.read_reply(NOTHING, Answer(200, media_type, body, proved))
    assert bool(reply.messages) == reply.verdict.kept

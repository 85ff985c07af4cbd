"""Text Generation Inference: whole answers, streams, and a prompt that comes back."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.raw_texts import HELLO, Recorded, prompt_of, said

from backstory.model import Answer, Prompt, Reply, Verdict
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.tgi import Tgi

RECORDED = Recorded("tgi")
TGI = Tgi()
NOTHING = Prompt(b"", (), (), ())
FORWARDED = RECORDED.body("injected.json")


def stream(*events: str, proved: bool = True) -> Answer:
    body = "".join(f"data:{event}\n\n" for event in events).encode()
    return Answer(200, "text/event-stream", body, proved)


def last(text: str, details: str) -> str:
    spelled = json.dumps(text)
    return f'{{"index":2,"token":{{"text":"x"}},"generated_text":{spelled},"details":{details}}}'


def verdict(answer: Answer) -> Verdict:
    return TGI.read_reply(NOTHING, answer).verdict


class TestTgi(DialectContract):
    wraps_every_prompt = True

    @pytest.fixture
    def dialect(self) -> Dialect:
        return Tgi()

    @pytest.fixture
    def request_body(self) -> bytes:
        return RECORDED.body("request.json")

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        names = ["reply.json", "compat.json", "reply.sse", "length.sse", "no_details.sse"]
        return [RECORDED.answer(name) for name in names]


def test_history_is_told_inside_the_inputs_and_every_other_byte_stays() -> None:
    prompt = prompt_of(TGI, RECORDED.body("request.json"))
    assert TGI.inject(prompt, (), HELLO) == FORWARDED
    assert (prompt.reply_tokens, prompt.auxiliary) == (64, False)


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs":["a"]}',
        b'{"inputs":null}',
        b'{"inputs":"a","inputs":"b"}',
        b'{"inputs":[{"type":"text","content":"a"}]}',
        b'{"prompt":"a"}',
    ],
)
def test_inputs_must_be_one_string(body: bytes) -> None:
    assert TGI.read_prompt(body) is None


@pytest.mark.parametrize(
    ("parameters", "auxiliary"),
    [
        ('{"max_new_tokens":1}', True),
        ('{"max_new_tokens":2}', False),
        ("{}", False),
        ("null", False),
        ("[1]", False),
        ('{"max_new_tokens":2},"parameters":{"max_new_tokens":0}', True),
    ],
)
def test_one_token_is_housekeeping(parameters: str, auxiliary: bool) -> None:
    body = f'{{"inputs":"a","parameters":{parameters}}}'.encode()
    assert prompt_of(TGI, body).auxiliary is auxiliary


def test_the_reply_of_a_stream_is_the_whole_text_of_its_last_event() -> None:
    """Not the tokens joined: a special one would leak in."""
    reply = TGI.read_reply(NOTHING, RECORDED.answer("reply.sse"))
    assert said(reply.messages) == [("assistant", ' It says "generated_text":"x" —\u2028 четыре')]
    assert reply.prompt_tokens == 21


def test_the_reply_of_an_answer() -> None:
    for name, text in (
        ("reply.json", " It is 4 — четыре.\u2028Really."),
        ("compat.json", " It is 4."),
    ):
        reply = TGI.read_reply(NOTHING, RECORDED.answer(name))
        assert said(reply.messages) == [("assistant", text)]


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ('{"finish_reason":"eos_token"}', Verdict.COMPLETE),
        ('{"finish_reason":"stop_sequence"}', Verdict.COMPLETE),
        ('{"finish_reason":"length"}', Verdict.TRUNCATED),
        ('{"finish_reason":"tired"}', Verdict.COMPLETE),
        ('{"finish_reason":null}', Verdict.COMPLETE),
        ('{"finish_reason":7}', Verdict.ABORTED),
        ("{}", Verdict.COMPLETE),
        ("null", Verdict.COMPLETE),
    ],
)
def test_verdicts_on_a_finish_reason(details: str, expected: Verdict) -> None:
    event = last("4", details)
    assert verdict(stream(event, proved=False)) is expected
    assert verdict(Answer(200, "application/json", event.encode(), True)) is expected


@pytest.mark.parametrize(
    "kind", ["generation", "overloaded", "validation", "incomplete_generation"]
)
def test_an_error_counts_wherever_it_stands(kind: str) -> None:
    error, done = f'{{"error":"x","error_type":"{kind}"}}', last("4", "null")
    assert verdict(stream(error)) is Verdict.ERROR
    assert verdict(stream(error, done)) is Verdict.ERROR
    assert verdict(stream(done, error)) is Verdict.ERROR
    assert verdict(Answer(200, "application/json", error.encode(), True)) is Verdict.ERROR


def test_verdicts_on_what_is_not_whole() -> None:
    for proved in (True, False):
        assert verdict(RECORDED.answer("cut.sse", proved=proved)) is Verdict.ABORTED
        assert verdict(RECORDED.answer("error.sse", proved=proved)) is Verdict.ERROR
    assert verdict(RECORDED.answer("error.json")) is Verdict.ERROR
    assert verdict(stream()) is Verdict.ABORTED
    assert verdict(stream(last(" ", "null"))) is Verdict.EMPTY
    assert verdict(Answer(200, "application/json", b'{"x":1}', True)) is Verdict.ERROR
    assert verdict(Answer(200, "application/json", b"[]", True)) is Verdict.ERROR
    assert verdict(Answer(200, "application/json", b'[{"gen', False)) is Verdict.ABORTED


FULL = b'{"inputs":"What is 2+2?","parameters":{"return_full_text":true}}'


def with_full_text(text: str, request: bytes, asked: bytes = FULL) -> Reply:
    body = json.dumps({"generated_text": text}).encode()
    prompt = prompt_of(TGI, asked)
    return TGI.read_reply(prompt, Answer(200, "application/json", body, True, request))


def test_a_prompt_that_comes_back_is_no_part_of_the_reply() -> None:
    prompt = prompt_of(TGI, FULL)
    reply = TGI.read_reply(prompt, RECORDED.answer("full_text.json", request=FORWARDED))
    assert said(reply.messages) == [("assistant", "It is 4.")]
    forwarded = json.loads(FORWARDED)["inputs"]
    event = last(forwarded + "It is 4.", "null")
    streamed = TGI.read_reply(prompt, stream(event)._replace(request=FORWARDED))
    assert streamed.messages == reply.messages
    assert with_full_text(forwarded, FORWARDED).verdict is Verdict.EMPTY
    assert said(with_full_text(forwarded * 2, FORWARDED).messages) == [("assistant", forwarded)]


@pytest.mark.parametrize("request_body", [b"", b"{", b"{}", b'{"inputs":7}', b'{"inputs":"b"}'])
def test_without_what_was_forwarded_such_a_reply_is_not_kept(request_body: bytes) -> None:
    assert with_full_text("Human: a\nAI: 4", request_body).verdict is Verdict.ERROR


@pytest.mark.parametrize(
    "asked",
    [
        b'{"inputs":"a","parameters":{"return_full_text":false}}',
        b'{"inputs":"a","parameters":{"return_full_text":null}}',
        b'{"inputs":"a","parameters":"return_full_text"}',
        b'{"inputs":"return_full_text"}',
    ],
)
def test_a_reply_is_not_searched_for_a_prompt_that_was_not_wanted(asked: bytes) -> None:
    assert said(with_full_text("a", b'{"inputs":"a"}', asked).messages) == [("assistant", "a")]


def test_only_the_key_of_a_last_event_is_the_marker() -> None:
    marker = TGI.end_marker("text/event-stream")
    assert marker is not None
    assert marker.top_level
    *others, end = RECORDED.body("reply.sse").removesuffix(b"\n\n").split(b"\n\n")
    assert [any(spelling in event for spelling in marker.spellings) for event in others] == [
        False for _ in others
    ]
    assert any(spelling in end for spelling in marker.spellings)
    assert TGI.end_marker("application/json") is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(422, "validation"), (503, "overloaded"), (409, "overloaded"), (401, "invalid_token")],
)
def test_errors_are_those_that_its_clients_know(status: int, kind: str) -> None:
    media_type, body = TGI.error_body(status, "invalid_token", "No.")
    assert media_type == "application/json"
    assert json.loads(body) == {"error": "No.", "error_type": kind}
    assert json.loads(TGI.error_event("c", "No.").removeprefix(b"data:")) == {
        "error": "No.",
        "error_type": "generation",
    }


@given(st.binary(), st.booleans(), st.sampled_from(["text/event-stream", "application/json"]))
def test_any_bytes_have_a_verdict(body: bytes, proved: bool, media_type: str) -> None:
    reply = TGI.read_reply(prompt_of(TGI, FULL), Answer(200, media_type, body, proved, body))
    assert bool(reply.messages) == reply.verdict.kept

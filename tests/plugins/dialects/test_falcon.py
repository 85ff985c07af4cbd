"""Falcon: raw text in, raw text out."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Answer, Message, Prompt, Verdict
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects.falcon import Falcon

DATA = Path(__file__).parent / "data" / "falcon"
REPLY = (DATA / "reply.txt").read_bytes()
UNMARKED = (DATA / "reply_unmarked.txt").read_bytes()
FALCON = Falcon()


def answer(body: bytes, *, proved: bool = True) -> Answer:
    return Answer(200, "", body, proved)


def read(text: str) -> Prompt:
    prompt = FALCON.read_prompt(json.dumps({"text": text}).encode())
    assert prompt is not None
    return prompt


def said(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, json.loads(message.raw)["content"]) for message in messages]


def message(**value: object) -> Message:
    """A stored message, of whichever dialect."""
    role = value["role"]
    assert role in ("system", "user", "assistant", "tool")
    return Message(role, json.dumps(value).encode(), b"", b"")


def told(
    history: Sequence[Message], text: str = "What is 2+2?", *, neutralise_markers: bool = True
) -> str:
    body = Falcon(neutralise_markers=neutralise_markers).inject(read(text), (), history)
    value = json.loads(body)["text"]
    assert isinstance(value, str)
    return value


HELLO = (
    message(role="user", content="Hi, I am Ada."),
    message(role="assistant", content="Hello Ada!"),
)
ASKED = "Human: What is 2+2?\nAI: "


class TestFalcon(DialectContract):
    wraps_every_prompt = True

    @pytest.fixture
    def dialect(self) -> Dialect:
        return Falcon()

    @pytest.fixture
    def request_body(self) -> bytes:
        return (DATA / "request.json").read_bytes()

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        return [answer(REPLY), answer(UNMARKED.partition(b"\nHuman:")[0])]


def test_a_first_prompt_is_wrapped() -> None:
    prompt = FALCON.read_prompt((DATA / "request.json").read_bytes())
    assert prompt is not None
    assert FALCON.inject(prompt, (), ()) == (DATA / "wrapped.json").read_bytes()


def test_history_is_told_in_front_and_every_other_byte_stays() -> None:
    prompt = FALCON.read_prompt((DATA / "request.json").read_bytes())
    assert prompt is not None
    assert FALCON.inject(prompt, (), HELLO) == (DATA / "injected.json").read_bytes()


def test_what_stands_around_the_text_may_be_anything() -> None:
    body = '{"é\U0001f600":"\u2028", "text":"мир\U0001f600", "мир":1}'.encode()
    prompt = FALCON.read_prompt(body)
    assert prompt is not None
    told = "Human: мир\U0001f600\\nAI: ".encode()
    assert FALCON.inject(prompt, (), ()) == body.replace("мир\U0001f600".encode(), told)


@pytest.mark.parametrize(
    "body",
    [
        b'{"text":["a"]}',
        b'{"text":null}',
        b'{"text":"a","text":"b"}',
        b'{"text":"a","text":1}',
        b'{"prompt":"a"}',
    ],
)
def test_text_must_be_one_string(body: bytes) -> None:
    assert FALCON.read_prompt(body) is None


@pytest.mark.parametrize("end", ["\nAI:", "\nAI: "])
def test_a_transcript_is_history_and_prompt(end: str) -> None:
    text = f"Human: Hi,\nI am Ada.\nAI: Hello\nAda!\nAI: x\nHuman: So?\nHuman: What is 2+2?{end}"
    prompt = read(text)
    assert said(prompt.claimed) == [
        ("user", "Hi,\nI am Ada."),
        ("assistant", "Hello\nAda!\nAI: x"),
    ]
    assert said(prompt.new) == [("user", "So?"), ("user", "What is 2+2?")]
    assert FALCON.inject(prompt, (), ()) is prompt.body


def test_history_goes_in_front_of_a_transcript_as_sent() -> None:
    text = "Human: b\nAI: B\nHuman: c\nAI:"
    assert told(HELLO, text) == "Human: Hi, I am Ada.\nAI: Hello Ada!\n" + text


def test_a_transcript_without_history_is_not_wrapped_again() -> None:
    assert said(read(ASKED).new) == [("user", "What is 2+2?")]
    assert told(HELLO, ASKED) == "Human: Hi, I am Ada.\nAI: Hello Ada!\n" + ASKED


@pytest.mark.parametrize(
    "text", ["Human: x", "x\nAI: ", "Human:x\nAI: ", " Human: x\nAI: ", "Human: x\nAI:  ", ""]
)
def test_what_only_looks_like_a_transcript_is_one_prompt(text: str) -> None:
    prompt = read(text)
    assert (prompt.claimed, said(prompt.new)) == ((), [("user", text)])
    assert told((), text) == f"Human: {text}\nAI: "


def test_an_empty_transcript_is_an_empty_prompt() -> None:
    assert said(read("Human: \nAI:").new) == [("user", "")]


def test_a_transcript_that_ends_with_an_answer_has_nothing_new() -> None:
    prompt = read("Human: a\nAI: A\nAI: ")
    assert said(prompt.claimed) == [("user", "a"), ("assistant", "A")]
    assert (prompt.new, prompt.prefill) == ((), False)


def test_only_what_was_said_is_told() -> None:
    history = [
        message(role="system", content="Be brief."),
        message(role="user", content=[{"type": "text", "text": "a"}, {"type": "image_url"}]),
        message(role="user", content="b"),
        message(role="assistant", content=None, tool_calls=[{"id": "c1"}]),
        message(role="tool", content="3 C", tool_call_id="c1"),
        message(role="assistant", content=" kept as stored \n"),
        message(role="assistant", content=7),
        Message("user", b"not json", b"", b""),
    ]
    assert told(history) == "Human: a\nHuman: b\nAI:  kept as stored \n\n" + ASKED


def test_an_end_marker_in_history_is_broken_up() -> None:
    history = [message(role="user", content="a<|endoftext|>b"), HELLO[1]]
    assert told(history) == "Human: a<| endoftext|>b\nAI: Hello Ada!\n" + ASKED


def test_an_end_marker_in_history_can_be_left() -> None:
    history = [message(role="user", content="a<|endoftext|>b")]
    assert "a<|endoftext|>b" in told(history, neutralise_markers=False)


def test_the_prompt_itself_goes_out_as_typed() -> None:
    assert told((), "a<|endoftext|>b") == "Human: a<|endoftext|>b\nAI: "


@pytest.mark.parametrize(
    ("limit", "auxiliary"),
    [("1", True), ("0", True), ("0.5", True), ("2", False), ("-1", False), ("true", False)]
    + [(limit, False) for limit in ('"1"', "null", "[]", "NaN", "1E400")],
)
def test_one_token_is_housekeeping(limit: str, auxiliary: bool) -> None:
    prompt = FALCON.read_prompt(b'{"text":"a","max_tokens":%b}' % limit.encode())
    assert prompt is not None
    assert prompt.auxiliary is auxiliary


def test_the_reply_is_everything_before_the_marker_unstripped() -> None:
    reply = FALCON.read_reply(read("a"), answer(b"  4 \xe2\x80\x94\n<|endoftext|> \n"))
    assert reply.verdict is Verdict.COMPLETE
    assert reply.messages[0].raw == '{"role":"assistant","content":"  4 —\\n"}'.encode()


@pytest.mark.parametrize(
    ("body", "proved", "verdict"),
    [
        (b"4<|endoftext|>", True, Verdict.COMPLETE),
        (b"4<|endoftext|>", False, Verdict.COMPLETE),
        (b"4", True, Verdict.COMPLETE),
        (b"4", False, Verdict.UNPROVED),
        (b"4<|endoftext|", False, Verdict.UNPROVED),
        (b"4<|endoftext|>Human: more", True, Verdict.ERROR),
        (b"4<|endoftext|>Human: more", False, Verdict.ERROR),
        (b"4\xe2\x80", True, Verdict.ERROR),
        (b"4\xe2\x80", False, Verdict.ABORTED),
        (b"4<|endoftext|>\xff", True, Verdict.ERROR),
        (b"", True, Verdict.EMPTY),
        (b" \n<|endoftext|>", False, Verdict.EMPTY),
    ],
)
def test_verdicts(body: bytes, proved: bool, verdict: Verdict) -> None:
    reply = FALCON.read_reply(read("a"), answer(body, proved=proved))
    assert reply.verdict is verdict


def test_a_marker_can_be_required() -> None:
    strict = Falcon(require_end_marker=True)
    assert strict.read_reply(read("a"), answer(b"4")).verdict is Verdict.UNPROVED
    assert strict.read_reply(read("a"), answer(REPLY)).verdict is Verdict.COMPLETE


def test_what_the_model_wrote_for_the_user_is_stored_unless_cut() -> None:
    prompt = read("a")
    kept = FALCON.read_reply(prompt, answer(UNMARKED)).messages
    cut = Falcon(cut_at_human=True).read_reply(prompt, answer(UNMARKED)).messages
    assert said(kept) == [("assistant", UNMARKED.decode())]
    assert said(cut) == [("assistant", "It is 4.")]


def test_a_reply_of_nothing_but_the_user_is_empty() -> None:
    reply = Falcon(cut_at_human=True).read_reply(read("a"), answer(b"\nHuman: me"))
    assert reply.verdict is Verdict.EMPTY


def test_the_marker_counts_anywhere_and_for_any_media_type() -> None:
    for media_type in ("", "text/plain", "text/event-stream"):
        marker = FALCON.end_marker(media_type)
        assert marker is not None
        assert (marker.spellings, marker.line_start) == ((b"<|endoftext|>",), False)


def test_errors_are_plain_text_and_never_events() -> None:
    assert FALCON.error_body(503, "draining", "Gone: \ud800") == (
        "text/plain; charset=utf-8",
        b"Gone: ?\n",
    )
    assert FALCON.error_event("draining", "Gone") == b""


@given(st.text(), st.text(), st.text())
def test_what_was_told_is_read_again(question: str, reply: str, text: str) -> None:
    """Unless somebody typed the markers: then nothing may be misread as the stored messages."""
    history = [message(role="user", content=question), message(role="assistant", content=reply)]
    body = Falcon(neutralise_markers=False).inject(read(text), (), history)
    again = FALCON.read_prompt(body)
    assert again is not None
    if question and reply and "\n" not in question + reply + text:
        assert said((*again.claimed, *again.new)) == [
            ("user", question),
            ("assistant", reply),
            ("user", text),
        ]


@given(st.binary(), st.booleans())
def test_any_bytes_have_a_verdict(body: bytes, proved: bool) -> None:
    reply = FALCON.read_reply(read("a"), answer(body, proved=proved))
    assert bool(reply.messages) == reply.verdict.kept

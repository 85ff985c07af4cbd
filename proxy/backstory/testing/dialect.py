"""What every dialect is held to, its bodies given.

A dialect's test class inherits this one, overrides the three fixtures, and so proves what the
proxy relies on whatever the API is: nothing that a stranger sends makes it raise, what the client
sent keeps its bytes, a cut answer is never taken for a whole one, and what was remembered can be
told again and is recognised when a client tells it.
"""

import json
from collections.abc import Iterator, Sequence

import pytest

from backstory.fingerprint import fingerprints
from backstory.jsonbody import Value, decode, dump, read_object, walk_object
from backstory.model import Answer, Message, Prompt, Reply, Role
from backstory.spi import Dialect
from backstory.transcripts import in_common

NOT_PROMPTS = (
    b"",
    b" ",
    b"{",
    b"[]",
    b"null",
    b"0",
    b'"text"',
    b"{}",
    b"{}}",
    b'{"a":}',
    b"\xff",
    b"\xef\xbb\xbf{}",
    b'{"a":"\xff"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
)
"""Bodies that no dialect takes for a prompt."""

ODD_TEXTS = (
    "",
    "Grüße, мир, 世界",
    "\U0001f600 beyond the basic plane",
    "\u2028\u2029\x85 line ends that are none",
    '"quotes" \\ and \\n \n\r\t controls \x00\x1f\x7f',
    "a lone surrogate \ud800",
    " blanks around ",
    "data: [DONE]\n\n",
    "<|endoftext|>",
    "Human: who?\nAI: me",
)
"""Texts that have broken somebody's proxy."""


class DialectContract:
    """Inherit it as ``class TestMine(DialectContract)``."""

    wraps_every_prompt = False
    """``inject`` changes the body even if there is nothing to tell."""
    marker_suffices = True
    """All of the answer stands before its end marker. If not, the end may be cut behind it."""

    @pytest.fixture
    def dialect(self) -> Dialect:
        """The dialect under test."""
        raise NotImplementedError

    @pytest.fixture
    def request_body(self) -> bytes:
        """A request with one new user message and no history, other fields around it."""
        raise NotImplementedError

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        """Whole answers of every form that the API has, each worth remembering, and proved."""
        raise NotImplementedError

    def test_the_name_fits_into_routes_and_headers(self, dialect: Dialect) -> None:
        assert dialect.name
        assert set(dialect.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")

    @pytest.mark.parametrize("body", NOT_PROMPTS, ids=lambda body: repr(body[:12]))
    def test_what_is_no_prompt_is_not_read(self, dialect: Dialect, body: bytes) -> None:
        assert dialect.read_prompt(body) is None

    def test_a_spoilt_prompt_is_not_read(self, dialect: Dialect, request_body: bytes) -> None:
        cut = request_body.rstrip()[:-1]
        for body in (b"\xef\xbb\xbf" + request_body, request_body + b"x", cut):
            assert dialect.read_prompt(body) is None

    def test_no_single_byte_makes_reading_or_injecting_raise(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        history = _read(dialect, request_body).new + _reply(dialect, answers[0]).messages
        for body in _mutations(request_body):
            prompt = dialect.read_prompt(body)
            if prompt is not None:
                dialect.inject(prompt, (), history)

    def test_a_prompt_is_one_new_message_with_its_facts(
        self, dialect: Dialect, request_body: bytes
    ) -> None:
        prompt = _read(dialect, request_body)
        assert prompt.body is request_body
        assert (prompt.claimed, prompt.prefill, prompt.auxiliary) == ((), False, False)
        (message,) = prompt.new
        assert message.role == "user"
        assert (len(message.fingerprint), len(message.spine)) == (32, 32)
        assert message.tokens > 0
        assert message.form == dialect.form
        assert json.loads(message.raw)

    def test_reading_depends_on_the_bytes_alone(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        prompt = _read(dialect, request_body)
        assert dialect.read_prompt(request_body) == prompt
        for answer in answers:
            assert dialect.read_reply(prompt, answer) == dialect.read_reply(prompt, answer)

    def test_what_is_known_of_a_body_changes_nothing(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        prompt = _read(dialect, request_body)
        for answer in answers:
            turn = prompt.new + _reply(dialect, answer).messages
            body = dialect.inject(prompt, (), turn)
            known = _read(dialect, body)
            for now in (body, dialect.inject(known, (), turn), *_mutations(body)):
                begun = known.begins and in_common(body, known.begins, now)
                assert dialect.read_prompt(now, begun) == dialect.read_prompt(now)

    def test_with_nothing_to_tell_the_body_stays(
        self, dialect: Dialect, request_body: bytes
    ) -> None:
        prompt = _read(dialect, request_body)
        body = dialect.inject(prompt, (), ())
        if self.wraps_every_prompt:
            again = _read(dialect, body)
            assert dialect.inject(again, (), ()) is again.body
        else:
            assert body is request_body

    def test_only_one_field_is_touched(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        prompt = _read(dialect, request_body)
        for answer in answers:
            history = prompt.new + _reply(dialect, answer).messages
            body = dialect.inject(prompt, (), history)
            before, after = _spelled(request_body), _spelled(body)
            assert [key for key, _ in before] == [key for key, _ in after]
            assert sum(old != new for old, new in zip(before, after, strict=True)) == 1

    def test_told_history_is_recognised(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        prompt = _read(dialect, request_body)
        for answer in answers:
            told = prompt.new + _reply(dialect, answer).messages
            again = _read(dialect, dialect.inject(prompt, (), told))
            assert _spines(again.claimed) == _spines(told)
            assert _spines(again.new) == _spines(prompt.new)

    @pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
    def test_any_text_can_be_told(self, dialect: Dialect, request_body: bytes, text: str) -> None:
        prompt = _read(dialect, request_body)
        history = [_chat("user", text), _chat("assistant", text)]
        body = dialect.inject(prompt, (), _in_form(dialect, history))
        assert json.loads(decode(body))
        assert dialect.read_prompt(body) is not None

    def test_what_another_dialect_stored_is_told_by_its_text(
        self, dialect: Dialect, request_body: bytes
    ) -> None:
        prompt = _read(dialect, request_body)
        theirs = [
            _foreign("user", b'{"role":"user","parts":[{"text":"What is "},{"text":"it?"}]}'),
            _foreign(
                "assistant", b'{"type":"call"}, {"content":[{"type":"text","text":"It is."}]}'
            ),
            _foreign("assistant", b'{"type":"call","arguments":"{}"}'),
            _foreign("tool", b'{"role":"tool","content":"result"}'),
        ]
        history = _in_form(dialect, theirs)
        assert [message.fingerprint for message in history] == [b"user", b"assistant"]
        assert all(message.form == dialect.form for message in history)
        body = dialect.inject(prompt, (), history)
        again = _read(dialect, body)
        said = [fingerprints(m.role, t)[1] for m, t in zip(history, TOLD, strict=True)]
        assert _spines(again.claimed) == said

    def test_what_may_help_against_a_refusal_is_about_its_length(self, dialect: Dialect) -> None:
        too_long = b'{"error":{"message":"maximum context length is 4096 tokens"}}'
        assert dialect.remedy(Answer(400, "application/json", too_long, True)) is not None
        for body in (b"", b"\xff", b'{"error":{"message":"no such model"}}'):
            assert dialect.remedy(Answer(400, "application/json", body, True)) is None

    def test_without_reasoning_says_the_same(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        prompt = _read(dialect, request_body)
        for answer in answers:
            for message in dialect.read_reply(prompt, answer).messages:
                left = dialect.without_reasoning(message)
                assert left is not None
                assert left.fingerprint == message.fingerprint
                assert len(left.raw) <= len(message.raw)
                assert dialect.without_reasoning(left) is left

    def test_a_whole_answer_is_one_assistant_message(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        prompt = _read(dialect, request_body)
        for answer in answers:
            reply = dialect.read_reply(prompt, answer)
            assert reply.verdict.kept
            (message,) = reply.messages
            assert message.role == "assistant"
            assert len(message.fingerprint) == 32
            assert message.tokens > 0
            assert message.form == dialect.form
            assert json.loads(b"[" + message.raw + b"]")

    def test_a_cut_answer_is_not_kept_unless_its_end_was_seen(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        """At every byte of a body whose framing proves nothing."""
        prompt = _read(dialect, request_body)
        for answer in answers:
            whole = dialect.read_reply(prompt, answer)
            marker = dialect.end_marker(answer.media_type)
            for at in range(len(answer.body) + 1):
                body = answer.body[:at]
                reply = dialect.read_reply(prompt, answer._replace(body=body, proved=False))
                if marker is not None:
                    ended = any(spelling in body for spelling in marker.spellings)
                else:  # the last bracket proves the end; events without a last one prove nothing
                    streamed = answer.media_type == "text/event-stream"
                    ended = not (streamed or answer.body[at:].strip())
                # What is a key in the last line's object may be cut behind it.
                suffices = self.marker_suffices and not (marker and marker.top_level)
                if ended and not suffices and at < len(answer.body.rstrip()):
                    assert reply == whole or not reply.verdict.kept
                else:
                    assert reply == whole if ended else not reply.verdict.kept

    def test_what_is_not_kept_has_no_messages(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        """Nor does any byte of an answer make reading it raise."""
        prompt = _read(dialect, request_body)
        for answer in answers:
            for proved in (True, False):
                for body in (*NOT_PROMPTS, *_mutations(answer.body)):
                    reply = dialect.read_reply(prompt, answer._replace(body=body, proved=proved))
                    assert bool(reply.messages) == reply.verdict.kept

    def test_without_calls_leaves_no_call(
        self, dialect: Dialect, request_body: bytes, answers: Sequence[Answer]
    ) -> None:
        prompt = _read(dialect, request_body)
        for answer in answers:
            for message in dialect.read_reply(prompt, answer).messages:
                left = dialect.without_calls(message)
                if message.calls:
                    assert left is None or not left.calls
                else:
                    assert left is message

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 504])
    def test_an_error_says_its_message(self, dialect: Dialect, status: int) -> None:
        content_type, body = dialect.error_body(status, "some_code", 'Say "please".')
        assert "/" in content_type
        assert "please" in body.decode()
        if content_type.startswith("application/json"):
            read_object(body)

    def test_an_error_event_is_one_closed_event(self, dialect: Dialect) -> None:
        """Or one line of JSON, where a stream is made of lines."""
        event = dialect.error_event("some_code", "two\nlines")
        if event.count(b"\n") == 1:
            read_object(event)
        assert event == b"" or event.endswith((b"\n\n", b"}\n"))
        assert event.count(b"\n\n") <= 1


TOLD = ("What is it?", "It is.")


def _chat(role: Role, text: str) -> Message:
    raw = dump({"role": role, "content": text})
    return Message(role, raw, *fingerprints(role, text), tokens=len(raw))


def _foreign(role: Role, raw: bytes) -> Message:
    name = role.encode()
    return Message(role, raw, name, name, ("call_1",), tokens=9, form="somebody's", note=b"note")


def _in_form(dialect: Dialect, history: Sequence[Message]) -> list[Message]:
    told = [m if m.form == dialect.form else dialect.told(m) for m in history]
    return [message for message in told if message is not None]


def _read(dialect: Dialect, body: bytes) -> Prompt:
    prompt = dialect.read_prompt(body)
    assert prompt is not None
    return prompt


def _reply(dialect: Dialect, answer: Answer) -> Reply:
    prompt = Prompt(b"", (), (), ())
    return dialect.read_reply(prompt, answer)


def _spines(messages: Sequence[Message]) -> list[bytes]:
    return [message.spine for message in messages if message.spine]


def _spelled(body: bytes) -> list[tuple[str, str]]:
    """Every field with the text between it and the next: white space counts."""
    text = decode(body)
    places: list[tuple[Value, str]] = []
    for key, values in walk_object(text).items():
        places += [(value, key) for value in values]
    places.sort(key=lambda place: place[0].start)
    ends = [value.start for value, _ in places[1:]] + [len(text)]
    return [(key, text[value.start : end]) for (value, key), end in zip(places, ends, strict=True)]


def _mutations(body: bytes) -> Iterator[bytes]:
    """``body`` with one byte left out, spoilt, or doubled, at every place."""
    for at in range(len(body)):
        before, byte, after = body[:at], body[at : at + 1], body[at + 1 :]
        yield before + after
        yield before + b"\xff" + after
        yield before + b"0" + after
        yield before + byte + byte + after

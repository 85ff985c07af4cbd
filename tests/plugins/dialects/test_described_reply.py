"""Replies of described APIs: every verdict, and what waits until the turn is durable."""

import logging

import pytest
from tests.plugins.dialects.declared import answered, declared, recorded

from backstory.model import Answer, Prompt, Reply, Verdict
from backstory.spi import Dialect
from backstory.tee import Tee
from backstory_plugins.dialects._chat import stored_text

CLERK, ORACLE, PARROT = declared("clerk"), declared("oracle"), declared("parrot")
NOTHING = Prompt(b"", (), (), ())
JSON, SSE, LINES, TEXT = (
    "application/json",
    "text/event-stream",
    "application/x-ndjson",
    "text/plain",
)


def read(dialect: Dialect, media_type: str, body: bytes | str, *, proved: bool = True) -> Reply:
    spelled = body.encode() if isinstance(body, str) else body
    return dialect.read_reply(NOTHING, answered(media_type, spelled, proved=proved))


def verdict(
    dialect: Dialect, media_type: str, body: bytes | str, *, proved: bool = True
) -> Verdict:
    return read(dialect, media_type, body, proved=proved).verdict


def text(reply: Reply) -> str:
    (message,) = reply.messages
    return stored_text(message)


def test_the_recorded_replies() -> None:
    for dialect, media_type, body in (
        (CLERK, JSON, recorded("clerk", "reply.json")),
        (CLERK, SSE, recorded("clerk", "reply.sse")),
        (PARROT, JSON, recorded("parrot", "reply.json")),
    ):
        assert text(read(dialect, media_type, body)) == "2+2 is 4, sûr. 世界"
    reply = read(PARROT, LINES, recorded("parrot", "reply.ndjson"))
    assert text(reply) == "2+2 is 4, sûr.\u2028 世界"
    assert text(read(ORACLE, TEXT, recorded("oracle", "reply.txt"))) == " 2+2 is 4, sûr. 世界"


@pytest.mark.parametrize("name", ["reply.json", "reply.sse"])
def test_what_the_upstream_says_of_its_reply(name: str) -> None:
    reply = read(CLERK, JSON if name == "reply.json" else SSE, recorded("clerk", name))
    assert (reply.reply_id, reply.prompt_tokens) == ("t-1", 7)


def test_what_is_no_count_and_no_id_is_left_out() -> None:
    body = '{"answer":{"utterance":"4"},"ticket":7,"cost":{"heard":%s}}'
    for count in ("true", "-1", '"7"', "1.5"):
        reply = read(CLERK, JSON, body % count)
        assert (reply.reply_id, reply.prompt_tokens) == ("", None)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ('"said"', Verdict.COMPLETE),
        ('"out of breath"', Verdict.TRUNCATED),
        ('"not allowed"', Verdict.FILTERED),
        ('"needs a tool"', Verdict.TOOL),
        ('"broke"', Verdict.ERROR),
        ('"unheard of"', Verdict.UNPROVED),
        ("7", Verdict.UNPROVED),
        ("null", Verdict.ABORTED),
    ],
)
def test_every_word_has_its_verdict(word: str, expected: Verdict) -> None:
    whole = f'{{"answer":{{"utterance":"4","why":{word}}}}}'
    streamed = f'data: {{"utterance":"4"}}\n\ndata: {{"why":{word}}}\n\ndata: [END]\n\n'
    for media_type, body in ((JSON, whole), (SSE, streamed)):
        reply = read(CLERK, media_type, body)
        assert reply.verdict is expected
        assert bool(reply.messages) == expected.kept


def test_a_word_may_be_a_number_and_the_star_stands_for_the_others() -> None:
    dialect = declared("clerk", verdicts={"0": "complete", "true": "truncated", "*": "filtered"})
    for word, expected in (
        ("0", Verdict.COMPLETE),
        ("true", Verdict.TRUNCATED),
        ('"0"', Verdict.COMPLETE),
        ("1", Verdict.FILTERED),
        ("[[]]", Verdict.FILTERED),
    ):
        body = f'{{"answer":{{"utterance":"4","why":{word}}}}}'
        assert verdict(dialect, JSON, body) is expected


def test_an_unknown_word_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read(CLERK, JSON, '{"answer":{"utterance":"a secret","why":"unheard of"}}')
    assert "finish 'unheard of' is not in verdicts" in caplog.text
    assert "secret" not in caplog.text


def test_without_words_the_end_alone_decides() -> None:
    dialect = declared("clerk", finish=None, verdicts=None, stream=None)
    assert verdict(dialect, JSON, '{"answer":{"utterance":"4"}}') is Verdict.COMPLETE
    assert verdict(dialect, JSON, '{"answer":{"utterance":"4","why":"x"}}') is Verdict.COMPLETE
    every = declared("clerk", verdicts=None)
    assert verdict(every, JSON, '{"answer":{"utterance":"4","why":"x"}}') is Verdict.COMPLETE


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"answer":{"utterance":"4"}}', Verdict.COMPLETE),
        ('{"answer":{"utterance":" "}}', Verdict.EMPTY),
        ('{"answer":{"utterance":null,"why":"said"}}', Verdict.EMPTY),
        ('{"answer":{"utterance":["4"]}}', Verdict.EMPTY),
        ("{}", Verdict.EMPTY),
        ("[]", Verdict.EMPTY),
        ("7", Verdict.EMPTY),
        ('{"fault":{"kind":"x"},"answer":{"utterance":"4"}}', Verdict.ERROR),
        ('{"fault":"x"}', Verdict.ERROR),
        ('{"fault":null,"answer":{"utterance":"4"}}', Verdict.COMPLETE),
        ('{"fault":{},"answer":{"utterance":"4"}}', Verdict.COMPLETE),
        ("", Verdict.ERROR),
        ('{"answer":', Verdict.ERROR),
        ("\xff", Verdict.ERROR),
    ],
)
def test_a_json_answer(body: str, expected: Verdict) -> None:
    assert verdict(CLERK, JSON, body.encode("latin-1")) is expected
    if expected is Verdict.ERROR and "fault" not in body:
        assert verdict(CLERK, JSON, body.encode("latin-1"), proved=False) is Verdict.ABORTED


def test_recorded_errors_are_errors() -> None:
    assert verdict(CLERK, JSON, recorded("clerk", "error.json")) is Verdict.ERROR
    assert verdict(CLERK, SSE, recorded("clerk", "error.sse")) is Verdict.ERROR
    assert verdict(PARROT, LINES, recorded("parrot", "error.ndjson")) is Verdict.ERROR


@pytest.mark.parametrize("proved", [True, False])
def test_recorded_cuts_are_cut(proved: bool) -> None:
    assert verdict(CLERK, SSE, recorded("clerk", "cut.sse"), proved=proved) is Verdict.ABORTED
    assert (
        verdict(PARROT, LINES, recorded("parrot", "cut.ndjson"), proved=proved) is Verdict.ABORTED
    )
    expected = Verdict.ERROR if proved else Verdict.ABORTED  # in the middle of a character
    assert verdict(ORACLE, TEXT, recorded("oracle", "cut.txt"), proved=proved) is expected


SAID = 'data: {"utterance":"4"}\n\n'
WHY = 'data: {"why":"said"}\n\n'
END = "data: [END]\n\n"


@pytest.mark.parametrize(
    ("body", "proved", "unproved"),
    [
        (SAID + WHY + END, Verdict.COMPLETE, Verdict.COMPLETE),
        (SAID + WHY, Verdict.COMPLETE, Verdict.ABORTED),
        (SAID + END, Verdict.ABORTED, Verdict.ABORTED),
        (SAID, Verdict.ABORTED, Verdict.ABORTED),
        ("", Verdict.ABORTED, Verdict.ABORTED),
        (WHY + END, Verdict.EMPTY, Verdict.EMPTY),
        (SAID + WHY + END + SAID, Verdict.COMPLETE, Verdict.COMPLETE),
        (SAID + "data: word\n\n" + WHY + END, Verdict.ERROR, Verdict.ERROR),
        (SAID + "event: error\ndata: {}\n\n" + WHY + END, Verdict.ERROR, Verdict.ERROR),
        (SAID + "error: {}\n\n" + WHY + END, Verdict.ERROR, Verdict.ERROR),
        (SAID + 'data: 7\n\ndata: [8]\n\ndata:\n\ndata: "x"\n\n' + WHY + END,)
        + (Verdict.COMPLETE,) * 2,
        (SAID + WHY + "data:[END]", Verdict.COMPLETE, Verdict.COMPLETE),
        (SAID + WHY + 'data: {"utt', Verdict.COMPLETE, Verdict.ABORTED),
    ],
)
def test_a_stream_with_words_and_an_end(body: str, proved: Verdict, unproved: Verdict) -> None:
    assert verdict(CLERK, SSE, body) is proved
    assert verdict(CLERK, SSE, body, proved=False) is unproved


@pytest.mark.parametrize(
    ("body", "proved", "unproved"),
    [
        (SAID + END, Verdict.COMPLETE, Verdict.COMPLETE),
        (SAID, Verdict.ABORTED, Verdict.ABORTED),
    ],
)
def test_a_stream_with_an_end_and_no_words(body: str, proved: Verdict, unproved: Verdict) -> None:
    stream = {"kind": "sse", "text": "$.utterance", "end_text": "[END]"}
    dialect = declared("clerk", finish=None, verdicts=None, stream=stream)
    assert verdict(dialect, SSE, body) is proved
    assert verdict(dialect, SSE, body, proved=False) is unproved


def test_a_stream_with_neither_is_proved_by_its_framing_only() -> None:
    stream = {"kind": "sse", "text": "$.utterance"}
    dialect = declared("clerk", finish=None, verdicts=None, stream=stream)
    assert verdict(dialect, SSE, SAID) is Verdict.COMPLETE
    assert verdict(dialect, SSE, SAID, proved=False) is Verdict.UNPROVED
    assert dialect.end_marker(SSE) is None


def test_the_last_event_may_be_known_by_its_name() -> None:
    stream = {"kind": "sse", "text": "$.utterance", "end_event": "bye"}
    dialect = declared("clerk", finish=None, verdicts=None, stream=stream)
    for last in ("event: bye\ndata: see you\n\n", "event:bye\n\n", "event: bye\ndata: {}\n\n"):
        assert verdict(dialect, SSE, SAID + last, proved=False) is Verdict.COMPLETE
    assert verdict(dialect, SSE, SAID + "event: bye\ndata: {}\n\ndata: x\n\n") is Verdict.COMPLETE
    for other in ("event: bye-bye\ndata: {}\n\n", "data: event: bye\n\n", "xevent: bye\n\n"):
        assert verdict(dialect, SSE, SAID + other) in (Verdict.ABORTED, Verdict.ERROR)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['{"delta":"4"}', '{"done":true,"state":"done"}'], Verdict.COMPLETE),
        (['{"delta":"4"}', '{"done":true}'], Verdict.ABORTED),
        (['{"delta":"4"}', '{"state":"done"}'], Verdict.ABORTED),
        (['{"delta":"4"}', '{"done":1,"state":"done"}'], Verdict.ABORTED),
        (['{"delta":"4"}', '{"meta":{"done":true},"state":"done"}'], Verdict.ABORTED),
        (['{"delta":"4"}', '{"done":true,"state":"lost"}'], Verdict.ERROR),
        (['{"delta":"4"}', "word", '{"done":true,"state":"done"}'], Verdict.ERROR),
        (['{"done":true,"state":"done"}'], Verdict.EMPTY),
    ],
)
def test_a_stream_of_lines(lines: list[str], expected: Verdict) -> None:
    assert verdict(PARROT, LINES, "\n".join(lines), proved=False) is expected
    assert verdict(PARROT, LINES, "\r\n".join(lines) + "\r\n\r\n", proved=False) is expected


def test_a_piece_may_be_the_whole_so_far() -> None:
    stream = {"kind": "ndjson", "text": "$.all", "cumulative": True}
    dialect = declared("parrot", finish=None, verdicts=None, stream=stream)
    body = '{"all":"2+2"}\n{"all":"2+2 is 4"}\n{"all":null}\n'
    assert text(read(dialect, LINES, body)) == "2+2 is 4"


@pytest.mark.parametrize(
    ("body", "proved", "unproved"),
    [
        (" 4</A>", Verdict.COMPLETE, Verdict.COMPLETE),
        (" 4</A>\n ", Verdict.COMPLETE, Verdict.COMPLETE),
        (" 4", Verdict.COMPLETE, Verdict.UNPROVED),
        (" 4</A> more", Verdict.ERROR, Verdict.ERROR),
        (" \n</A>", Verdict.EMPTY, Verdict.EMPTY),
        ("", Verdict.EMPTY, Verdict.UNPROVED),
    ],
)
def test_raw_text(body: str, proved: Verdict, unproved: Verdict) -> None:
    for media_type in (TEXT, "", JSON):  # without reply, every answer is text
        assert verdict(ORACLE, media_type, body) is proved
        assert verdict(ORACLE, media_type, body, proved=False) is unproved


def test_raw_text_without_a_marker_is_proved_by_its_framing_only() -> None:
    dialect = declared("oracle", reply="$.said", stream={"kind": "text"})
    assert dialect.end_marker(TEXT) is None
    assert text(read(dialect, TEXT, " 4 ")) == " 4 "
    assert verdict(dialect, TEXT, " 4 ", proved=False) is Verdict.UNPROVED
    assert text(read(dialect, JSON, '{"said":"4"}', proved=False)) == "4"


def test_the_media_type_decides_and_may_be_another_one() -> None:
    stream = {
        "kind": "ndjson",
        "media_types": ["Application/JSON", "text/x"],
        "text": "$.delta",
        "end": "$.done",
        "end_values": [True],
    }
    dialect = declared("parrot", finish=None, verdicts=None, stream=stream, reply=None)
    body = '{"delta":"4"}\n{"done":true}\n'
    for media_type in (JSON, "text/x"):
        assert text(read(dialect, media_type, body)) == "4"
        assert dialect.end_marker(media_type) is not None
    assert verdict(dialect, LINES, body) is Verdict.UNPROVED
    assert dialect.end_marker(LINES) is None


def _through(dialect: Dialect, media_type: str, *chunks: bytes) -> tuple[bytes, bytes, Tee]:
    """What went on at once, what waited, and the tee."""
    tee = Tee(1 << 20, dialect.end_marker)
    tee.begin(200, media_type, (), None)
    free = b"".join(map(tee.feed, chunks))
    return free, tee.release(), tee


@pytest.mark.parametrize(
    ("dialect", "media_type", "body", "held"),
    [
        (CLERK, SSE, recorded("clerk", "reply.sse"), b"data: [END]\n\n"),
        (PARROT, LINES, recorded("parrot", "reply.ndjson"), b'"done": true,"state":"done"}\n'),
        (ORACLE, TEXT, recorded("oracle", "reply.txt"), b"</A>\n"),
    ],
)
def test_however_it_arrives_the_same_waits_and_the_same_is_read(
    dialect: Dialect, media_type: str, body: bytes, held: bytes
) -> None:
    whole = dialect.read_reply(NOTHING, Answer(200, media_type, body, True))
    assert whole.verdict is Verdict.COMPLETE
    for at in range(len(body) + 1):
        free, waited, tee = _through(dialect, media_type, body[:at], body[at:])
        assert (free + waited, waited, tee.marked) == (body, held, True)
        assert dialect.read_reply(NOTHING, Answer(200, media_type, tee.body(), True)) == whole


@pytest.mark.parametrize(
    ("stream", "first", "last"),
    [
        ({"end_event": "bye"}, b"event: bye-bye\ndata: {}\n\n", b"event: bye\ndata: {}\n\n"),
        ({"end_event": "bye"}, b"event: hi\n\n", b"event:bye\r\n\r\n"),
        ({"end": "$.n", "end_values": 1}, b'data: {"n":12}\n\ndata: {', b'"n": 1}\n\n'),
        ({"end": "$.n", "end_values": ["é"]}, b'data: {"m":{"n":"\xc3\xa9"},', b'"n":"\xc3\xa9"}'),
        ({"end": "$.n.m", "end_values": True}, b'data: {"n":{"m":true}}\n\n', b""),
        ({"end": "$['a b']", "end_values": [False, 0]}, b'data: {"x":1,', b'"a b":false}\n\n'),
    ],
)
def test_the_bytes_that_say_the_end_wait(
    stream: dict[str, object], first: bytes, last: bytes
) -> None:
    shape = {"kind": "sse", "text": "$.utterance"} | stream
    dialect = declared("clerk", finish=None, verdicts=None, stream=shape)
    free, waited, tee = _through(dialect, SSE, first + last)
    assert (free, waited, tee.marked) == (first, last, bool(last))

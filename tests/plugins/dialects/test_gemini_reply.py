"""Gemini's replies: one object, an array in pieces, or events, and what each of them proves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.gemini_bodies import (
    DATA,
    GEMINI,
    SIGNED_TEXT,
    SSE,
    THOUGHT,
    call,
    prompt,
    recorded,
)

from backstory.model import Answer, Reply, Verdict
from backstory_plugins.dialects._gemini_parts import Part


def reply(name: str) -> tuple[Verdict, object]:
    read = GEMINI.read_reply(prompt(), recorded(name))
    return read.verdict, json.loads(read.messages[0].raw) if read.messages else None


PARTS = [{"text": "Two and two\u2028make.", "thought": True}, {"text": "It is 4 — four."}]


@pytest.mark.parametrize("name", ["reply.sse", "reply_array.json"])
def test_a_streamed_reply_is_one_content(name: str) -> None:
    assert reply(name) == (Verdict.COMPLETE, {"role": "model", "parts": [*PARTS, SIGNED_TEXT]})
    assert GEMINI.read_reply(prompt(), recorded(name)).prompt_tokens == 9


def test_a_whole_reply_keeps_its_bytes() -> None:
    answer = recorded("reply.json")
    (message,) = GEMINI.read_reply(prompt(), answer).messages
    assert message.raw in answer.body
    assert json.loads(message.raw) == {
        "role": "model",
        "parts": [{"text": "It is 4 — four.", "thoughtSignature": "CiQBVKhc7uA="}],
    }


def test_a_content_without_its_role_gets_it() -> None:
    body = b'{"candidates":[{"content":{"parts":[{"text":"\\u0034"}]},"finishReason":"STOP"}]}'
    (message,) = GEMINI.read_reply(prompt(), Answer(200, "application/json", body, True)).messages
    assert message.raw == b'{"role":"model","parts":[{"text":"\\u0034"}]}'


@pytest.mark.parametrize("name", ["tool.json", "tool.sse", "tool_array.json"])
def test_calls_keep_their_signatures(name: str) -> None:
    read = GEMINI.read_reply(prompt(), recorded(name))
    assert read.verdict is Verdict.TOOL
    parts = json.loads(read.messages[0].raw)["parts"]
    calls = [part for part in parts if "functionCall" in part]
    assert [part["functionCall"]["args"]["city"] for part in calls] == ["Oslo", "Rome"]
    assert [part.get("thoughtSignature") for part in calls] == ["EqQBCg==", None]
    assert {"get_weather#0", "get_weather#1"} <= set(read.messages[0].calls)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("cut.sse", Verdict.ABORTED),
        ("cut_array.json", Verdict.ERROR),
        ("error.sse", Verdict.ERROR),
        ("error_array.json", Verdict.ERROR),
        ("error.json", Verdict.ERROR),
        ("blocked.json", Verdict.FILTERED),
        ("pieces.sse", Verdict.ERROR),  # Vertex AI, arguments in pieces
    ],
)
def test_what_failed_is_not_kept(name: str, verdict: Verdict) -> None:
    assert reply(name) == (verdict, None)


def test_an_array_that_is_cut_and_not_proved_was_aborted() -> None:
    answer = recorded("cut_array.json", proved=False)
    assert GEMINI.read_reply(prompt(), answer).verdict is Verdict.ABORTED


def test_events_are_kept_only_if_their_framing_proves_the_end() -> None:
    """Some servers say STOP in every event, so a finish reason is no end."""
    for name in ("reply.sse", "tool.sse"):
        answer = recorded(name, proved=False)
        assert GEMINI.read_reply(prompt(), answer).verdict is Verdict.UNPROVED


def every_form(*responses: Part) -> list[Reply]:
    """The reply as an array and as events; as one object too if it is one."""
    spelled = [json.dumps(response) for response in responses]
    bodies = [("application/json", f"[{','.join(spelled)}]")]
    bodies.append((SSE, "".join(f"data: {each}\n\n" for each in spelled)))
    if len(spelled) == 1:
        bodies.append(("application/json", spelled[0]))
    answers = [Answer(200, kind, body.encode(), True) for kind, body in bodies]
    return [GEMINI.read_reply(prompt(), answer) for answer in answers]


def response(*parts: Part, finish: str | None = None, **more: object) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **more}


FOUR: dict[str, object] = {"text": "4"}


@pytest.mark.parametrize(
    ("parts", "finish", "verdict"),
    [
        ([FOUR], "STOP", Verdict.COMPLETE),
        ([{"inlineData": {"mimeType": "image/png", "data": "iVBO"}}], "STOP", Verdict.COMPLETE),
        ([call("f")], "STOP", Verdict.TOOL),
        ([FOUR, call("f")], "STOP", Verdict.TOOL),
        ([FOUR], "SOMETHING_NEW", Verdict.COMPLETE),
        ([], "STOP", Verdict.EMPTY),
        ([THOUGHT, SIGNED_TEXT], "STOP", Verdict.EMPTY),
        ([FOUR], "MAX_TOKENS", Verdict.TRUNCATED),
        ([FOUR, call("f")], "MAX_TOKENS", Verdict.TRUNCATED),
        ([THOUGHT], "MAX_TOKENS", Verdict.EMPTY),
        ([call("f")], "MAX_TOKENS", Verdict.EMPTY),
        *(
            ([FOUR], finish, Verdict.FILTERED)
            for finish in (
                "SAFETY",
                "RECITATION",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "LANGUAGE",
                "MODEL_ARMOR",
                "IMAGE_SAFETY",
                "IMAGE_PROHIBITED_CONTENT",
                "IMAGE_RECITATION",
                "IMAGE_OTHER",
                "ESCALATION",
                "PUP_LIMITED_DISABLED",
            )
        ),
        *(
            ([FOUR], finish, Verdict.ERROR)
            for finish in (
                "MALFORMED_FUNCTION_CALL",
                "UNEXPECTED_TOOL_CALL",
                "TOO_MANY_TOOL_CALLS",
                "OTHER",
                "NO_IMAGE",
                "MALFORMED_RESPONSE",
                "MISSING_THOUGHT_SIGNATURE",
            )
        ),
        ([call("f", willContinue=True)], "STOP", Verdict.ERROR),
        ([call("")], "STOP", Verdict.ERROR),
        ([FOUR], None, Verdict.ABORTED),
        ([FOUR], "", Verdict.ABORTED),
        ([FOUR], "FINISH_REASON_UNSPECIFIED", Verdict.ABORTED),
        ([FOUR], "CONTINUATION", Verdict.ABORTED),
    ],
)
def test_verdicts(parts: list[Part], finish: str | None, verdict: Verdict) -> None:
    for read in every_form(response(*parts, finish=finish)):
        assert read.verdict is verdict
        assert bool(read.messages) == verdict.kept


@pytest.mark.parametrize(
    ("responses", "verdict"),
    [
        ([{"promptFeedback": {"blockReason": "SAFETY"}}], Verdict.FILTERED),
        (
            [response(FOUR, finish="STOP", promptFeedback={"blockReason": "OTHER"})],
            Verdict.FILTERED,
        ),
        (
            [
                response(
                    FOUR,
                    finish="STOP",
                    promptFeedback={"blockReason": "BLOCKED_REASON_UNSPECIFIED"},
                )
            ],
            Verdict.COMPLETE,
        ),
        ([response(FOUR, finish="STOP", promptFeedback={"safetyRatings": []})], Verdict.COMPLETE),
        ([response(FOUR, finish="STOP"), {"error": {"code": 503}}], Verdict.ERROR),
        ([response(FOUR), {"usageMetadata": {"promptTokenCount": 1}}], Verdict.ABORTED),
        ([response(FOUR, finish="STOP"), response(finish="SAFETY")], Verdict.FILTERED),
        ([{"candidates": []}], Verdict.ABORTED),
        ([{"candidates": [7]}], Verdict.ABORTED),
        ([{"candidates": [{"content": None, "finishReason": "STOP"}]}], Verdict.EMPTY),
        ([{"candidates": {"content": {}}}], Verdict.ERROR),
        ([{"candidates": [{"content": {"parts": {}}, "finishReason": "STOP"}]}], Verdict.ERROR),
        ([], Verdict.ABORTED),
    ],
)
def test_verdicts_on_several_objects(responses: list[Part], verdict: Verdict) -> None:
    assert {read.verdict for read in every_form(*responses)} == {verdict}


def test_a_reason_in_every_event_counts_once() -> None:
    pieces = [response({"text": text}, finish="STOP") for text in ("It ", "is ", "4.")]
    for read in every_form(*pieces):
        assert json.loads(read.messages[0].raw)["parts"] == [{"text": "It is 4."}]


def test_memory_keeps_the_candidate_with_the_lowest_index() -> None:
    candidates = [
        {"index": index, "content": {"parts": [{"text": str(index)}]}, "finishReason": "STOP"}
        for index in (2, 0, 1)
    ]
    for read in every_form({"candidates": candidates}):
        assert json.loads(read.messages[0].raw)["parts"] == [{"text": "0"}]


def test_arguments_of_streamed_calls_keep_their_bytes() -> None:
    part = '{"functionCall":{ "name":"f","args":{"x":0.10,"big":1E400} },"thoughtSignature":"a"}'
    begin, end = '{"candidates":[{"content":{"parts":[', '],"role":"model"}'
    pieces = f'[{begin}{part}{end}}}]}},{begin}{part}{end},"finishReason":"STOP"}}]}}]'
    body = pieces.encode()
    (message,) = GEMINI.read_reply(prompt(), Answer(200, "application/json", body, True)).messages
    assert message.raw.decode() == f'{{"role":"model","parts":[{part},{part}]}}'


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b"", Verdict.ERROR),
        (b"[]", Verdict.ABORTED),
        (b"<html>", Verdict.ERROR),
        (b"[7]", Verdict.ERROR),
        (b'{"candidates":[]}]', Verdict.ERROR),
        (b"[" * 100_000, Verdict.ERROR),
    ],
)
def test_what_is_no_response(body: bytes, verdict: Verdict) -> None:
    assert GEMINI.read_reply(prompt(), Answer(200, "", body, True)).verdict is verdict


def test_what_gateways_add_to_a_stream_is_no_part_of_it() -> None:
    body = b": ping\r\n\r\n" + recorded("reply.sse").body + b"data: [DONE]\n\n"
    assert GEMINI.read_reply(prompt(), Answer(200, SSE, body, True)).verdict is Verdict.COMPLETE
    failed = body + b'event: error\ndata: {"message":"no"}\n\n'
    assert GEMINI.read_reply(prompt(), Answer(200, SSE, failed, True)).verdict is Verdict.ERROR
    broken = body + b"data: {]\n\n"
    assert GEMINI.read_reply(prompt(), Answer(200, SSE, broken, True)).verdict is Verdict.ERROR


def test_a_stream_is_read_the_same_with_any_line_ends() -> None:
    whole = GEMINI.read_reply(prompt(), recorded("reply.sse"))
    for end in (b"\n", b"\r"):
        body = recorded("reply.sse").body.replace(b"\r\n", end)
        assert GEMINI.read_reply(prompt(), Answer(200, SSE, body, True)) == whole


@pytest.mark.parametrize("name", ["reply.json", "reply.sse", "reply_array.json"])
def test_a_continued_prefill_is_one_message(name: str) -> None:
    read = GEMINI.read_reply(prompt("um"), recorded(name))
    parts = json.loads(read.messages[0].raw)["parts"]
    assert parts[0]["text"] == "m"
    assert "".join(part["text"] for part in parts[1:]).endswith("It is 4 — four.")


@given(st.data(), st.sampled_from(sorted(path.name for path in DATA.glob("*.sse"))), st.booleans())
def test_a_spoilt_answer_has_a_verdict(data: st.DataObject, name: str, proved: bool) -> None:
    """Pieces of a real answer, out of order, doubled or left out."""
    answer = recorded(name, proved=proved)
    lines = answer.body.splitlines(keepends=True)
    body = b"".join(data.draw(st.lists(st.sampled_from([*lines, b"\n", b"data: ", b"\xff"]))))
    for media_type in (SSE, "application/json"):
        read = GEMINI.read_reply(prompt(), answer._replace(body=body, media_type=media_type))
        assert bool(read.messages) == read.verdict.kept

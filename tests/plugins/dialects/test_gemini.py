"""Gemini: one object, an array in pieces, or events; contents told, signatures kept."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.jsonbody import NotJson
from backstory.model import Answer, Message, Prompt, Remedy, Reply, Verdict
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects._gemini import read_message
from backstory_plugins.dialects._gemini_parts import Part
from backstory_plugins.dialects.gemini import Gemini

DATA = Path(__file__).parent / "data" / "gemini"
GEMINI = Gemini()
SSE = "text/event-stream"

HELLO = (
    Message("user", b'{"role":"user","parts":[{"text":"Hi, I am Ada."}]}', b"", b"", form="gemini"),
    Message("assistant", b'{"role":"model","parts":[{"text":"Hello Ada!"}]}', b"", b""),
)
SIGNED_TEXT = {"text": "", "thoughtSignature": "CiQBVKhc7uA="}


def recorded(name: str, *, proved: bool = True) -> Answer:
    media_type = SSE if name.endswith(".sse") else "application/json"
    return Answer(200, media_type, (DATA / name).read_bytes(), proved)


def prompt_of(body: bytes) -> Prompt:
    prompt = GEMINI.read_prompt(body)
    assert prompt is not None
    return prompt


def prompt(contents: str = "u", *, fields: str = "") -> Prompt:
    """Each letter a content: user, model, function; a hyphen is one without a role."""
    roles = {"u": {"role": "user"}, "m": {"role": "model"}, "f": {"role": "function"}, "-": {}}
    spelled = [{**roles[letter], "parts": [{"text": letter}]} for letter in contents]
    return prompt_of(f'{{"contents":{json.dumps(spelled)}{fields}}}'.encode())


def letters(messages: Sequence[Message]) -> str:
    return "".join(json.loads(message.raw)["parts"][0]["text"] for message in messages)


def message_of(role: str, *parts: Part) -> Message:
    value = {"role": role, "parts": list(parts)}
    message = read_message(value, json.dumps(value).encode())
    assert message is not None
    return message


def call(name: str, **more: object) -> dict[str, object]:
    return {"functionCall": {"name": name, "args": {"city": "Oslo"}, **more}}


def result(name: str, **more: object) -> dict[str, object]:
    return {"functionResponse": {"name": name, "response": {"t": 3}, **more}}


def reply(name: str) -> tuple[Verdict, object]:
    read = GEMINI.read_reply(prompt(), recorded(name))
    return read.verdict, json.loads(read.messages[0].raw) if read.messages else None


class TestGemini(DialectContract):
    @pytest.fixture
    def dialect(self) -> Dialect:
        return Gemini()

    @pytest.fixture
    def request_body(self) -> bytes:
        return (DATA / "request.json").read_bytes()

    @pytest.fixture
    def answers(self) -> Sequence[Answer]:
        names = ["reply.json", "tool.json", "reply_array.json", "tool_array.json"]
        return [recorded(name) for name in [*names, "reply.sse", "tool.sse"]]


def test_history_goes_to_the_head_of_the_contents_and_every_byte_stays() -> None:
    read = prompt_of((DATA / "request.json").read_bytes())
    assert [json.loads(message.raw)["content"] for message in read.pinned] == ["Be brïef."]
    assert GEMINI.inject(read, (), HELLO) == (DATA / "injected.json").read_bytes()


def test_told_history_begins_with_the_user() -> None:
    model, user = HELLO[1], HELLO[0]
    results = message_of("user", result("f"))
    body = b'{"contents":[ {"parts":[]}]}'
    assert GEMINI.inject(prompt_of(body), (), [model, results, user, model]) == (
        b'{"contents":[ %b, %b, {"parts":[]}]}' % (user.raw, model.raw)
    )
    assert GEMINI.inject(prompt_of(body), (), [model, results]) is not None
    assert GEMINI.inject(prompt_of(body), (), [model, results]) == body
    assert GEMINI.inject(prompt_of(b'{"contents":[]}'), (), [user]) == (
        b'{"contents":[%b]}' % user.raw
    )


@pytest.mark.parametrize(
    ("pinned", "told"),
    [
        ([b'{"role":"system","content":"s"}'], '{"parts":[{"text":"s"}]}'),
        ([b'{"parts":[{"text":"s"},{"text":"t"}]}'], '{"parts":[{"text":"st"}]}'),
        (
            [b'{"role":"system","content":"s"}', b'{"role":"developer","content":"t"}'],
            '{"parts":[{"text":"s"},{"text":"t"}]}',
        ),
    ],
)
def test_a_stored_system_message_becomes_the_system_instruction(
    pinned: list[bytes], told: str
) -> None:
    body = b' {"contents":[{"parts":[]}]}'
    assert GEMINI.inject(prompt_of(body), pinned, HELLO) == (
        b' {"systemInstruction":%b, "contents":[%b, %b, {"parts":[]}]}'
        % (told.encode(), HELLO[0].raw, HELLO[1].raw)
    )


@pytest.mark.parametrize(
    ("fields", "pinned"),
    [
        (b'"systemInstruction":{"parts":{"text":"odd"}}', b'{"content":"s"}'),
        (b'"system_instruction":{}', b'{"content":"s"}'),
        (b'"cachedContent":"cachedContents/1"', b'{"content":"s"}'),
        (b'"cached_content":"cachedContents/1"', b'{"content":"s"}'),
        (b'"x":1', b'{"content":""}'),
        (b'"x":1', b"not json"),
    ],
)
def test_no_second_system_instruction_is_told(fields: bytes, pinned: bytes) -> None:
    read = prompt_of(b'{"contents":[{"parts":[]}],%b}' % fields)
    assert read.pinned == ()
    assert GEMINI.inject(read, [pinned], ()) is read.body


@pytest.mark.parametrize(
    ("contents", "claimed", "new", "prefill"),
    [
        ("u", "", "u", False),
        ("-", "", "-", False),
        ("umu", "um", "u", False),
        ("umfu", "um", "fu", False),
        ("umf", "um", "f", False),
        ("umum", "um", "um", True),
        ("", "", "", False),
    ],
)
def test_a_prompt_is_claimed_and_new(contents: str, claimed: str, new: str, prefill: bool) -> None:
    read = prompt(contents)
    assert (letters(read.claimed), letters(read.new), read.prefill) == (claimed, new, prefill)


@pytest.mark.parametrize(
    "body",
    [
        b'{"contents":{"parts":[{"text":"u"}]}}',
        b'{"contents":"u"}',
        b'{"contents":["u"]}',
        b'{"contents":[],"contents":[]}',
        b'{"contents":[{"role":"system","parts":[]}]}',
        b'{"contents":[{"role":1,"parts":[]}]}',
        b'{"contents":[{"parts":{"text":"u"}}]}',
        b'{"contents":[{"parts":["u"]}]}',
        b'{"contents":[],"systemInstruction":{},"system_instruction":{}}',
        b'{"contents":[],"systemInstruction":{},"systemInstruction":{}}',
        b'{"messages":[]}',
    ],
)
def test_what_is_no_list_of_contents_is_not_read(body: bytes) -> None:
    assert GEMINI.read_prompt(body) is None


@pytest.mark.parametrize(
    ("fields", "most", "auxiliary"),
    [
        ("", None, False),
        (',"generationConfig":{"maxOutputTokens":64}', 64, False),
        (',"generation_config":{"max_output_tokens":64}', 64, False),
        (',"generationConfig":{"maxOutputTokens":1}', 1, True),
        (',"generationConfig":null', None, False),
    ],
)
def test_the_limit_on_the_reply_is_in_the_configuration(
    fields: str, most: int | None, auxiliary: bool
) -> None:
    read = prompt(fields=fields)
    assert (read.reply_tokens, read.auxiliary) == (most, auxiliary)


def test_tools_fill_the_context_and_the_model_is_rarely_in_the_body() -> None:
    tools = json.dumps([{"functionDeclarations": [{"name": "f" * 300}]}])
    assert prompt(fields=f',"tools":{tools}').fixed_tokens > 100
    assert prompt().model == ""
    assert prompt(fields=',"model":"models/m"').model == "models/m"


def test_a_message_is_its_text_media_calls_and_results() -> None:
    text = message_of("model", {"text": "4"})
    thought = message_of("model", {"text": "hm", "thought": True}, {"text": "4"}, SIGNED_TEXT)
    assert text[2:4] == thought[2:4]
    assert text.fingerprint != message_of("model", {"text": "5"}).fingerprint
    picture = message_of("user", {"inlineData": {"mimeType": "image/png", "data": "A" * 9000}})
    assert picture.fingerprint != message_of("user").fingerprint
    assert 1500 < picture.tokens < 1600
    calls = message_of("model", call("f"), call("g"))
    assert calls.fingerprint != message_of("model", call("g"), call("f")).fingerprint
    signed = message_of("model", call("f", id="c1") | {"thoughtSignature": "a"}, call("g"))
    assert calls.fingerprint == signed.fingerprint


def test_a_content_with_results_is_a_tools_whatever_its_role() -> None:
    for role in ("user", "function"):
        assert message_of(role, result("f")).role == "tool"
        assert message_of(role, {"text": "a"}).role == "user"
    assert message_of("user", result("f")).fingerprint == (
        message_of("function", result("f", id="c1")).fingerprint
    )
    assert message_of("user", result("f")).fingerprint != (
        message_of("user", result("g")).fingerprint
    )


@pytest.mark.parametrize(
    ("calls", "results", "pairs"),
    [
        ([call("f", id="c1")], [result("f", id="c1")], True),
        ([call("f", id="c1")], [result("f")], True),
        ([call("f")], [result("f")], True),
        ([call("f"), call("f")], [result("f"), result("f")], True),
        ([call("f", id="c1")], [result("f", id="c2")], False),
        ([call("f")], [result("g")], False),
        ([call("f")], [result("f"), result("f")], False),
    ],
)
def test_results_are_paired_by_id_else_by_name_and_position(
    calls: list[Part], results: list[Part], pairs: bool
) -> None:
    asked, answered = message_of("model", *calls), message_of("user", *results)
    assert (set(answered.answers) <= set(asked.calls)) is pairs


def test_pieces_that_the_client_keeps_apart_are_the_reply_that_they_were() -> None:
    """Google's SDK claims each event of a stream as a content; it is forwarded so, and known."""
    answer = recorded("reply.sse")
    events = [json.loads(line[6:]) for line in answer.body.splitlines() if line]
    pieces = [event["candidates"][0]["content"] for event in events]
    question = {"role": "user", "parts": [{"text": "u"}]}
    body = json.dumps({"contents": [question, *pieces, question]}).encode()
    read = prompt_of(body)
    (stored,) = GEMINI.read_reply(prompt(), answer).messages
    assert read.claimed == (read.new[0], stored)
    told = json.loads(GEMINI.inject(read, (), HELLO))["contents"]
    assert told[2:] == [question, *pieces, question]


def test_what_is_nested_too_deep_is_no_json_of_ours() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(NotJson):
        read_message({"role": "model", "parts": [call("f", args={"a": deep})]}, b"")


def test_a_system_message_between_the_others_is_told_as_the_users() -> None:
    message = Message("system", b'{"role":"system","content":"s"}', b"", b"")
    told = GEMINI.told(message)
    assert told is not None
    assert (told.raw, told.form) == (b'{"role":"user","parts":[{"text":"s"}]}', "gemini")


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
THOUGHT: dict[str, object] = {"text": "hm", "thought": True}


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


def test_a_call_that_is_left_out_takes_thoughts_and_signatures_with_it() -> None:
    (message,) = GEMINI.read_reply(prompt(), recorded("tool.sse")).messages
    assert GEMINI.without_calls(message) is None
    message = message_of("model", THOUGHT, {"text": "Wait."}, call("f"), SIGNED_TEXT)
    left = GEMINI.without_calls(message)
    assert left is not None
    assert json.loads(left.raw) == {"role": "model", "parts": [{"text": "Wait."}]}
    assert left.calls == ()
    assert left.fingerprint == message.fingerprint


def test_thoughts_and_signatures_can_be_left_out() -> None:
    message = message_of("model", THOUGHT, call("f") | {"thoughtSignature": "a"}, SIGNED_TEXT)
    left = GEMINI.without_reasoning(message)
    assert left is not None
    assert json.loads(left.raw) == {"role": "model", "parts": [call("f")]}
    assert left.calls == message.calls
    spoken = message_of("model", {"text": "I thought so."})
    assert GEMINI.without_reasoning(spoken) is spoken
    assert GEMINI.without_reasoning(message_of("model", THOUGHT, SIGNED_TEXT)) is None


def test_no_bytes_say_that_the_answer_is_complete() -> None:
    for media_type in (SSE, "application/json", ""):
        assert GEMINI.end_marker(media_type) is None


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (409, "ABORTED"),
        (413, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_errors_have_the_shape_that_sdks_know(status: int, named: str) -> None:
    content_type, body = GEMINI.error_body(status, "some_code", "Say please.")
    assert content_type == "application/json"
    error = json.loads(body)["error"]
    assert (error["code"], error["message"], error["status"]) == (status, "Say please.", named)
    assert error["details"][0]["reason"] == "SOME_CODE"


def test_an_error_event_reads_as_an_error() -> None:
    body = recorded("reply.sse").body + GEMINI.error_event("memory_commit_failed", "Not\nkept.")
    assert GEMINI.read_reply(prompt(), Answer(200, SSE, body, True)).verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        (
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            Remedy.LESS_HISTORY,
        ),
        ("Corrupted thought signature.", Remedy.NO_REASONING),
        ("Function call is missing a thought_signature in functionCall parts.", None),
    ],
)
def test_what_may_help_against_a_refusal(message: str, remedy: Remedy | None) -> None:
    body = json.dumps({"error": {"code": 400, "message": message}}).encode()
    assert GEMINI.remedy(Answer(400, "application/json", body, True)) is remedy
    assert GEMINI.remedy(Answer(503, "application/json", body, True)) is None


@given(st.data(), st.sampled_from(sorted(path.name for path in DATA.glob("*.sse"))), st.booleans())
def test_a_spoilt_answer_has_a_verdict(data: st.DataObject, name: str, proved: bool) -> None:
    """Pieces of a real answer, out of order, doubled or left out."""
    answer = recorded(name, proved=proved)
    lines = answer.body.splitlines(keepends=True)
    body = b"".join(data.draw(st.lists(st.sampled_from([*lines, b"\n", b"data: ", b"\xff"]))))
    for media_type in (SSE, "application/json"):
        read = GEMINI.read_reply(prompt(), answer._replace(body=body, media_type=media_type))
        assert bool(read.messages) == read.verdict.kept

"""Gemini: contents read and told, signatures kept; replies are in ``test_gemini_reply.py``."""

import json
from collections.abc import Sequence

import pytest
from tests.plugins.dialects.gemini_bodies import (
    DATA,
    GEMINI,
    SIGNED_TEXT,
    SSE,
    THOUGHT,
    call,
    message_of,
    prompt,
    prompt_of,
    recorded,
    result,
)

from backstory.jsonbody import NotJson
from backstory.model import Answer, Message, Remedy, Verdict
from backstory.spi import Dialect
from backstory.testing.dialect import DialectContract
from backstory_plugins.dialects._gemini import read_message
from backstory_plugins.dialects._gemini_parts import Part
from backstory_plugins.dialects.gemini import Gemini

HELLO = (
    Message("user", b'{"role":"user","parts":[{"text":"Hi, I am Ada."}]}', b"", b"", form="gemini"),
    Message("assistant", b'{"role":"model","parts":[{"text":"Hello Ada!"}]}', b"", b""),
)


def letters(messages: Sequence[Message]) -> str:
    return "".join(json.loads(message.raw)["parts"][0]["text"] for message in messages)


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

"""What Anthropic's API answers, and what is kept of it."""

import json
from typing import Any

import pytest
from tests.plugins.dialects.claude import (
    CLAUDE,
    FOUR,
    LOOKS,
    THOUGHT,
    USER,
    assistant,
    call,
    prompt,
    recorded,
    reply,
    stream,
    streamed,
    text,
    thinking,
    whole,
)

from backstory.model import Answer, Verdict


@pytest.mark.parametrize(
    ("name", "verdict", "content"),
    [
        ("reply", Verdict.COMPLETE, FOUR),
        ("tool", Verdict.TOOL, LOOKS),
        ("thinking", Verdict.COMPLETE, THOUGHT),
    ],
)
@pytest.mark.parametrize("form", ["json", "sse"])
def test_a_reply_as_anthropic_sends_it(
    name: str, verdict: Verdict, content: object, form: str
) -> None:
    assert reply(f"{name}.{form}") == (verdict, content)


@pytest.mark.parametrize("form", ["json", "sse"])
def test_a_tool_s_input_keeps_its_digits(form: str) -> None:
    read = CLAUDE.read_reply(prompt(USER), recorded(f"tool.{form}"))
    assert b'"days": 1.50' in read.messages[0].raw
    assert read.messages[0].calls == ("toolu_1", "toolu_2")


def test_both_forms_of_a_reply_are_the_same_message() -> None:
    for name in ("reply", "tool", "thinking"):
        forms = [recorded(f"{name}.{form}") for form in ("json", "sse")]
        one, other = (CLAUDE.read_reply(prompt(USER), answer).messages[0] for answer in forms)
        assert one.fingerprint == other.fingerprint


def test_what_the_server_searched_stays_in_the_message() -> None:
    verdict, content = reply("search.sse")
    assert verdict is Verdict.COMPLETE
    assert [block["type"] for block in content] == [
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]
    assert content[0]["input"] == {"query": "Oslo"}
    assert content[2]["citations"][0]["cited_text"] == "3 C"
    assert CLAUDE.read_reply(prompt(USER), recorded("search.sse")).messages[0].calls == ()


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("paused.sse", Verdict.PAUSED),
        ("error.sse", Verdict.ERROR),
        ("error.json", Verdict.ERROR),
        ("cut.sse", Verdict.ABORTED),
    ],
)
def test_what_is_not_whole_is_not_kept(name: str, verdict: Verdict) -> None:
    assert reply(name) == (verdict, None)


REASONS = [
    ("end_turn", [text("a")], Verdict.COMPLETE),
    ("stop_sequence", [text("a")], Verdict.COMPLETE),
    ("end_turn", [], Verdict.EMPTY),
    ("end_turn", [text(" \n")], Verdict.EMPTY),
    ("end_turn", [thinking()], Verdict.EMPTY),
    ("end_turn", [call("t1")], Verdict.TOOL),
    ("tool_use", [text("a"), call("t1")], Verdict.TOOL),
    ("tool_use", [text("a")], Verdict.COMPLETE),
    ("max_tokens", [text("a")], Verdict.TRUNCATED),
    ("model_context_window_exceeded", [text("a")], Verdict.TRUNCATED),
    ("max_tokens", [], Verdict.EMPTY),
    ("max_tokens", [thinking()], Verdict.EMPTY),
    ("max_tokens", [text("a"), call("t1")], Verdict.ERROR),
    ("pause_turn", [text("a")], Verdict.PAUSED),
    ("compaction", [{"type": "compaction", "content": "a"}], Verdict.PAUSED),
    ("refusal", [text("a")], Verdict.FILTERED),
    ("refusal", [], Verdict.FILTERED),
    (None, [text("a")], Verdict.ABORTED),
    ("a new reason", [text("a")], Verdict.COMPLETE),
    ("a new reason", [], Verdict.EMPTY),
]


@pytest.mark.parametrize(("reason", "content", "verdict"), REASONS)
def test_verdicts(reason: str | None, content: list[dict[str, Any]], verdict: Verdict) -> None:
    assert reply(whole(content, reason))[0] is verdict
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {}}]
    for index, block in enumerate(content):
        events += streamed(block, index=index)[:2]
    assert reply(stream(*events, *streamed({}, reason=reason)[2:]))[0] is verdict


@pytest.mark.parametrize(
    "value",
    [
        {"content": [call("t1", input="{")]},
        {"content": [call("t1", input=None)]},
        {"content": None},
        {"content": ["a"]},
        {"content": [text("a")], "type": "error"},
        {"content": [text("a")], "error": {"message": "no"}},
        {},
    ],
)
def test_what_is_no_message_is_an_error(value: dict[str, object]) -> None:
    body = json.dumps({"stop_reason": "end_turn", **value}).encode()
    assert reply(Answer(200, "application/json", body, True))[0] is Verdict.ERROR


def test_texts_without_words_are_not_kept_but_beside_thinking() -> None:
    assert reply(whole([text(""), text("a"), text("\n")]))[1] == [text("a")]
    content = [thinking(), text("\n"), text("a")]
    assert reply(whole(content))[1] == content


def test_not_a_number_is_not_kept() -> None:
    body = b'{"content":[{"type":"tool_use","id":"t","input":{"a":NaN}}],"stop_reason":"tool_use"}'
    assert reply(Answer(200, "application/json", body, True))[0] is Verdict.ERROR
    delta = {"type": "input_json_delta", "partial_json": '{"a":Infinity}'}
    assert reply(stream(*streamed(call("t"), delta)))[0] is Verdict.ERROR


def test_the_upstream_counts_what_came_from_its_cache_too() -> None:
    assert CLAUDE.read_reply(prompt(USER), recorded("reply.sse")).prompt_tokens == 30
    assert CLAUDE.read_reply(prompt(USER), recorded("reply.json")).prompt_tokens == 25


@pytest.mark.parametrize(
    ("began", "content", "joined"),
    [
        ("The answer is (", [text("B)")], [text("The answer is (B)")]),
        ("The answer is (", "B)", "The answer is (B)"),
        ([text("a")], [text("b"), call("t")], [text("ab"), call("t")]),
        ([text("a"), call("s")], [text("b")], [text("a"), call("s"), text("b")]),
        ([text("a", citations=[{}])], [text("b")], [text("a", citations=[{}]), text("b")]),
    ],
)
def test_what_was_begun_and_what_follows_are_one_message(
    began: object, content: object, joined: object
) -> None:
    asked = prompt(USER, {"role": "assistant", "content": began})
    assert asked.prefill
    assert reply(whole(content), asked)[1] == joined


def test_a_paused_turn_is_whole_once_it_was_called_again() -> None:
    paused = assistant({"type": "server_tool_use", "id": "s", "name": "web", "input": {}})
    more = assistant({"type": "web_search_tool_result", "tool_use_id": "s", "content": []})
    verdict, content = reply(whole([text("Done.")]), prompt(USER, paused, more))
    assert verdict is Verdict.COMPLETE
    assert [block["type"] for block in content] == [
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]

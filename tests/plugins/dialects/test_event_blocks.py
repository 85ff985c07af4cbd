"""Anthropic's event streams: what they must have, and where their end is."""

from typing import Any

import pytest
from tests.plugins.dialects.claude import (
    CLAUDE,
    FOUR,
    STREAM,
    THOUGHT,
    call,
    recorded,
    reply,
    stream,
    streamed,
    text,
    thinking,
)

from backstory.model import Verdict
from backstory.tee import Tee

WORDS = {"type": "text_delta", "text": "a"}
UNKNOWN = {"type": "hologram_delta", "hologram": "a"}


def test_a_stream_may_be_cut_into_lines_in_any_way() -> None:
    answer = recorded("thinking.sse")
    for old, new in [(b"\n", b"\r\n"), (b"\n", b"\r"), (b": ", b":")]:
        respelled = answer._replace(body=answer.body.replace(old, new))
        assert reply(respelled) == (Verdict.COMPLETE, THOUGHT)
    bare = b"\n".join(line for line in answer.body.split(b"\n") if not line.startswith(b"event:"))
    assert reply(answer._replace(body=bare)) == (Verdict.COMPLETE, THOUGHT)


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        pytest.param(streamed(text(""), WORDS)[:-1], Verdict.ABORTED, id="no message_stop"),
        pytest.param(
            [e for e in streamed(text("a")) if e["type"] != "content_block_stop"],
            Verdict.ABORTED,
            id="a block without its end",
        ),
        pytest.param(
            [e for e in streamed(text("a")) if e["type"] != "message_delta"],
            Verdict.ABORTED,
            id="no reason",
        ),
        pytest.param(streamed(text("a"))[1:], Verdict.ERROR, id="a block without its start"),
        pytest.param(
            [streamed(text("a"))[0], *streamed(text("a"))], Verdict.ERROR, id="two blocks in one"
        ),
        pytest.param(
            [*streamed(text("a")), {"type": "error", "error": {}}], Verdict.ERROR, id="late error"
        ),
        pytest.param(
            [{"type": "a new event"}, *streamed(text("a"))], Verdict.COMPLETE, id="new event"
        ),
        pytest.param(
            streamed(call("t"), {"type": "input_json_delta", "partial_json": '{"a"'}),
            Verdict.ERROR,
            id="a call that was cut",
        ),
        pytest.param(
            streamed(call("t"), {"type": "input_json_delta", "partial_json": "[]"}),
            Verdict.ERROR,
            id="an input that is no object",
        ),
        pytest.param(streamed(call("t"), UNKNOWN), Verdict.ERROR, id="a lossy call"),
        pytest.param(streamed(text("a"), UNKNOWN), Verdict.EMPTY, id="a lossy text"),
    ],
)
def test_what_a_stream_must_have(events: list[dict[str, Any]], verdict: Verdict) -> None:
    assert reply(stream(*events))[0] is verdict


def test_a_lossy_block_goes_and_thinking_with_it() -> None:
    events = [
        *streamed(thinking())[:2],
        *streamed(text("b"), UNKNOWN, index=1)[:3],
        *streamed(text("c"), index=2),
    ]
    assert reply(stream(*events)) == (Verdict.COMPLETE, [text("c")])


def test_a_compaction_is_set_as_a_whole() -> None:
    delta = {"type": "compaction_delta", "content": "all", "encrypted_content": "ZW4="}
    events = [
        *streamed({"type": "compaction", "content": None}, delta)[:3],
        *streamed(text("a"), index=1),
    ]
    assert reply(stream(*events))[1][0] == {
        "type": "compaction",
        "content": "all",
        "encrypted_content": "ZW4=",
    }


def test_the_done_of_a_gateway_says_nothing() -> None:
    answer = recorded("reply.sse")
    assert reply(answer._replace(body=answer.body + b"data: [DONE]\n\n"))[1] == FOUR


def test_only_an_event_stream_has_an_end_marker() -> None:
    marker = CLAUDE.end_marker(STREAM)
    assert marker is not None
    assert marker.line_start
    assert b"event: message_stop" in marker.spellings
    assert CLAUDE.end_marker("application/json") is None
    inside = stream(*streamed(text('"type":"message_stop"'), WORDS))
    assert sum(inside.body.count(b"\n" + spelled) for spelled in marker.spellings) == 2


@pytest.mark.parametrize("name", ["reply.sse", "tool.sse"])
def test_wherever_chunks_are_cut_the_end_waits_and_nothing_else(name: str) -> None:
    body = recorded(name).body
    end = body.index(b"event: message_stop")
    for at in range(len(body) + 1):
        tee = Tee(1 << 20, CLAUDE.end_marker)
        tee.begin(200, STREAM, (), None)
        free = tee.feed(body[:at]) + tee.feed(body[at:])
        assert (free, tee.release()) == (body[:end], body[end:])
        assert tee.marked
        assert tee.body() == body

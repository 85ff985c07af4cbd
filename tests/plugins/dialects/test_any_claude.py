"""Any JSON where Anthropic's should be: it is read or it is not, and nothing is raised."""

import json

from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.claude import (
    CLAUDE,
    DATA,
    USER,
    assistant,
    messages,
    prompt,
    recorded,
    stream,
    streamed,
    thinking,
    whole,
)

from backstory.model import Answer


@given(st.data(), st.sampled_from(sorted(p.name for p in DATA.glob("*.sse"))), st.booleans())
def test_a_spoilt_answer_has_a_verdict(data: st.DataObject, name: str, proved: bool) -> None:
    """Pieces of a real answer, out of order, doubled or left out."""
    answer = recorded(name, proved=proved)
    lines = answer.body.splitlines(keepends=True)
    body = b"".join(data.draw(st.lists(st.sampled_from([*lines, b"\n", b"data: ", b"\xff"]))))
    read = CLAUDE.read_reply(prompt(USER), answer._replace(body=body))
    assert bool(read.messages) == read.verdict.kept


KEYS = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "text",
        "thinking",
        "signature",
        "id",
        "tool_use_id",
        "name",
        "input",
        "source",
        "data",
        "cache_control",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(), max_size=3),
    st.sampled_from(
        ["text", "thinking", "tool_use", "tool_result", "image", "user", "assistant", "�"]
    ),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"])},
    optional={"content": st.lists(st.dictionaries(KEYS, JSON, max_size=5), max_size=3) | JSON},
)


@given(st.lists(MESSAGES | JSON, max_size=4), JSON, JSON)
def test_any_list_of_messages_is_read_or_not(
    said: list[object], system: object, more: object
) -> None:
    body = {"messages": said, "system": system, "tools": more, "model": more, "max_tokens": more}
    read = CLAUDE.read_prompt(json.dumps(body).encode())
    if read is None:
        return
    pinned = [message.raw for message in read.pinned]
    for asked in (read, prompt(USER)):
        json.loads(CLAUDE.inject(asked, pinned, read.claimed + read.new))
    for message in read.claimed + read.new:
        assert message.tokens > 0
        for left in (CLAUDE.without_calls(message), CLAUDE.without_reasoning(message)):
            assert left is None or json.loads(left.raw)


@given(JSON | st.lists(st.dictionaries(KEYS, JSON, max_size=5), max_size=3), st.booleans())
def test_any_answer_has_a_verdict(content: object, proved: bool) -> None:
    start = {"type": "content_block_start", "index": 0, "content_block": content}
    delta = {"type": "content_block_delta", "index": 0, "delta": content}
    end = streamed({})[2:]
    for answer in (
        whole(content),
        stream(start, delta, *end),
        stream({"type": "message_start", "message": content}, delta),
    ):
        read = CLAUDE.read_reply(prompt(USER), answer._replace(proved=proved))
        assert bool(read.messages) == read.verdict.kept


def test_any_depth_has_a_verdict() -> None:
    """What can just be parsed may be too deep to be written, or compared."""
    for depth in [*range(100, 800, 100), *range(800, 1000, 3), 2000, 100_000]:
        deep = "[" * depth + "]" * depth
        nested = '{"content":[' * depth + "]}" * depth
        for block in (
            f'{{"type":"tool_use","id":"t","name":"n","input":{{"a":{deep}}}}}',
            f'{{"type":"tool_result","tool_use_id":"t","cache_control":1,"content":[{nested}]}}',
            f'{{"type":"thinking","signature":{deep}}}',
        ):
            body = f'{{"content":[{block},{{"type":"text","text":"a"}}],"stop_reason":"end_turn"}}'
            for read in (
                CLAUDE.read_reply(prompt(USER), Answer(200, "", body.encode(), True)),
                CLAUDE.read_reply(prompt(USER, USER), Answer(200, "", body.encode(), False)),
            ):
                assert bool(read.messages) == read.verdict.kept
            said = f'{{"role":"user","content":[{block}]}}'
            asked = CLAUDE.read_prompt(
                f'{{"system":{deep},"tools":{deep},"messages":[{said},{said}]}}'.encode()
            )
            for history in (messages(USER, assistant(thinking())), asked.new if asked else ()):
                CLAUDE.inject(asked or prompt(USER), (), [*messages(USER), *history])

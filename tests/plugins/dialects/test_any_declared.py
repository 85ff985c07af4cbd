"""Any JSON where a described API has its own: it is read or it is not, and nothing is raised."""

import json

from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.declared import answered, declared

from backstory.model import Prompt
from backstory.spi import Dialect

CLERK, ORACLE, PARROT = declared("clerk"), declared("oracle"), declared("parrot")
GUEST = {"speaker": "guest", "utterance": "What is 2+2?"}
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
NAMES = st.sampled_from(
    [
        "speaker",
        "utterance",
        "guest",
        "clerk",
        "why",
        "fault",
        "answer",
        "by",
        "role",
        "say",
        "text",
        "outputs",
        "delta",
        "done",
        "state",
        "error",
        "question",
        "turns",
        "said",
        "u",
        "a",
    ]
)
ANYTHING = st.recursive(
    LEAVES | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(ANYTHING, st.booleans())
def test_any_json_is_read_or_not_and_nothing_is_raised(value: object, proved: bool) -> None:
    for dialect in (CLERK, ORACLE, PARROT):
        for body in (
            {"dialogue": value, "ask": value, "input": value, "limits": value, "desk": value},
            {"dialogue": [value, GUEST], "ask": {"question": value}, "input": {"turns": [value]}},
        ):
            prompt = dialect.read_prompt(json.dumps(body).encode())
            if prompt is not None:
                json.loads(dialect.inject(prompt, (), prompt.new))
        _any_answer(dialect, json.dumps(value).encode(), proved=proved)


def test_any_depth_is_read_or_not() -> None:
    for depth in [*range(100, 1000, 30), 2000, 100_000]:
        deep = "[" * depth + "]" * depth
        for dialect in (CLERK, ORACLE, PARROT):
            message = f'{{"speaker":"guest","by":{{"role":"u"}},"x":{deep}}}'
            for value in (
                deep,
                f'{{"question":"x","turns":[{message}],"x":{deep}}}',
                f"[{message}]",
            ):
                body = f'{{"dialogue":{value},"ask":{value},"input":{value}}}'
                if prompt := dialect.read_prompt(body.encode()):
                    assert dialect.inject(prompt, (), prompt.new)
            answer = f'{{"answer":{{"utterance":"x","why":{deep}}},"fault":{deep},"state":{deep}}}'
            _any_answer(dialect, answer.encode(), proved=True)


def _any_answer(dialect: Dialect, body: bytes, *, proved: bool) -> None:
    for media_type, framed in (
        ("application/json", body),
        ("text/event-stream", b"data: " + body + b"\n\ndata: [END]\n\n"),
        ("application/x-ndjson", body + b"\n" + body),
    ):
        reply = dialect.read_reply(
            Prompt(b"", (), (), ()), answered(media_type, framed, proved=proved)
        )
        assert bool(reply.messages) == reply.verdict.kept

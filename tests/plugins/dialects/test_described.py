"""What can be wrong with a description: all of it is said at once, with the name and the remedy."""

import dataclasses
import re
from datetime import date
from pathlib import Path

import pytest
from tests.plugins.dialects.declared import options_of

from backstory.errors import ConfigError
from backstory_plugins.dialects._described import Description, Stream, read_description

NAMES = "see docs/declarative.md for the names"
PATH = "a path begins with $, as in $.answer.text"


def problems_of(options: dict[str, object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_description({k: v for k, v in options.items() if v is not None})
    return caught.value.problems


@pytest.mark.parametrize("api", ["clerk", "oracle", "parrot"])
def test_the_apis_of_these_tests_are_described_well(api: str) -> None:
    read_description(options_of(api))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"prompt": None},
            "prompt: missing; give the JSON path of the messages or of the text, as in $.messages",
        ),
        ({"prompt": 7}, f"prompt: {PATH}"),
        ({"prompt": "messages"}, f"prompt: {PATH}"),
        ({"prompt": "$.a[*]"}, "prompt: must name one place, without [*]"),
        ({"prompt": "$"}, "prompt: must begin with a name: the body is a JSON object"),
        ({"prompt": "$[0].a"}, "prompt: must begin with a name: the body is a JSON object"),
        ({"messages": "$.a"}, f"messages: unknown; {NAMES}"),
        ({"message": "text"}, "message: must be a table, as in { key = value }"),
        (
            {"message": {"a": "{role}", "b": "{text}", "c": date(2026, 1, 1)}},
            "message: holds a value that JSON does not have, such as a date",
        ),
        (
            {"message": {"a": "{role}", "b": "{text}", "c": float("inf")}},
            "message: holds a value that JSON does not have, such as a date",
        ),
        ({"message": {"b": "{text}"}}, 'message: "{role}" must stand in it alone, and once'),
        (
            {"message": {"a": "{role}", "b": "I say: {text}"}},
            'message: "{text}" must stand in it alone, and once',
        ),
        (
            {"message": {"a": ["{role}", "{role}"], "b": "{text}"}},
            'message: "{role}" must stand in it alone, and once',
        ),
        (
            {"transcript": {"user": "Q{text}", "assistant": "A{text}"}},
            "transcript: the prompt is a list of messages; give one of both",
        ),
        (
            {"roles": {"user": "u"}},
            "roles.assistant: missing; give what this API calls the assistant",
        ),
        (
            {"roles": {"user": "u", "assistant": "a", "tool": "t"}},
            "roles.tool: not one of system, user, assistant",
        ),
        (
            {"roles": {"user": "u", "assistant": "u"}},
            "roles: two have the same word, and could not be told apart",
        ),
        (
            {"roles": {"user": "u", "assistant": "a", "system": 7}},
            "roles.system: must be a text, and not empty",
        ),
        (
            {"verdicts": {"a": "good"}},
            "verdicts.a: not one of complete, tool, truncated, paused, filtered, error, empty",
        ),
        (
            {"finish": None, "stream": None},
            "verdicts: nothing says a word to look up; give finish, its JSON path",
        ),
        ({"error_body": "x"}, "error_body: must be a table, as in { key = value }"),
        ({"stream": "sse"}, "stream: must be a table, as in { key = value }"),
    ],
)
def test_a_wrong_option_is_said(changes: dict[str, object], expected: str) -> None:
    assert problems_of(options_of("clerk") | changes) == [expected]


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (
            {"user": "Q{text}"},
            'transcript.assistant: missing; give how one is told, as in "Human: ',
        ),
        (
            {"user": "{text}", "assistant": "A{text}"},
            "transcript.user: must be a title and, once, ",
        ),
        ({"user": "Q", "assistant": "A{text}"}, "transcript.user: must be a title and, once, "),
        (
            {"user": "Q{text}{text}", "assistant": "A{text}"},
            "transcript.user: must be a title and, once, ",
        ),
        (
            {"user": "Q{text}", "assistant": "Q{text}\n"},
            "transcript: two have the same title, and could not be told apart",
        ),
        (
            {"user": "Q{text}", "assistant": "A{text}", "end": "A"},
            "transcript.end: not one of system, user, assistant, ending",
        ),
        ({"user": "Q{text}", "assistant": ["A"]}, "transcript.assistant: must be a text, and not "),
    ],
)
def test_a_wrong_transcript_is_said(transcript: dict[str, object], expected: str) -> None:
    problems = problems_of(options_of("oracle") | {"transcript": transcript})
    assert problems[0].startswith(expected)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ({"text": "$.a"}, "stream.kind: missing; one of sse, ndjson, text"),
        ({"kind": "websocket", "text": "$.a"}, "stream.kind: not one of sse, ndjson, text"),
        ({"kind": ["sse"], "text": "$.a"}, "stream.kind: must be a text, and not empty"),
        (
            {"kind": "sse"},
            "stream.text: missing; give the JSON path of a piece of the reply in an event",
        ),
        ({"kind": "sse", "text": "a"}, f"stream.text: {PATH}"),
        ({"kind": "text", "text": "$.a"}, "stream.text: raw text has no paths; leave it out"),
        (
            {"kind": "sse", "text": "$.a", "cumulative": 1},
            "stream.cumulative: must be true or false",
        ),
        (
            {"kind": "sse", "text": "$.a", "media_types": [1.5]},
            "stream.media_types: must be a list of texts",
        ),
        (
            {"kind": "ndjson", "text": "$.a", "end_text": "x"},
            "stream.end_text: ndjson has no place for it; it has end",
        ),
        (
            {"kind": "text", "end": "$.a", "end_values": 1},
            "stream.end: text has no place for it; it has end_text",
        ),
        (
            {"kind": "sse", "text": "$.a", "end_text": "x", "end_event": "y"},
            "stream.end_event: the end is said by end_text already; give one of both",
        ),
        (
            {"kind": "sse", "text": "$.a", "end": "$.b"},
            "stream.end_values: missing; end says nothing without it",
        ),
        (
            {"kind": "sse", "text": "$.a", "end_values": "b"},
            "stream.end: missing; end_values says nothing without it",
        ),
        (
            {"kind": "sse", "text": "$.a", "end": "$.b", "end_values": [1.5]},
            "stream.end_values: must be texts, whole numbers, true or false",
        ),
        ({"kind": "sse", "text": "$.a", "end_event": "a\nb"}, "stream.end_event: must be one line"),
        (
            {"kind": "sse", "text": "$.a", "end_text": ""},
            "stream.end_text: must be a text, and not",
        ),
        ({"kind": "sse", "text": "$.a", "piece": "$.a"}, f"stream.piece: unknown; {NAMES}"),
    ],
)
def test_a_wrong_stream_is_said(stream: dict[str, object], expected: str) -> None:
    (problem,) = problems_of(options_of("clerk") | {"stream": stream})
    assert problem.startswith(expected)


def test_everything_is_said_at_once() -> None:
    stream = {"kind": "sse", "text": "x", "end": "$.a", "sort": 1}
    options: dict[str, object] = {"prompt": "x", "reply": "y", "modle": "$.m", "stream": stream}
    assert [problem.partition(":")[0] for problem in problems_of(options)] == [
        "prompt",
        "message",
        "reply",
        "stream.text",
        "stream.end_values",
        "stream.sort",
        "modle",
    ]


def test_every_option_is_documented_and_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs/declarative.md").read_text(encoding="utf-8")
    tables = page.split("| option | needed | what it says |\n")[1:]
    written = [re.findall(r"^\| `(\w+)` \|", t.split("\n\n")[0], re.MULTILINE) for t in tables]
    fields = [{f.name for f in dataclasses.fields(part)} for part in (Description, Stream)]
    told = {"message", "roles", "transcript"}  # together, how a conversation is told
    assert [set(names) for names in written] == [fields[0] - {"told"} | told, fields[1]]

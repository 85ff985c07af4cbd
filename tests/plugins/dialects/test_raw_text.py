"""What holds for every dialect of raw text, whoever stored what is told."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plugins.dialects.raw_texts import Recorded, prompt_of, said

from backstory.history import repaired
from backstory.jsonbody import NotJson, dump
from backstory.model import Answer, Message, Role
from backstory.spi import Dialect
from backstory.tee import Tee
from backstory_plugins.dialects._chat import read_message
from backstory_plugins.dialects._raw_text import first_object
from backstory_plugins.dialects.falcon import Falcon
from backstory_plugins.dialects.llamacpp_completion import LlamaCppCompletion
from backstory_plugins.dialects.ollama_generate import OllamaGenerate
from backstory_plugins.dialects.openai_completions import OpenAICompletions
from backstory_plugins.dialects.tgi import Tgi

DIALECTS: dict[str, Dialect] = {
    "text": Falcon(),
    "prompt": OpenAICompletions(),
    "inputs": Tgi(),
    "prompt ": LlamaCppCompletion(),
    "prompt  ": OllamaGenerate(),
}
FIELDS = list(DIALECTS)
TITLES = {"Human": "user", "AI": "assistant"}


def told(field: str, history: Sequence[Message], text: str) -> str:
    """The one string that goes upstream."""
    dialect, key = DIALECTS[field], field.strip()
    prompt = prompt_of(dialect, dump({key: text}))
    value = json.loads(dialect.inject(prompt, (), history))[key]
    assert isinstance(value, str)
    return value


def message(**value: object) -> Message:
    found = read_message(value, dump(value))
    assert found is not None
    return found


@pytest.mark.parametrize("field", FIELDS)
def test_only_what_was_said_is_told(field: str) -> None:
    history = [
        message(role="system", content="Be brief."),
        message(role="user", content=[{"type": "text", "text": "a"}, {"type": "image_url"}]),
        message(role="assistant", content=None, tool_calls=[{"id": "c1"}]),
        message(role="tool", content="3 C", tool_call_id="c1"),
        message(role="assistant", content=" <|endoftext|>\n"),
    ]
    assert told(field, history, "b") == "Human: a\nAI:  <| endoftext|>\n\nHuman: b\nAI: "


@pytest.mark.parametrize("field", FIELDS)
def test_whatever_surrounds_the_string_keeps_its_bytes(field: str) -> None:
    dialect, key = DIALECTS[field], field.strip()
    body = f' {{"é\U0001f600":"\u2028","{key}" :\t"\\u00e9\U0001f600" ,"мир":1E400}}\n'.encode()
    prompt = prompt_of(dialect, body)
    spelled = '"\\u00e9\U0001f600"'.encode()
    assert body.count(spelled) == 1
    wrapped = '"Human: é\U0001f600\\nAI: "'.encode()
    assert dialect.inject(prompt, (b'{"role":"system"}',), ()) == body.replace(spelled, wrapped)


TEXTS = st.text(st.characters(exclude_characters="\n"), max_size=6)
TURNS = st.lists(
    st.tuples(TEXTS, st.lists(st.booleans(), max_size=3), TEXTS), min_size=1, max_size=5
)


def conversation(turns: Sequence[tuple[str, Sequence[bool], str]]) -> list[Message]:
    """Each turn: what the user says, calls (answered or not), and what the assistant says."""
    found = []
    for number, (asked, calls, replied) in enumerate(turns):
        found.append(message(role="user", content=f"u{number} {asked}"))
        ids = [f"c{number}_{at}" for at in range(len(calls))]
        if ids:
            spelled = [
                {"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}}
                for i in ids
            ]
            found.append(message(role="assistant", content=None, tool_calls=spelled))
            found += [
                message(role="tool", content="result", tool_call_id=ident)
                for ident, answered in zip(ids, calls, strict=True)
                if answered
            ]
        found.append(message(role="assistant", content=f"a{number} {replied}"))
    return found


@pytest.mark.parametrize("field", FIELDS)
@given(turns=TURNS, data=st.data())
def test_any_history_is_told_by_two_voices_alone(
    field: str, turns: list[tuple[str, list[bool], str]], data: st.DataObject
) -> None:
    """Calls, answered or abandoned, and wherever the history is cut."""
    history = conversation(turns)
    cut = data.draw(st.integers(0, len(history)))
    forwarded = repaired(history[cut:], [], DIALECTS[field].without_calls)
    lines = told(field, forwarded, "now").split("\n")
    assert lines[-2:] == ["Human: now", "AI: "]
    spoken = [(TITLES[title], text) for title, _, text in (line.partition(": ") for line in lines)]
    expected = [
        (role, text.replace("<|endoftext|>", "<| endoftext|>"))
        for role, text in said(history[cut:])
        if role in ("user", "assistant") and text
    ]
    assert spoken == [*expected, ("user", "now"), ("assistant", "")]


@pytest.mark.parametrize("field", FIELDS)
@given(text=st.text(st.characters()), role=st.sampled_from(["user", "assistant"]))
def test_any_text_can_be_asked_and_told(field: str, text: str, role: Role) -> None:
    history = [message(role=role, content=text)]
    title = {"user": "Human: ", "assistant": "AI: "}[role]
    broken_up = text.replace("<|endoftext|>", "<| endoftext|>")
    line = f"{title}{broken_up}\n" if text else ""
    is_transcript = text.startswith("Human: ") and text.endswith(("\nAI: ", "\nAI:"))
    asked = text if is_transcript else f"Human: {text}\nAI: "
    if text or field != "prompt  ":  # Ollama without a prompt loads its model
        assert told(field, history, text) == line + asked


@pytest.mark.parametrize(
    ("body", "value"), [(b'{"a":1}', {"a": 1}), (b'[{"a":1}]', {"a": 1}), (b' [{},{"a":1}]', {})]
)
def test_the_first_object_of_an_answer(body: bytes, value: object) -> None:
    assert first_object(body) == value


@pytest.mark.parametrize("body", [b"", b"[]", b"[1]", b"null", b'{"a":1}x', b"\xff", b"[" * 99_999])
def test_an_answer_without_an_object(body: bytes) -> None:
    with pytest.raises(NotJson):
        first_object(body)


STREAMS = {
    "reply.sse": (OpenAICompletions(), Tgi(), LlamaCppCompletion()),
    "reply.ndjson": (OllamaGenerate(),),
}


@pytest.mark.parametrize(
    ("dialect", "name"),
    [pytest.param(each, name, id=each.name) for name, all_ in STREAMS.items() for each in all_],
)
def test_wherever_a_stream_is_split_its_end_waits_and_its_reply_is_the_same(
    dialect: Dialect, name: str
) -> None:
    answer = Recorded(dialect.name).answer(name)
    marker = dialect.end_marker(answer.media_type)
    assert marker is not None
    ends = min(at for s in marker.spellings if (at := answer.body.find(s)) >= 0)
    prompt = prompt_of(dialect, Recorded(dialect.name).body("request.json"))
    whole = dialect.read_reply(prompt, answer)
    for at in range(len(answer.body) + 1):
        tee = Tee(1 << 20, dialect.end_marker)
        tee.begin(200, answer.media_type, (), None)
        free = tee.feed(answer.body[:at]) + tee.feed(answer.body[at:])
        assert free == answer.body[:ends]
        assert free + tee.release() == answer.body
        again = answer._replace(body=tee.body())
        assert dialect.read_reply(prompt, again) == whole


KEYS = ["choices", "text", "finish_reason", "index", "usage", "prompt_tokens", "error"]
KEYS += ["generated_text", "details", "input_length", "content", "stop", "stop_type", "truncated"]
KEYS += ["stopped_eos", "stopped_limit", "tokens_evaluated", "response", "done", "done_reason"]
KEYS += ["eval_count", "prompt_eval_count"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.floats(),
    st.sampled_from(["", "4", "stop", "length", "eos", "limit", "eos_token", "load", "\ud800"]),
)
OBJECTS = st.dictionaries(
    st.sampled_from(KEYS),
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
        ),
        max_leaves=8,
    ),
    max_size=7,
)


@pytest.mark.parametrize("field", FIELDS[1:])
@given(pieces=st.lists(OBJECTS, max_size=4), proved=st.booleans())
def test_any_json_has_a_verdict(field: str, pieces: list[object], proved: bool) -> None:
    dialect = DIALECTS[field]
    prompt = prompt_of(dialect, dump({field.strip(): "2+2?"}))
    bodies = [("application/json", json.dumps(piece)) for piece in (pieces, *pieces)]
    bodies.append(("text/event-stream", "".join(f"data: {json.dumps(p)}\n\n" for p in pieces)))
    bodies.append(("application/x-ndjson", "".join(f"{json.dumps(p)}\n" for p in pieces)))
    for media_type, body in bodies:
        reply = dialect.read_reply(prompt, Answer(200, media_type, body.encode(), proved))
        assert bool(reply.messages) == reply.verdict.kept
        for stored in reply.messages:
            assert said([stored])[0][1].strip()
            assert told("text", [stored], "x").startswith("AI: ")


@pytest.mark.parametrize("field", FIELDS)
@given(fields=st.dictionaries(st.sampled_from([*KEYS, "parameters", "options", "suffix"]), LEAVES))
def test_whatever_stands_beside_the_prompt_it_is_read_or_not(
    field: str, fields: dict[str, object]
) -> None:
    dialect, key = DIALECTS[field], field.strip()
    prompt = dialect.read_prompt(dump({**fields, key: "x"}))
    if prompt is not None:
        told = json.loads(dialect.inject(prompt, (), ()))
        assert told.pop(key) == "Human: x\nAI: "
        assert repr(told) == repr({k: v for k, v in fields.items() if k != key})

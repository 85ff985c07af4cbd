"""OpenAI's legacy Completions: read by our own reader of it, streamed and not."""

import json

import pytest

from backstory.demo_upstream.openai_completions import speak
from backstory.model import Answer, Prompt, Verdict
from backstory_plugins.dialects.openai_completions import OpenAICompletions


def read(fields: dict[str, object]) -> tuple[Verdict, str]:
    spoken = speak(fields)
    answer = Answer(spoken.status, spoken.content_type, b"".join(spoken.pieces), True)
    reply = OpenAICompletions().read_reply(Prompt(b"", (), (), ()), answer)
    return reply.verdict, "".join(json.loads(m.raw)["content"] for m in reply.messages)


@pytest.mark.parametrize("stream", [False, True])
def test_both_forms_say_the_same(stream: bool) -> None:
    fields: dict[str, object] = {"prompt": ["Repeat the number 94572"], "stream": stream}
    assert read(fields) == (Verdict.COMPLETE, "94572")
    assert read({"prompt": "Say 'a b c d'", "max_tokens": 2, "stream": stream}) == (
        Verdict.TRUNCATED,
        "a b",
    )


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_limit_sixteen_tokens_come(stream: bool) -> None:
    words = "a " * 20
    verdict, text = read({"prompt": f"Say '{words}z'", "stream": stream})
    assert (verdict, text) == (Verdict.TRUNCATED, ("a " * 16).strip())


def test_usage_is_told_in_a_stream_if_it_is_wanted() -> None:
    fields: dict[str, object] = {"prompt": "Hi", "stream": True}
    *_, done = speak(fields).pieces
    assert done == b"data: [DONE]\n\n"
    wanted = speak(fields | {"stream_options": {"include_usage": True}}).pieces[-2]
    chunk = json.loads(wanted.removeprefix(b"data: "))
    assert (chunk["choices"], chunk["usage"]["prompt_tokens"]) == ([], 1)
    assert len(speak(fields).pieces) + 1 == len(
        speak(fields | {"stream_options": {"include_usage": True}}).pieces
    )


@pytest.mark.parametrize("prompt", [None, 7, [], ["a", "b"], [1, 2], [[1]]])
def test_other_prompts_are_refused(prompt: object) -> None:
    spoken = speak({"prompt": prompt})
    assert spoken.status == 400
    error = json.loads(b"".join(spoken.pieces))["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "prompt")


def test_the_model_is_the_one_asked_for() -> None:
    assert json.loads(speak({"prompt": "a", "model": "m"}).pieces[0])["model"] == "m"
    assert json.loads(speak({"prompt": "a"}).pieces[0])["model"] == "backstory-demo"

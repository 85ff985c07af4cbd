"""The llama.cpp server's completions: read by our own reader of it, streamed and not."""

import json

import pytest

from backstory.demo_upstream.llamacpp import speak
from backstory.model import Answer, Prompt, Verdict
from backstory_plugins.dialects.llamacpp_completion import LlamaCppCompletion


def read(fields: dict[str, object]) -> tuple[Verdict, str]:
    spoken = speak(fields)
    answer = Answer(200, spoken.content_type, b"".join(spoken.pieces), True)
    reply = LlamaCppCompletion().read_reply(Prompt(b"", (), (), ()), answer)
    return reply.verdict, "".join(json.loads(m.raw)["content"] for m in reply.messages)


@pytest.mark.parametrize("stream", [False, True])
def test_both_forms_say_the_same(stream: bool) -> None:
    fields: dict[str, object] = {"prompt": "Say 'a b c'", "stream": stream}
    assert read(fields) == (Verdict.COMPLETE, "a b c")
    assert read(fields | {"n_predict": 2}) == (Verdict.TRUNCATED, "a b")
    assert read(fields | {"n_predict": -1, "stop": [" c"]}) == (Verdict.COMPLETE, "a b")


@pytest.mark.parametrize("prompt", [None, 7, [1, 2], ["a"], {"prompt_string": "a"}])
def test_other_prompts_are_refused(prompt: object) -> None:
    spoken = speak({"prompt": prompt})
    assert spoken.status == 400
    assert json.loads(spoken.pieces[0])["error"]["type"] == "invalid_request_error"

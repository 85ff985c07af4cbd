"""Ollama's ``/api/generate``: read by our own reader of it; lines are its default."""

import json

import pytest

from backstory.demo_upstream.ollama_generate import speak
from backstory.model import Answer, Prompt, Verdict
from backstory_plugins.dialects.ollama_generate import OllamaGenerate


def read(fields: dict[str, object]) -> tuple[Verdict, str]:
    spoken = speak(fields)
    answer = Answer(200, spoken.content_type, b"".join(spoken.pieces), True)
    reply = OllamaGenerate().read_reply(Prompt(b"", (), (), ()), answer)
    return reply.verdict, "".join(json.loads(m.raw)["content"] for m in reply.messages)


@pytest.mark.parametrize(
    ("how", "content_type"),
    [
        ({}, "application/x-ndjson"),
        ({"stream": True}, "application/x-ndjson"),
        ({"stream": None}, "application/x-ndjson"),
        ({"stream": False}, "application/json"),
    ],
)
def test_both_forms_say_the_same(how: dict[str, object], content_type: str) -> None:
    fields: dict[str, object] = {"prompt": "Say 'a b c'"} | how
    assert speak(fields).content_type == content_type
    assert read(fields) == (Verdict.COMPLETE, "a b c")
    assert read(fields | {"options": {"num_predict": 2}}) == (Verdict.TRUNCATED, "a b")
    assert read(fields | {"options": {"stop": [" c"]}}) == (Verdict.COMPLETE, "a b")


@pytest.mark.parametrize("fields", [{}, {"prompt": ""}])
def test_without_a_prompt_a_model_is_loaded(fields: dict[str, object]) -> None:
    assert json.loads(speak(fields).pieces[0])["done_reason"] == "load"
    assert read(fields) == (Verdict.EMPTY, "")


@pytest.mark.parametrize("fields", [{"prompt": 7}, {"prompt": None}, {"model": 7, "prompt": "a"}])
def test_other_bodies_are_refused(fields: dict[str, object]) -> None:
    spoken = speak(fields)
    assert spoken.status == 400
    assert "must be a string" in json.loads(spoken.pieces[0])["error"]

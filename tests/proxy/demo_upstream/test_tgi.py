"""Text Generation Inference: read by our own reader of it, streamed and not."""

import json
from collections.abc import Callable

import pytest

from backstory.demo_upstream.raw_prompt import Fields, Spoken
from backstory.demo_upstream.tgi import speak, speak_in_events
from backstory.jsonbody import dump
from backstory.model import Answer, Verdict
from backstory_plugins.dialects.tgi import Tgi

Speak = Callable[[Fields], Spoken]


def read(how: Speak, inputs: str, **parameters: object) -> tuple[Verdict, str]:
    fields = {"inputs": inputs, "parameters": parameters}
    spoken, body = how(fields), dump(fields)
    answer = Answer(200, spoken.content_type, b"".join(spoken.pieces), True, body)
    prompt = Tgi().read_prompt(body)
    assert prompt is not None
    reply = Tgi().read_reply(prompt, answer)
    return reply.verdict, "".join(json.loads(m.raw)["content"] for m in reply.messages)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("how", [speak, speak_in_events])
def test_both_forms_say_the_same(how: Speak, full: bool) -> None:
    more = {"return_full_text": full, "details": True}
    assert read(how, "Repeat the number 94572", **more) == (Verdict.COMPLETE, "94572")
    assert read(how, "Say 'a b c'", max_new_tokens=2, **more) == (Verdict.TRUNCATED, "a b")
    assert read(how, "Say 'a b c'", stop=[" c"], **more) == (Verdict.COMPLETE, "a b")


def test_details_are_told_if_they_are_wanted() -> None:
    assert set(json.loads(speak({"inputs": "a"}).pieces[0])) == {"generated_text"}


def test_the_last_token_is_special_and_the_text_has_none_of_it() -> None:
    spoken = speak_in_events({"inputs": "Repeat the number 94572"})
    assert spoken.content_type == "text/event-stream"
    events = [json.loads(piece.removeprefix(b"data:")) for piece in spoken.pieces]
    assert [event["token"]["text"] for event in events] == ["94572", "</s>"]
    assert [event["generated_text"] for event in events] == [None, "94572"]


@pytest.mark.parametrize("how", [speak, speak_in_events])
@pytest.mark.parametrize("inputs", [None, 7, ["a"]])
def test_other_inputs_are_refused(how: Speak, inputs: object) -> None:
    spoken = how({"inputs": inputs})
    assert (spoken.status, spoken.content_type) == (422, "application/json")
    assert json.loads(spoken.pieces[0])["error_type"] == "validation"

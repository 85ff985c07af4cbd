"""Items that a request of Responses names by their id alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model import Message, Prompt
from backstory.transcripts import in_common
from backstory_plugins.dialects.openai_responses import OpenAIResponses

RESPONSES = OpenAIResponses()
USER = '{"role":"user","content":"Ünïcode \\u2028"}'
SAID = '{ "type":"message", "id":"msg_1", "role":"assistant", "content":"Hällo"}'
CALL = '{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}"}'
RESULT = '{"type":"function_call_output","call_id":"c","output":"t"}'
MESSAGE = '{"type":"item_reference","id":"msg_1"}'


def stored(*raws: str, form: str = "responses") -> list[Message]:
    return [Message("assistant", raw.encode(), b"", b"", form=form) for raw in raws]


def body(*items: str, fields: str = "") -> bytes:
    return f'{{"model":"m" , "input":[ {" ,".join(items)} ]{fields}}}'.encode()


def prompt_of(spelled: bytes) -> Prompt:
    read = RESPONSES.read_prompt(spelled)
    assert read is not None
    return read


def resolved(spelled: bytes, *messages: Message) -> bytes | None:
    resolve = prompt_of(spelled).resolve
    assert resolve is not None
    return resolve(messages)


@pytest.mark.parametrize(
    "reference", [MESSAGE, '{"id":"msg_1"}', '{"id": "msg_\\u0031", "type": null}']
)
def test_an_item_takes_the_place_of_its_reference_and_no_other_byte_changes(
    reference: str,
) -> None:
    known = stored(f"{CALL}, {SAID}")
    assert resolved(body(USER, reference, USER, fields=' ,"x":1E400'), *known) == body(
        USER, SAID, USER, fields=' ,"x":1E400'
    )


def test_what_the_request_says_of_its_place_is_read_before_it_is_whole() -> None:
    read = prompt_of(body(MESSAGE, USER, fields=',"previous_response_id":"resp_1","store":false'))
    assert (read.follows, read.conversation, read.stores) == ("resp_1", "", False)
    assert (read.pinned, read.claimed, read.new) == ((), (), ())
    assert (
        prompt_of(body(MESSAGE, USER, fields=',"conversation":"conv_1"')).conversation == "conv_1"
    )


@pytest.mark.parametrize(
    "known",
    [
        [],
        stored(CALL),
        stored(SAID, form="chat"),
        stored("not JSON"),
        stored('{"type":"message","id":["msg_1"],"role":"assistant","content":"x"}'),
        stored(SAID, SAID.replace("Hällo", "Hi")),
    ],
    ids=["nothing", "another item", "another form", "damaged", "no text", "two of one name"],
)
def test_what_is_not_there_exactly_once_is_left_alone(known: list[Message]) -> None:
    assert resolved(body(USER, MESSAGE, USER), *known) is None


def test_one_that_is_missing_is_missed_for_all() -> None:
    call = '{"type":"item_reference","id":"fc_2"}'
    assert resolved(body(USER, MESSAGE, call, USER), *stored(f"{CALL}, {SAID}")) is None


def test_an_item_that_is_named_twice_is_not_multiplied() -> None:
    assert resolved(body(USER, MESSAGE, USER, MESSAGE), *stored(SAID)) is None


def test_the_same_item_twice_is_no_doubt() -> None:
    assert resolved(body(USER, MESSAGE), *stored(SAID, SAID)) == body(USER, SAID)


def test_an_upstream_that_keeps_its_state_gets_the_reference() -> None:
    assert OpenAIResponses(state="upstream").read_prompt(body(USER, MESSAGE, USER)) is None


@pytest.mark.parametrize(
    "item",
    ['{"type":"item_reference","id":7}', '{"type":"item_reference"}', '{"type":7,"id":"msg_1"}'],
)
def test_what_is_no_reference_is_not_understood(item: str) -> None:
    assert RESPONSES.read_prompt(body(USER, item, USER)) is None


@given(st.lists(st.sampled_from("ucrm"), max_size=8), st.data())
def test_whatever_is_named_the_prompt_is_that_of_the_whole_transcript(
    letters: list[str], data: st.DataObject
) -> None:
    whole = [spelled(letter, at) for at, letter in enumerate(letters)] + [USER]
    known = stored(", ".join(whole)) if whole else []
    named = [
        json.dumps({"type": "item_reference", "id": ident})
        if (ident := json.loads(item).get("id")) and data.draw(st.booleans())
        else item
        for item in whole
    ]
    read = prompt_of(body(*named))
    if named == whole:
        assert read.resolve is None
        return
    assert resolved(body(*named), *known) == body(*whole)
    # The same where the beginning is known from the last time.
    before = body(*whole[:-1])
    begins = prompt_of(before).begins if len(whole) > 1 else None
    begun = in_common(before, begins, body(*named)) if begins else None
    again = RESPONSES.read_prompt(body(*named), begun)
    assert again is not None
    assert again.resolve is not None
    assert again.resolve(known) == body(*whole)


def spelled(letter: str, at: int) -> str:
    items: dict[str, dict[str, Any]] = {
        "u": {"role": "user", "content": "u"},
        "c": {"type": "function_call", "id": f"fc_{at}", "call_id": "c", "name": "f"},
        "r": {"type": "reasoning", "id": f"rs_{at}", "encrypted_content": "g"},
        "m": {"type": "message", "id": f"msg_{at}", "role": "assistant", "content": "ä"},
    }
    return json.dumps(items[letter], ensure_ascii=False)

"""A streamed reply, put together from what servers send."""

import json

import pytest

from backstory_plugins.dialects._chunks import Streamed, read_chunks


def chunk(
    delta: object = None, finish: object = None, index: object = 0, **more: object
) -> dict[str, object]:
    return {"choices": [{"index": index, "delta": delta or {}, "finish_reason": finish}], **more}


def stream(*chunks: object) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks)


def read(*deltas: object) -> dict[str, object]:
    return read_chunks(stream(*(chunk(delta) for delta in deltas))).message


def calls(*deltas: list[object]) -> object:
    return read(*({"tool_calls": fragments} for fragments in deltas))["tool_calls"]


def piece(arguments: object = None, name: object = None, **more: object) -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return {"function": {k: v for k, v in function.items() if v is not None}, **more}


def call(ident: str, arguments: str, name: str = "f") -> dict[str, object]:
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_strings_are_appended_and_nulls_add_nothing() -> None:
    assert read({"content": "a", "refusal": None}, {"content": None}, {"content": "b"}) == {
        "content": "ab",
        "refusal": None,
    }


def test_a_role_that_is_repeated_is_set() -> None:
    assert read({"role": "assistant"}, {"role": "assistant", "content": "a"}) == {
        "role": "assistant",
        "content": "a",
    }


def test_reasoning_is_appended_and_kept_even_if_empty() -> None:
    assert read({"reasoning_content": ""}, {"reasoning_content": None}) == {"reasoning_content": ""}
    assert read({"reasoning": "a"}, {"reasoning": "b"}) == {"reasoning": "ab"}


def test_content_in_parts_stays_in_parts() -> None:
    thinking = {"type": "thinking", "thinking": []}
    assert read({"content": ""}, {"content": [thinking]}, {"content": "4"}, {"content": "."}) == {
        "content": [thinking, {"type": "text", "text": "4."}]
    }


def test_of_an_unknown_key_the_last_value_counts() -> None:
    assert read({"extra": {"a": 1}}, {"extra": {"b": 2}}, {"extra": None}) == {"extra": {"b": 2}}


def test_a_call_is_its_pieces_by_index() -> None:
    assert calls(
        [piece("", "f", index=0, id="c1", type="function")],
        [piece("{", index=0), piece("[", "g", index=1, id="c2")],
        [piece("]", index=1), piece("}", index=0)],
    ) == [call("c1", "{}"), call("c2", "[]", "g")]


def test_a_server_that_repeats_id_and_name_means_the_same_call() -> None:
    assert calls(
        [piece("{", "f", index=0, id="c1", type="function")],
        [piece("}", "f", index=0, id="c1", type="function")],
    ) == [call("c1", "{}")]


def test_another_id_at_the_same_index_is_another_call() -> None:
    assert calls(
        [piece("{}", "f", index=0, id="c1")],
        [piece("", "g", index=0, id="c2")],
        [piece("[]", index=0, id="")],
    ) == [call("c1", "{}"), call("c2", "[]", "g")]


def test_an_id_made_up_for_every_piece_is_not_another_call() -> None:
    assert calls([piece("{", "f", index=0, id="c1")], [piece("}", index=0, id="x1")]) == [
        call("c1", "{}")
    ]


def test_without_index_a_call_is_known_by_its_place_and_id() -> None:
    assert calls([piece("{}", "f", id="c1"), piece("[", "g", id="c2")], [piece("]")]) == [
        call("c1", "{}"),
        call("c2", "[]", "g"),
    ]


def test_without_index_the_place_counts_if_there_is_an_id() -> None:
    assert calls(
        [piece("{", "f", id="c1"), piece("[", "g", id="c2")],
        [piece("}", id="c1"), piece("]", id="c2")],
    ) == [call("c1", "{}"), call("c2", "[]", "g")]


def test_without_index_a_later_id_begins_another_call() -> None:
    assert calls([piece("{}", "f", id="c1")], [piece("[]", "g", id="c2")]) == [
        call("c1", "{}"),
        call("c2", "[]", "g"),
    ]


def test_a_custom_call_has_an_input() -> None:
    custom = {"name": "sh", "input": "l"}
    assert calls(
        [{"index": 0, "id": "c1", "custom": custom}], [{"index": 0, "custom": {"input": "s"}}]
    ) == [{"id": "c1", "custom": {"name": "sh", "input": "ls"}, "type": "custom"}]


def test_arguments_that_are_an_object_are_spelled() -> None:
    assert calls([piece({"a": "é"}, "f", index=0, id="c1")]) == [
        {**call("c1", '{"a":"é"}'), "type": "function"}
    ]


def test_unknown_keys_of_a_call_are_kept() -> None:
    google = {"google": {"thought_signature": "c2ln"}}
    assert calls(
        [piece("{}", "f", index=0, id="c1", extra_content=google)], [piece("", index=0, x=None)]
    ) == [{**call("c1", "{}"), "extra_content": google}]


def test_a_legacy_call_and_speech_are_put_together() -> None:
    assert read(
        {"function_call": {"name": "f", "arguments": "{"}, "audio": {"id": "a1", "data": "x"}},
        {"function_call": {"arguments": "}"}, "audio": {"data": "y", "transcript": "z"}},
    ) == {
        "function_call": {"name": "f", "arguments": "{}"},
        "audio": {"id": "a1", "data": "xy", "transcript": "z"},
    }


def test_reasoning_details_with_an_index_are_one_entry() -> None:
    deltas: list[list[object]] = [
        [{"type": "reasoning.text", "index": 0, "text": "a", "signature": None}],
        [{"type": "reasoning.text", "index": 0, "text": "b"}, {"type": "reasoning.encrypted"}],
        [{"type": "reasoning.text", "index": 0, "signature": "s"}],
        [{"type": "reasoning.encrypted"}, {"type": "reasoning.text", "index": 1, "text": "c"}],
    ]
    assert read(*({"reasoning_details": details} for details in deltas)) == {
        "reasoning_details": [
            {"type": "reasoning.text", "index": 0, "text": "ab", "signature": "s"},
            {"type": "reasoning.encrypted"},
            {"type": "reasoning.encrypted"},
            {"type": "reasoning.text", "index": 1, "text": "c"},
        ]
    }


def test_memory_keeps_the_choice_with_the_lowest_index() -> None:
    body = stream(
        chunk({"content": "B"}, index=1),
        chunk({"content": "A"}, index=0),
        chunk({}, "length", index=1),
        chunk({"content": "a"}, "stop", index=0),
    )
    assert read_chunks(body) == Streamed({"content": "Aa"}, "stop", False)


def test_choices_without_an_index_are_known_by_their_place() -> None:
    choices = [{"delta": {"content": text}, "finish_reason": "stop"} for text in "AB"]
    assert read_chunks(stream({"choices": choices})).message == {"content": "A"}


def test_chunks_without_choices_say_nothing() -> None:
    body = stream({"choices": []}, {"choices": None}, {"usage": {}}, {"choices": [7, {}]})
    assert read_chunks(body) == Streamed({}, None, False)


@pytest.mark.parametrize("finish", [None, "", 7, ["stop"]])
def test_only_a_word_is_a_finish_reason(finish: object) -> None:
    assert read_chunks(stream(chunk({"content": "a"}, finish))).finish is None


def test_a_finish_reason_is_not_taken_back_and_an_error_stays() -> None:
    assert read_chunks(stream(chunk({}, "stop"), chunk({}))).finish == "stop"
    assert read_chunks(stream(chunk({}, "error"), chunk({}, "stop"))).finish == "error"


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error":{"message":"died"}}\n\n',
        b'data: {"error":"died"}',
        b'error: {"code":500}\n\n',
        b"event: error\ndata: {}\n\n",
        b"data: {not json\n\n",
        b"data: []\n\n",
        b'data: {"x":"\xff"}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_an_error_or_an_event_that_cannot_be_read_spoils_the_stream(event: bytes) -> None:
    body = stream(chunk({"content": "a"}, "stop")) + event
    assert read_chunks(body).finish == "error"
    assert read_chunks(body + b"\n\ndata: [DONE]\n\n").finish == "error"


def test_an_error_that_is_null_is_none() -> None:
    assert read_chunks(stream(chunk({}, "stop", error=None))).finish == "stop"


def test_what_follows_done_is_not_read() -> None:
    body = stream(chunk({"content": "a"}, "stop")) + b"data: [DONE]\n\ndata: {\n\n"
    assert read_chunks(body) == Streamed({"content": "a"}, "stop", True)


@pytest.mark.parametrize("end", [b"data: [DONE]", b"data:[DONE]\n", b"data: [DONE]\r\n\r\n"])
def test_done_counts_however_it_ends(end: bytes) -> None:
    assert read_chunks(stream(chunk()) + end).done


def test_a_last_event_that_is_not_closed_counts_if_it_is_whole() -> None:
    body = stream(chunk({"content": "a"})) + stream(chunk({"content": "b"}, "stop")).rstrip()
    assert read_chunks(body) == Streamed({"content": "ab"}, "stop", False)
    assert read_chunks(body[:-1]) == Streamed({"content": "a"}, None, False)


def test_empty_events_are_pings() -> None:
    body = b"data:\n\ndata: \n\nevent: ping\ndata\n\n" + stream(chunk({}, "stop"))
    assert read_chunks(body).finish == "stop"


def test_a_long_reply_is_read_in_a_time_that_grows_with_it_alone() -> None:
    """A hundred thousand pieces, each appended to one string, would copy gigabytes."""
    long = read_chunks(stream(*[chunk({"content": "four "})] * 100_000))
    assert long.message == {"content": "four " * 100_000}

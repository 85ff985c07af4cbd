"""Answers of the Chat Completions API, spelled."""

import json
from typing import Any

from backstory.demo_upstream.openai_completion import Completion
from backstory.demo_upstream.tokens import generate


def completion(
    text: str = "Hello, Ada!", *, limit: int | None = None, tool: str | None = None
) -> Completion:
    return Completion(model="m", said=generate(text, max_tokens=limit), tool=tool, prompt_tokens=3)


def chunks(answer: Completion, *, include_usage: bool = False) -> list[dict[str, Any]]:
    """The chunks of a stream, which ends with ``[DONE]``."""
    events = b"".join(answer.events(include_usage=include_usage)).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]


def test_a_whole_answer_has_the_api_s_shape() -> None:
    answer = completion()
    assert json.loads(answer.whole()) == {
        "id": f"chatcmpl-{answer.ident}",
        "object": "chat.completion",
        "created": answer.created,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello, Ada!", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    choices = [chunk["choices"][0] for chunk in chunks(completion())]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hello,"},
        {"content": " Ada!"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]


def test_usage_comes_in_a_chunk_without_choices_and_only_if_asked_for() -> None:
    *others, last = chunks(completion(), include_usage=True)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5
    assert all(chunk["usage"] is None for chunk in others)
    assert not any("usage" in chunk for chunk in chunks(completion()))


def test_the_limit_is_the_reason_if_it_cut() -> None:
    answer = completion(limit=1)
    assert json.loads(answer.whole())["choices"][0]["finish_reason"] == "length"
    assert chunks(answer)[-1]["choices"][0]["finish_reason"] == "length"


def test_a_call_is_spelled_whole_and_in_pieces() -> None:
    arguments = '{"city":"New York"}'
    answer = completion(arguments, tool="get_weather")
    [choice] = json.loads(answer.whole())["choices"]
    [call] = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert call["function"] == {"name": "get_weather", "arguments": arguments}

    first, *others = [chunk["choices"][0]["delta"] for chunk in chunks(answer)[:-1]]
    assert first["tool_calls"] == [
        {"index": 0, **call, "function": {"name": "get_weather", "arguments": ""}}
    ]
    pieces = [delta["tool_calls"][0]["function"]["arguments"] for delta in others]
    assert len(pieces) > 1
    assert "".join(pieces) == arguments

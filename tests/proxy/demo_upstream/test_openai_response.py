"""Answers of the Responses API, spelled; the real SDK reads them in ``test_app.py``."""

import json
from typing import Any

import pytest

from backstory.demo_upstream.openai_response import Response
from backstory.demo_upstream.tokens import generate


def response(text: str, *, tool: str | None = None, limit: int | None = None) -> Response:
    return Response(
        model="m",
        said=generate(text, max_tokens=limit),
        tool=tool,
        prompt_tokens=3,
        ident="1" * 32,
        created=0,
    )


def told(answer: Response) -> list[tuple[str, dict[str, Any]]]:
    events = []
    for event in answer.events():
        name, data = event.decode().removesuffix("\n\n").split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


@pytest.mark.parametrize(
    ("answer", "status", "kind"),
    [
        (response("It is 4."), "completed", "message"),
        (response("It is 4.", limit=1), "incomplete", "message"),
        (response('{"city":"Oslo"}', tool="get_weather"), "completed", "function_call"),
    ],
)
def test_the_last_event_holds_what_a_whole_answer_is(
    answer: Response, status: str, kind: str
) -> None:
    events = told(answer)
    assert [event["type"] for _, event in events] == [name for name, _ in events]
    assert [event["sequence_number"] for _, event in events] == list(range(len(events)))
    name, last = events[-1]
    assert name == f"response.{status}"
    assert last["response"] == json.loads(answer.whole())
    (item,) = last["response"]["output"]
    assert (item["type"], item["status"], last["response"]["status"]) == (kind, status, status)
    assert events[-2][1]["item"] == item
    assert all(event["response"]["output"] == [] for _, event in events[:2])


def test_the_pieces_add_up() -> None:
    for answer, key in (
        (response("It is 4."), "text"),
        (response("{}", tool="f"), "arguments"),
    ):
        events = [event for _, event in told(answer)]
        pieces = "".join(event["delta"] for event in events if event["type"].endswith(".delta"))
        (done,) = [event for event in events if key in event]
        assert pieces == done[key] == answer.said.text


def test_why_it_is_incomplete_is_said() -> None:
    assert json.loads(response("It is 4.", limit=1).whole())["incomplete_details"] == {
        "reason": "max_output_tokens"
    }
    assert json.loads(response("It is 4.").whole())["incomplete_details"] is None

"""Errors of ours: in the dialect's shape, else a problem document, and always with their code."""

import json

import pytest

from backstory.answers import error_answer, json_answer
from backstory.errors import BackstoryError
from backstory.registry import load_dialects

DIALECTS = load_dialects(("falcon", "openai.chat", "openai.responses"))
BUSY = BackstoryError(409, "conversation_busy", "try again", headers=(("Retry-After", "3"),))


def test_without_a_dialect_an_error_is_a_problem_document() -> None:
    answer = error_answer(BUSY, None)
    assert (answer.status, answer.content_type) == (409, "application/problem+json")
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {
        "title": "conversation_busy",
        "status": 409,
        "detail": "try again",
    }


@pytest.mark.parametrize("dialect", [None, *DIALECTS.values()], ids=[None, *DIALECTS])
def test_every_error_of_ours_says_its_code_and_its_headers(dialect: object) -> None:
    answer = error_answer(BUSY, dialect)  # type: ignore[arg-type]
    assert answer.status == 409
    assert answer.headers["Backstory-Error"] == "conversation_busy"
    assert answer.headers["Retry-After"] == "3"
    assert len(answer.headers.getall("Content-Type")) == 1


def test_a_dialect_gives_the_error_its_shape() -> None:
    answer = error_answer(BUSY, DIALECTS["openai.chat"])
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["error"]["message"] == "try again"
    assert error_answer(BUSY, DIALECTS["falcon"]).content_type == "text/plain"


@pytest.mark.parametrize("message", ['a "quote"', "a\nline", "caf\xe9 \N{SNOWMAN}", "</p>"])
def test_any_message_makes_a_document(message: str) -> None:
    answer = error_answer(BackstoryError(400, "bad_request", message), None)
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["detail"] == message


def test_json_of_ours_is_kept_by_nobody() -> None:
    answer = json_answer(b"{}", status=201)
    assert (answer.status, answer.body) == (201, b"{}")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"

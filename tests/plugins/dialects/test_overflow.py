"""What upstreams answer to a request that is too long, and what only looks like it."""

import pytest

from backstory.model import Answer, Remedy
from backstory_plugins.dialects._overflow import overflow


def said(status: int, body: str) -> Remedy | None:
    return overflow(Answer(status, "application/json", body.encode(), True))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, '{"error":{"message":"…","code":"context_length_exceeded"}}'),
        (
            400,
            '{"object":"error","message":"This model\'s maximum context length is 4096 tokens."}',
        ),
        (400, '{"type":"error","error":{"message":"prompt is too long: 210000 tokens > 200000"}}'),
        (400, '{"error":{"code":400,"type":"exceed_context_size_error","n_prompt_tokens":9}}'),
        (422, '{"error":"`inputs` must have less than 1024 tokens","error_type":"validation"}'),
        (413, ""),
    ],
)
def test_a_request_that_is_too_long_wants_less_history(status: int, body: str) -> None:
    assert said(status, body) is Remedy.LESS_HISTORY


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, '{"error":{"message":"no such model"}}'),
        (401, "maximum context length"),
        (422, '{"error":"`temperature` must be positive","error_type":"validation"}'),
        (503, "context_length_exceeded"),
        (400, "\xff"),
    ],
)
def test_another_refusal_is_the_upstreams_own(status: int, body: str) -> None:
    assert said(status, body) is None

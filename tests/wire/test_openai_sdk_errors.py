"""What the real OpenAI SDK raises where something goes wrong: what its users catch already."""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import openai
import pytest
from tests.wire.answers import chat_json, chat_stream
from tests.wire.conftest import StartProxy, token
from tests.wire.sdk import NAMED, say, sdk
from tests.wire.upstreams import Answer, RecordingUpstream
from tests.wire.users import forwarded


@pytest.mark.parametrize(
    ("options", "kind", "status", "code"),
    [
        pytest.param(
            {"api_key": "nobody"}, openai.AuthenticationError, 401, "invalid_token", id="bad"
        ),
        pytest.param(
            {"api_key": token(exp=1)},
            openai.AuthenticationError,
            401,
            "expired_token",
            id="expired",
        ),
        pytest.param(
            {"default_headers": {"Backstory-Conversation": "a b"}},
            openai.BadRequestError,
            400,
            "invalid_conversation",
            id="name",
        ),
        pytest.param(
            {"default_headers": {"Backstory-Conversation": "c", "If-Match": '"7"'}},
            openai.APIStatusError,
            412,
            "version_mismatch",
            id="version",
        ),
    ],
)
async def test_the_sdk_raises_what_our_errors_mean(
    options: Mapping[str, Any],
    kind: type[openai.APIStatusError],
    status: int,
    code: str,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    async with sdk(proxy, **options) as client:
        with pytest.raises(kind) as raised:
            await say(client, "Hi")
    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert raised.value.response.headers["Backstory-Error"] == code
    assert recording_upstream.requests == []


async def test_a_busy_conversation_is_a_conflict(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    gate = asyncio.Event()
    recording_upstream.script = Answer([gate, chat_json("one")])
    proxy = await start_proxy(recording_upstream.url, queue_depth=0)
    async with sdk(proxy, **NAMED) as client, asyncio.TaskGroup() as group:
        first = group.create_task(say(client, "first"))
        await recording_upstream.wait_for_request()
        with pytest.raises(openai.ConflictError) as raised:
            await say(client, "second")
        assert raised.value.code == "conversation_busy"
        assert raised.value.response.headers["Retry-After"] == "1"
        gate.set()
    assert first.result() == "one"
    assert len(recording_upstream.requests) == 1


CUTS = {
    "whole": chat_json("A long reply")[:-9],
    "between events": chat_stream("A long reply", finish=None).removesuffix(b"0\r\n\r\n"),
    "within an event": chat_stream("A long reply").partition(b"reply")[0],
}


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("where", CUTS)
async def test_a_cut_answer_is_an_error_and_not_a_short_reply(
    where: str,
    how: Literal["fin", "rst"],
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
) -> None:
    recording_upstream.script = Answer([CUTS[where]], how)
    proxy = await start_proxy(recording_upstream.url)
    async with sdk(proxy, **NAMED) as client:
        with pytest.raises(openai.APIError) as raised:
            await say(client, "Hi", stream=where != "whole")
        told = "upstream_truncated" if where == "between events" else None
        assert raised.value.code == told  # half an event has no place for an error of ours
        recording_upstream.script = chat_json("one")
        assert await say(client, "Hi again") == "one"
    assert forwarded(recording_upstream.requests[-1].body) == ["Hi again"]

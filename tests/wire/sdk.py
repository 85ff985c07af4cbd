"""The real SDKs as clients of a test's proxy."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam
from tests.wire.conftest import Proxy, token

NAMED: Mapping[str, Any] = {"default_headers": {"Backstory-Conversation": "trip"}}
"""Options of a client that names its conversation."""


@asynccontextmanager
async def sdk(
    proxy: Proxy, subject: str = "ada", *, path: str = "/v1", **options: Any
) -> AsyncIterator[AsyncOpenAI]:
    """A client of OpenAI's; nothing is retried, so that a test sees each error."""
    async with AsyncOpenAI(base_url=proxy.url + path, **_given(subject, options)) as client:
        yield client


@asynccontextmanager
async def anthropic_sdk(
    proxy: Proxy, subject: str = "ada", *, path: str = "", **options: Any
) -> AsyncIterator[AsyncAnthropic]:
    """The same of Anthropic's."""
    async with AsyncAnthropic(base_url=proxy.url + path, **_given(subject, options)) as client:
        yield client


def _given(subject: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"api_key": token(subject), "max_retries": 0, **options}


def said(text: str) -> ChatCompletionMessageParam:
    """What the user says."""
    return {"role": "user", "content": text}


async def say(client: AsyncOpenAI, text: str, *, stream: bool = False, **options: Any) -> str:
    """The reply to one new message."""
    create = client.chat.completions.create
    if not stream:
        whole = await create(model="m", messages=[said(text)], **options)
        return whole.choices[0].message.content or ""
    pieces = await create(model="m", messages=[said(text)], stream=True, **options)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in pieces])

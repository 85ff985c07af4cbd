"""The demo upstream over real sockets."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from openai import AsyncOpenAI, BadRequestError

from backstory.demo_upstream import create_demo_app, main

QUESTION = "What number did you repeat?"
TRANSCRIPT = f"Human: Repeat the number '94572'.\nAI: 94572\nHuman: {QUESTION}\nAI: "


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Where a demo upstream listens."""
    runner = web.AppRunner(create_demo_app(token_seconds=0))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


async def chunks(answer: aiohttp.ClientResponse) -> list[bytes]:
    """The HTTP chunks of a body, as they were framed."""
    found: list[bytes] = [b""]
    async for data, end_of_chunk in answer.content.iter_chunks():
        found[-1] += data
        if end_of_chunk:
            found.append(b"")
    return found[:-1]


@pytest.mark.parametrize("path", ["/conversation/falcon-40b-instruct", "/inference/falcon40b"])
async def test_falcon_streams_a_chunk_for_each_token_and_the_marker_last(
    url: str, client: aiohttp.ClientSession, path: str
) -> None:
    async with client.post(url + path, json={"text": TRANSCRIPT}) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert await chunks(answer) == [b"The", b" number", b" is", b" 94572.", b"<|endoftext|>"]


async def test_nothing_is_remembered_between_requests(
    url: str, client: aiohttp.ClientSession
) -> None:
    for text, known in [
        ("Repeat the number '94572'.", True),
        (QUESTION, False),
        (TRANSCRIPT, True),
    ]:
        async with client.post(f"{url}/conversation/x", json={"text": text}) as answer:
            assert ("94572" in await answer.text()) is known


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"text": 1}', b"\xff"])
async def test_falcon_refuses_other_bodies_in_plain_text(
    url: str, client: aiohttp.ClientSession, body: bytes
) -> None:
    async with client.post(f"{url}/conversation/x", data=body) as answer:
        assert answer.status == 400
        assert answer.content_type == "text/plain"


@pytest.mark.parametrize(
    ("body", "field"), [(b"{", None), (b"[]", None), (b"{}", "messages"), (b"\xff", None)]
)
async def test_chat_refuses_other_bodies_in_the_api_s_shape(
    url: str, client: aiohttp.ClientSession, body: bytes, field: str | None
) -> None:
    async with client.post(f"{url}/v1/chat/completions", data=body) as answer:
        assert answer.status == 400
        error = (await answer.json())["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == field


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b"\xff"])
async def test_messages_refuses_other_bodies_in_the_api_s_shape(
    url: str, client: aiohttp.ClientSession, body: bytes
) -> None:
    async with client.post(f"{url}/v1/messages", data=body) as answer:
        assert answer.status == 400
        said = await answer.json()
    assert (said["type"], said["error"]["type"]) == ("error", "invalid_request_error")


async def test_messages_are_answered_whole_and_streamed(
    url: str, client: aiohttp.ClientSession
) -> None:
    body = {"messages": [{"role": "user", "content": "Repeat the number 5"}]}
    async with client.post(f"{url}/v1/messages", json=body) as answer:
        assert answer.content_type == "application/json"
        assert (await answer.json())["content"] == [{"type": "text", "text": "5"}]
    async with client.post(f"{url}/a/v1/messages", json=body | {"stream": True}) as answer:
        assert answer.content_type == "text/event-stream"
        events = await chunks(answer)
    assert events[-1] == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    assert len(events) == 6


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", "/v1/chat/xcompletions"),
        ("GET", "/conversation/x"),
        ("PUT", "/models"),
    ],
)
async def test_other_routes_are_not_found(
    url: str, client: aiohttp.ClientSession, method: str, path: str
) -> None:
    async with client.request(method, url + path) as answer:
        assert answer.status == 404
        assert path in (await answer.json())["error"]["message"]


async def test_a_whole_answer_has_its_length(url: str, client: aiohttp.ClientSession) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    async with client.post(f"{url}/chat/completions", json={"messages": messages}) as answer:
        assert answer.content_type == "application/json"
        assert answer.content_length == len(await answer.read())


async def test_an_event_is_a_chunk_of_its_own(url: str, client: aiohttp.ClientSession) -> None:
    body = {"messages": [{"role": "user", "content": "Repeat the number 5"}], "stream": True}
    async with client.post(f"{url}/a/b/chat/completions", json=body) as answer:
        assert answer.content_type == "text/event-stream"
        events = await chunks(answer)
    assert len(events) == 4
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in events)


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b"\xff"])
@pytest.mark.parametrize(
    "path", ["/api/chat", "/v1beta/models/m:generateContent", "/models/m:streamGenerateContent"]
)
async def test_ollama_and_gemini_refuse_other_bodies_in_their_shapes(
    url: str, client: aiohttp.ClientSession, path: str, body: bytes
) -> None:
    async with client.post(url + path, data=body) as answer:
        assert answer.status == 400
        error = (await answer.json())["error"]
    assert isinstance(error, str) is (path == "/api/chat")


@pytest.mark.parametrize(
    ("path", "more", "media_type", "pieces"),
    [
        ("/api/chat", {}, "application/x-ndjson", 3),
        ("/api/chat", {"stream": False}, "application/json", 0),
        ("/v1beta/models/m:generateContent", {}, "application/json", 0),
        ("/v1beta/models/m:streamGenerateContent", {}, "application/json", 3),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", {}, "text/event-stream", 2),
    ],
)
async def test_ollama_and_gemini_stream_as_they_are_asked(
    url: str,
    client: aiohttp.ClientSession,
    path: str,
    more: dict[str, object],
    media_type: str,
    pieces: int,
) -> None:
    said = {"role": "user", "content": "My name is Ada", "parts": [{"text": "My name is Ada"}]}
    async with client.post(url + path, json={"messages": [said], "contents": [said]} | more) as got:
        assert (got.status, got.content_type) == (200, media_type)
        if pieces:
            assert len(await chunks(got)) == pieces
        else:
            assert got.content_length == len(await got.read())


async def test_the_official_client_understands_every_answer(url: str) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as openai:
        [model] = (await openai.models.list()).data
        whole = await openai.chat.completions.create(
            model=model.id,
            messages=[
                {"role": "user", "content": "My name is Ada"},
                {"role": "user", "content": "Who am I?"},
            ],
        )
        assert whole.choices[0].message.content == "Your name is Ada."
        async with openai.chat.completions.stream(
            model=model.id,
            messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
            stream_options={"include_usage": True},
            tools=[
                {
                    "type": "function",
                    "function": {
                        "name": "get_weather",
                        "parameters": {
                            "type": "object",
                            "properties": {"city": {"type": "string"}},
                            "required": ["city"],
                        },
                    },
                }
            ],
        ) as stream:
            final = await stream.get_final_completion()
    assert final.usage is not None
    assert final.choices[0].finish_reason == "tool_calls"
    [call] = final.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "Oslo"}


async def test_the_official_client_understands_every_response(url: str) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as openai:
        whole = await openai.responses.create(model="m", input="My name is Ada. Who am I?")
        assert (whole.output_text, whole.status) == ("Your name is Ada.", "completed")
        async with openai.responses.stream(
            model="m",
            input="What is the weather in Oslo?",
            tools=[
                {
                    "type": "function",
                    "name": "get_weather",
                    "strict": True,
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                }
            ],
        ) as stream:
            final = await stream.get_final_response()
        [call] = final.output
        assert call.type == "function_call"
        assert json.loads(call.arguments) == {"city": "Oslo"}
        with pytest.raises(BadRequestError) as refused:
            _ = await openai.responses.create(model="m", input="hi", previous_response_id="resp_1")
        assert refused.value.param == "previous_response_id"


async def test_tokens_take_their_time() -> None:
    app = create_demo_app(token_seconds=3600)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"http://{host}:{port}/conversation/x", json={"text": "hi"}) as answer,
        ):
            assert answer.status == 200  # the head does not wait for a token
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(answer.content.readany(), 0.05)
    finally:
        await runner.cleanup()


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    command = "import sys; from backstory.demo_upstream import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", command, "--listen", "127.0.0.1:0", "--token-seconds", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            with urllib.request.urlopen(f"{url}/v1/models", timeout=10) as answer:
                assert json.load(answer)["data"][0]["id"] == "backstory-demo"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_an_address_in_use_is_said_and_the_status_is_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--listen", f"127.0.0.1:{taken.getsockname()[1]}"]) == 1
    assert "in use" in capsys.readouterr().err


def test_an_address_without_a_port_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--listen", "localhost"])
    assert caught.value.code == 2
    assert "not of the form HOST:PORT" in capsys.readouterr().err

"""Raw prompts through a real proxy: they remember when the conversation is named, and only then."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.wire.answers import respond
from tests.wire.clients import RawClient, Received
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.sdk import NAMED as NAMED_SDK
from tests.wire.sdk import sdk
from tests.wire.server import Server, reserved_port
from tests.wire.talking import AUTHORIZATION, NAMED, ask, chunk, one, stored
from tests.wire.upstreams import Answer, RecordingUpstream, Step

TURNS = (
    ("My name is Ada.", "Hello, Ada!"),
    ("Who am I?", "Your name is Ada."),
    ("How many messages do you see?", "I see 5 messages."),
)


@dataclass(frozen=True)
class Api:
    """An API that takes a raw prompt, in one of its two forms."""

    name: str
    target: str
    key: str
    """Where the prompt is."""
    fields: dict[str, Any]
    text: Callable[[bytes], str]
    """What an answer says."""

    def __str__(self) -> str:
        """For the names of tests."""
        return self.name

    def body(self, text: str) -> bytes:
        """A question, with a field behind it whose spelling must stay."""
        rest = "".join(f', "{key}": {json.dumps(value)}' for key, value in self.fields.items())
        return f'{{"{self.key}": {json.dumps(text)}{rest}, "x": 1.0e2}}'.encode()


def _events(content: bytes) -> list[dict[str, Any]]:
    lines = [line for line in content.split(b"\n") if line and not line.endswith(b"[DONE]")]
    return [json.loads(line.removeprefix(b"data:")) for line in lines]


def _joined(key: str) -> Callable[[bytes], str]:
    return lambda content: "".join(event[key] for event in _events(content))


def _choices(content: bytes) -> str:
    return "".join(event["choices"][0]["text"] for event in _events(content))


def _generated(content: bytes) -> str:
    text: str = _events(content)[-1]["generated_text"]
    return text


COMPLETIONS = Api("completions", "/v1/completions", "prompt", {"max_tokens": 40}, _choices)
TGI = Api("tgi", "/generate", "inputs", {"parameters": {"details": True}}, _generated)
LLAMACPP = Api("llamacpp", "/completion", "prompt", {"n_predict": 40}, _joined("content"))
OLLAMA = Api("ollama", "/api/generate", "prompt", {"stream": False}, _joined("response"))
STREAMED = (
    Api(
        "completions-streamed",
        "/v1/completions",
        "prompt",
        {"max_tokens": 40, "stream": True},
        _choices,
    ),
    Api("tgi-streamed", "/generate_stream", "inputs", {"parameters": {}}, _generated),
    Api("llamacpp-streamed", "/completion", "prompt", {"stream": True}, _joined("content")),
    Api("ollama-streamed", "/api/generate", "prompt", {}, _joined("response")),
)
APIS = (COMPLETIONS, TGI, LLAMACPP, OLLAMA)


async def say(proxy: Proxy, api: Api, text: str, *headers: tuple[str, str]) -> Received:
    answer = await ask(proxy, api.target, api.body(text), *headers)
    assert answer.status == 200
    assert answer.complete
    return answer


@pytest.mark.parametrize("api", [*APIS, *STREAMED], ids=str)
async def test_three_turns_are_one_conversation(
    api: Api, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    for number, (asked, expected) in enumerate(TURNS):
        answer = await say(proxy, api, asked, NAMED)
        assert api.text(answer.content) == expected
        receipt = one(answer, b"Backstory-Memory") or ""
        assert receipt.startswith("hit;turns=" if number else "new;")
    assert await stored(proxy) == [expected for _, expected in TURNS]


async def test_one_conversation_is_told_in_every_api(demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo)
    await say(proxy, COMPLETIONS, "My name is Ada.", NAMED)
    for api in (*APIS, *STREAMED):
        answer = await say(proxy, api, "Who am I?", NAMED)
        assert api.text(answer.content) == "Your name is Ada."


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_what_names_no_conversation_is_passed_through(
    api: Api, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond([b"{}"], "application/json", "length")
    proxy = await start_proxy(recording_upstream.url, session="always")
    for _ in range(2):
        answer = await say(proxy, api, "Who am I?")
        assert one(answer, b"Backstory-Memory") == "off;reason=no_conversation"
    for request in recording_upstream.requests:
        assert request.body == api.body("Who am I?")


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_only_the_prompt_changes(
    api: Api, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond([b"{}"], "application/json", "length")
    proxy = await start_proxy(recording_upstream.url)
    answer = await say(proxy, api, "Who am I?", NAMED)
    assert (one(answer, b"Backstory-Memory") or "").startswith("new;")
    (request,) = recording_upstream.requests
    assert request.body == api.body("Human: Who am I?\nAI: ")
    assert await stored(proxy) == []  # an answer that says nothing


BODIES = [
    (COMPLETIONS, b'{"prompt":[1,2]}'),
    (COMPLETIONS, b'{"prompt":["a","b"]}'),
    (COMPLETIONS, b'{"prompt":"a","suffix":"b"}'),
    (COMPLETIONS, b'{"prompt":"a","echo":true}'),
    (TGI, b'{"inputs":["a"]}'),
    (LLAMACPP, b'{"prompt":{"prompt_string":"a","multimodal_data":["x"]}}'),
    (OLLAMA, b'{"prompt":"a","context":[1,2]}'),
    (OLLAMA, b'{"prompt":"a","raw":true,"system":"s"}'),
    (OLLAMA, b'{"model":"m"}'),
]


@pytest.mark.parametrize(("api", "body"), BODIES, ids=str)
async def test_what_is_not_understood_is_passed_through(
    api: Api, body: bytes, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond([b"{}"], "application/json", "length")
    proxy = await start_proxy(recording_upstream.url)
    answer = await ask(proxy, api.target, body, NAMED)
    assert one(answer, b"Backstory-Memory") == "skipped;reason=not_understood"
    assert recording_upstream.requests[0].body == body


@pytest.mark.parametrize(
    ("api", "code"),
    [
        (COMPLETIONS, lambda error: error["error"]["type"] == "invalid_request_error"),
        (TGI, lambda error: error["error_type"] == "validation"),
        (LLAMACPP, lambda error: error["error"]["code"] == 400),
        (OLLAMA, lambda error: isinstance(error["error"], str)),
    ],
    ids=["completions", "tgi", "llamacpp", "ollama"],
)
async def test_an_error_of_ours_has_the_shape_of_the_api(
    api: Api, code: Callable[[Any], bool], demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    wrong = ("Backstory-Conversation", "not a name")
    answer = await ask(proxy, api.target, api.body("Hi"), wrong)
    assert (answer.status, one(answer, b"Backstory-Error")) == (400, "invalid_conversation")
    assert code(json.loads(answer.content))


def _marked(event: str, marker: str) -> tuple[bytes, bytes]:
    """The last event, cut in two where its marker begins."""
    before, found, after = event.partition(marker)
    assert found
    return before.encode(), (found + after).encode()


ENDS = [
    pytest.param(
        STREAMED[0],
        b'data: {"choices":[{"index":0,"text":"4","finish_reason":"stop"}]}\n\n',
        _marked("data: [DONE]\n\n", "data"),
        id="completions",
    ),
    pytest.param(
        STREAMED[1],
        b'data:{"index":1,"token":{"text":"4"},"generated_text":null,"details":null}\n\n',
        _marked(
            'data:{"index":2,"token":{"text":"</s>"},"generated_text":"4",'
            '"details":{"finish_reason":"eos_token"}}\n\n',
            '"generated_text"',
        ),
        id="tgi",
    ),
    pytest.param(
        STREAMED[2],
        b'data: {"index":0,"content":"4","stop":false}\n\n',
        _marked('data: {"index":0,"content":"","stop":true,"stop_type":"eos"}\n\n', '"stop":true'),
        id="llamacpp",
    ),
    pytest.param(
        STREAMED[3],
        b'{"response":"4","done":false}\n',
        _marked('{"response":"","done":true,"done_reason":"stop"}\n', '"done":true'),
        id="ollama",
    ),
]


@pytest.mark.parametrize(("api", "first", "last"), ENDS)
async def test_the_end_is_held_back_until_the_turn_is_durable(
    api: Api, first: bytes, last: tuple[bytes, bytes], start_proxy: StartProxy
) -> None:
    gate, kind = asyncio.Event(), "text/event-stream"
    if first.startswith(b"{"):
        kind = "application/x-ndjson"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    before, held = last
    steps: list[Step] = [head.encode() + chunk(first), chunk(before + held), gate, b"0\r\n\r\n"]
    async with RecordingUpstream(Answer(steps)) as upstream:
        proxy = await start_proxy(upstream.url)
        async with RawClient(proxy.url) as client:
            await client.post(api.target, api.body("2+2?"), AUTHORIZATION, NAMED)
            await client.read_head()
            await client.connection.read_until(first)
            if before:
                await client.connection.read_until(before)
            assert await stored(proxy) == []
            assert held[:4] not in client.connection.buffer
            gate.set()
            rest = await client.connection.read_until(b"0\r\n\r\n")
            assert held in rest
            assert await stored(proxy) == ["4"]


@pytest.mark.parametrize(("api", "first", "last"), ENDS)
async def test_a_cut_answer_is_not_remembered(
    api: Api, first: bytes, last: tuple[bytes, bytes], start_proxy: StartProxy
) -> None:
    kind = "application/x-ndjson" if first.startswith(b"{") else "text/event-stream"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    cut = head + chunk(first) + chunk(last[0] + last[1][:6])
    async with RecordingUpstream(Answer([cut], "fin")) as upstream:
        proxy = await start_proxy(upstream.url)
        answer = await ask(proxy, api.target, api.body("2+2?"), NAMED)
        assert not answer.complete
        assert await stored(proxy) == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_openai_sdk_remembers(stream: bool, demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED_SDK) as client:
        for asked, expected in TURNS:
            if stream:
                pieces = await client.completions.create(model="m", prompt=asked, stream=True)
                said = "".join([piece.choices[0].text async for piece in pieces])
            else:
                said = (await client.completions.create(model="m", prompt=asked)).choices[0].text
            assert said == expected
        with pytest.raises(openai.BadRequestError) as caught:
            await client.completions.create(
                model="m", prompt="Hi", extra_headers={"Backstory-Conversation": "not a name"}
            )
        assert caught.value.code == "invalid_conversation"


async def test_a_template_of_its_own_from_the_configuration(tmp_path: Path) -> None:
    """The real command, its file, and a route whose model was trained on other words."""
    (tmp_path / "backstory.toml").write_text(
        '[[route]]\nmatch = "/generate"\nmemory = "always"\n'
        'dialect = "tgi?human=<|user|>%0A&ai=<|assistant|>%0A&end=<|end|>%0A"\n'
    )
    async with RecordingUpstream(
        respond([b'{"generated_text":"A"}'], "application/json", "length")
    ) as upstream:
        with reserved_port() as port:
            env = {"BACKSTORY_CONFIG": str(tmp_path / "backstory.toml")}
            async with Server(tmp_path, port, upstream.url, env) as server:
                for text in ("a", "b"):
                    async with RawClient(server.url) as client:
                        await client.post("/generate", {"inputs": text}, AUTHORIZATION, NAMED)
                        assert (await client.read_answer()).complete
                assert server.complaints() == []
    assert json.loads(upstream.requests[1].body)["inputs"] == (
        "<|user|>\na<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nb<|end|>\n<|assistant|>\n"
    )
    assert token().encode() not in upstream.requests[1].raw_head

"""The demo upstream over HTTP: one handler for each dialect, and nothing that outlives a request."""

import argparse
import asyncio
import socket
import sys
from collections.abc import Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from backstory.demo_upstream import (
    anthropic,
    falcon,
    gemini,
    llamacpp,
    ollama,
    ollama_generate,
    openai_chat,
    openai_completions,
    openai_responses,
    tgi,
)
from backstory.demo_upstream.openai_completion import Completion
from backstory.demo_upstream.raw_prompt import JSON, Fields, Spoken
from backstory.jsonbody import NotJson, dump, read_object
from backstory.problems import split_address

TOKEN_SECONDS = web.AppKey("token_seconds", float)
"""How long each token takes."""

_LARGEST_BODY_BYTES = 64 * 1024 * 1024
_WHAT_IT_SPEAKS = (
    "POST /conversation/{model}, POST /inference/{model}, POST …/chat/completions,"
    " POST …/completions, POST …/responses, POST …/v1/messages, POST /api/chat,"
    " POST /api/generate, POST /generate, POST /generate_stream, POST /completion,"
    " POST …/models/{model}:generateContent, POST …/models/{model}:streamGenerateContent,"
    " GET …/models"
)


def create_demo_app(*, token_seconds: float = 0.02) -> web.Application:
    """A stateless inference server that answers from the messages it was sent, and nothing else."""
    app = web.Application(client_max_size=_LARGEST_BODY_BYTES)
    app[TOKEN_SECONDS] = token_seconds
    app.router.add_post("/conversation/{model}", _falcon)
    app.router.add_post("/inference/{model}", _falcon)
    app.router.add_post("/{prefix:(?:.*/)?}chat/completions", _openai_chat)
    app.router.add_post("/{prefix:(?:.*/)?}completions", _raw(openai_completions.speak))
    app.router.add_post("/{prefix:(?:.*/)?}responses", _openai_responses)
    app.router.add_post("/{prefix:(?:.*/)?}v1/messages", _anthropic)
    app.router.add_post("/api/chat", _ollama_chat)
    app.router.add_post("/api/generate", _raw(ollama_generate.speak))
    app.router.add_post("/generate", _raw(tgi.speak))
    app.router.add_post("/generate_stream", _raw(tgi.speak_in_events))
    app.router.add_post("/completion", _raw(llamacpp.speak))
    app.router.add_post("/{prefix:(?:.*/)?}models/{model}:generateContent", _gemini)
    app.router.add_post("/{prefix:(?:.*/)?}models/{model}:streamGenerateContent", _gemini_stream)
    app.router.add_get("/{prefix:(?:.*/)?}models", _models)
    app.router.add_route("*", "/{path:.*}", _unknown)
    return app


async def _falcon(request: web.Request) -> web.StreamResponse:
    fields = await _read(request)
    text = fields.get("text") if fields is not None else None
    if fields is None or not isinstance(text, str):
        return web.Response(status=400, text='The body must be a JSON object with a string "text".')
    return await _stream(request, "text/plain; charset=utf-8", falcon.stream(fields, text))


async def _openai_chat(request: web.Request) -> web.StreamResponse:
    fields = await _read(request)
    if fields is None:
        return _openai_error(400, "The body must be a JSON object.")
    completion = openai_chat.complete(fields)
    if completion is None:
        return _openai_error(400, "'messages' must be a list of messages.", param="messages")
    if fields.get("stream") is not True:
        return web.Response(body=completion.whole(), content_type="application/json")
    options = fields.get("stream_options")
    usage = isinstance(options, dict) and options.get("include_usage") is True
    return await _stream(request, "text/event-stream", completion.events(include_usage=usage))


def _raw(speak: Callable[[Fields], Spoken]) -> Handler:
    """The handler of an API that takes a raw prompt."""

    async def handler(request: web.Request) -> web.StreamResponse:
        spoken = speak(await _read(request) or {})
        if spoken.content_type != JSON:
            return await _stream(request, spoken.content_type, spoken.pieces)
        body = b"".join(spoken.pieces)
        return web.Response(status=spoken.status, body=body, content_type=JSON)

    return handler


async def _ollama_chat(request: web.Request) -> web.StreamResponse:
    fields = await _read(request)
    completion = None if fields is None else ollama.complete(fields)
    if fields is None or completion is None:
        refusal = ollama.error("'messages' must be a list of messages")
        return web.Response(status=400, body=refusal, content_type="application/json")
    if fields.get("stream") is False:
        return web.Response(body=ollama.whole(completion), content_type="application/json")
    return await _stream(request, "application/x-ndjson", ollama.lines(completion))


async def _gemini(request: web.Request) -> web.StreamResponse:
    completion = await _gemini_completion(request)
    if completion is None:
        return _gemini_refusal()
    return web.Response(body=gemini.whole(completion), content_type="application/json")


async def _gemini_stream(request: web.Request) -> web.StreamResponse:
    completion = await _gemini_completion(request)
    if completion is None:
        return _gemini_refusal()
    if request.query.get("alt") == "sse":
        return await _stream(request, "text/event-stream", gemini.events(completion))
    return await _stream(request, "application/json", gemini.array(completion))


async def _gemini_completion(request: web.Request) -> Completion | None:
    fields = await _read(request)
    return None if fields is None else gemini.complete(request.match_info["model"], fields)


def _gemini_refusal() -> web.Response:
    refusal = gemini.error("contents must be a list of contents")
    return web.Response(status=400, body=refusal, content_type="application/json")


async def _openai_responses(request: web.Request) -> web.StreamResponse:
    fields = await _read(request)
    if fields is None:
        return _openai_error(400, "The body must be a JSON object.")
    try:
        response = openai_responses.respond(fields)
    except openai_responses.Refused as exc:
        return _openai_error(400, str(exc), param=exc.param)
    if fields.get("stream") is not True:
        return web.Response(body=response.whole(), content_type="application/json")
    return await _stream(request, "text/event-stream", response.events())


async def _anthropic(request: web.Request) -> web.StreamResponse:
    fields = await _read(request)
    answer = anthropic.answer(fields) if fields is not None else None
    if fields is None or answer is None:
        said = "The body must be a JSON object with a list of messages."
        body = anthropic.error("invalid_request_error", said)
        return web.Response(status=400, body=body, content_type="application/json")
    if fields.get("stream") is not True:
        return web.Response(body=answer.whole(), content_type="application/json")
    return await _stream(request, "text/event-stream", answer.events())


async def _models(_: web.Request) -> web.StreamResponse:
    model = {"id": openai_chat.MODEL, "object": "model", "created": 0, "owned_by": "backstory"}
    return web.Response(
        body=dump({"object": "list", "data": [model]}), content_type="application/json"
    )


async def _unknown(request: web.Request) -> web.StreamResponse:
    return _openai_error(
        404, f"Invalid URL ({request.method} {request.path}). This demo speaks: {_WHAT_IT_SPEAKS}"
    )


def _openai_error(status: int, message: str, *, param: str | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return web.Response(status=status, body=dump({"error": error}), content_type="application/json")


async def _read(request: web.Request) -> dict[str, object] | None:
    """The JSON object in the body, whatever its Content-Type says; ``None`` if there is none."""
    try:
        return read_object(await request.read())
    except NotJson:
        return None


async def _stream(
    request: web.Request, content_type: str, pieces: Iterable[bytes]
) -> web.StreamResponse:
    """Each piece as a chunk of its own, at the pace of a model."""
    headers = {"Content-Type": content_type, "Cache-Control": "no-cache"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for piece in pieces:
        await asyncio.sleep(request.app[TOKEN_SECONDS])
        await response.write(piece)
    await response.write_eof()
    return response


def _address(text: str) -> tuple[str, int]:
    try:
        return split_address(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def main(argv: list[str]) -> int:
    """``backstory demo-upstream``: serve until stopped; the exit status."""
    parser = argparse.ArgumentParser(
        prog="backstory demo-upstream",
        description=f"A small stateless upstream without a model. It speaks: {_WHAT_IT_SPEAKS}",
    )
    parser.add_argument("--listen", metavar="HOST:PORT", type=_address, default="127.0.0.1:7002")
    parser.add_argument("--token-seconds", metavar="SECONDS", type=float, default=0.02)
    options = parser.parse_args(argv)
    host, port = options.listen
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as exc:
        sys.stderr.write(f"backstory demo-upstream: {exc.strerror}\n")
        return 1
    shown = f"[{host}]" if ":" in host else host
    sys.stdout.write(f"The demo upstream listens on http://{shown}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()  # whoever started it may wait for this line
    web.run_app(
        create_demo_app(token_seconds=options.token_seconds),
        sock=listener,
        print=None,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=1.0,
    )
    return 0

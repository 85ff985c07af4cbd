"""Answers of our own: errors in the shape that the asking client knows, and JSON under ``/-/``."""

import json

from aiohttp import web

from backstory.errors import BackstoryError
from backstory.spi import Dialect


def error_answer(error: BackstoryError, dialect: Dialect | None) -> web.Response:
    """The error as the dialect's clients expect it; as a problem document (RFC 9457) without one."""
    if dialect is None:
        problem = {"title": error.code, "status": error.status, "detail": error.message}
        content_type, body = "application/problem+json", json.dumps(problem).encode()
    else:
        content_type, body = dialect.error_body(error.status, error.code, error.message)
    response = web.Response(status=error.status, body=body)
    response.headers["Content-Type"] = content_type
    response.headers["Backstory-Error"] = error.code
    for name, value in error.headers:
        response.headers[name] = value
    return response


def json_answer(body: bytes, status: int = 200) -> web.Response:
    """A JSON answer of our own."""
    return web.Response(
        status=status,
        body=body,
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )

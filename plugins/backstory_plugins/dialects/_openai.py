"""What OpenAI's endpoints share: how a stream says that it is complete, and what an error looks like."""

from backstory.jsonbody import dump
from backstory.model import Marker

EVENT_STREAM = "text/event-stream"
DONE = Marker((b"data: [DONE]", b"data:[DONE]"), line_start=True)

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    409: "conflict_error",
    429: "rate_limit_error",
    **dict.fromkeys((400, 404, 405, 412, 413, 422), "invalid_request_error"),
}


def error_body(status: int, code: str, message: str) -> tuple[str, bytes]:
    """See ``spi.Dialect``."""
    return "application/json", _error(_ERROR_TYPES.get(status, "server_error"), code, message)


def error_event(code: str, message: str) -> bytes:
    """See ``spi.Dialect``."""
    return b"data: " + _error("server_error", code, message) + b"\n\n"


def _error(kind: str, code: str, message: str) -> bytes:
    return dump({"error": {"message": message, "type": kind, "param": None, "code": code}})

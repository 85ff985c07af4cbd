"""What OpenAI's endpoints share: how a stream says that it is complete, and what an error looks like."""

from backstory.jsonbody import dump
from backstory.model import Marker

DONE = Marker((b"data: [DONE]", b"data:[DONE]"), line_start=True)

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    409: "conflict_error",
    429: "rate_limit_error",
    **dict.fromkeys((400, 404, 405, 412, 413, 422), "invalid_request_error"),
}


def error_body(
    status: int, code: str, message: str, *, param: str | None = None
) -> tuple[str, bytes]:
    """See ``spi.Dialect``. ``param``: the field of the request that is to blame."""
    kind = _ERROR_TYPES.get(status, "server_error")
    return "application/json", dump({"error": error_object(kind, code, message, param)})


def error_event(code: str, message: str) -> bytes:
    """See ``spi.Dialect``."""
    error = error_object("server_error", code, message)
    return b"data: " + dump({"error": error}) + b"\n\n"


def error_object(kind: str, code: str, message: str, param: str | None = None) -> dict[str, object]:
    """An error as SDKs look for it, in a body and in an event stream."""
    return {"message": message, "type": kind, "param": param, "code": code}

"""What follows a chunked body is nobody's: no trailer becomes a field of another request.

aiohttp's parser (3.14.5) would put the last one in front of the fields of the connection's next
request. Behind a proxy that shares its connections that request is somebody else's.
"""

import pytest
from tests.wire.clients import RawClient
from tests.wire.conftest import StartProxy, token
from tests.wire.talking import AUTHORIZATION, CHAT, FALCON, chunk, head, one
from tests.wire.upstreams import RecordingUpstream

HOST = ("Host", "x")
CHUNKED = ("Transfer-Encoding", "chunked")
TRAILERS = (
    ("Backstory-Conversation", "mine"),
    ("Authorization", f"Bearer {token('mallory')}"),
    ("X-Sum", "1"),
)
FIRST = {
    "passed through": ("POST", "/x", (AUTHORIZATION,)),
    "falcon": ("POST", FALCON.target, (AUTHORIZATION,)),
    "openai.chat": ("POST", CHAT.target, (AUTHORIZATION,)),
    "refused": ("POST", CHAT.target, ()),
    "our own": ("DELETE", "/-/v1/conversations/none", (AUTHORIZATION,)),
}
SECOND = head("GET /second HTTP/1.1", HOST, AUTHORIZATION)


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
@pytest.mark.parametrize("trailer", TRAILERS, ids=lambda trailer: trailer[0])
@pytest.mark.parametrize(("method", "target", "fields"), FIRST.values(), ids=FIRST)
async def test_a_connection_takes_no_request_after_a_chunked_one(
    method: str,
    target: str,
    fields: tuple[tuple[str, str], ...],
    trailer: tuple[str, str],
    at_once: bool,
    recording_upstream: RecordingUpstream,
    start_proxy: StartProxy,
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    first = head(f"{method} {target} HTTP/1.1", HOST, CHUNKED, *fields)
    first += chunk(CHAT.good) + b"0\r\n" + head("", trailer)[2:]
    async with RawClient(proxy.url) as client:
        await client.send(first + SECOND if at_once else first)
        answer = await client.read_answer()
        assert (answer.complete, one(answer, b"Connection")) == (True, "close")
        if not at_once:
            try:
                await client.send(SECOND)
            except ConnectionResetError:
                pass  # closed already
        assert await client.ended() in ("fin", "rst")
        assert client.connection.take(1) == b""
    assert b"/second" not in [seen.target for seen in recording_upstream.requests]
    for seen in recording_upstream.requests:
        assert trailer[1].encode() not in seen.values(trailer[0].encode())

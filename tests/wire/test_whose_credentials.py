"""The client's credentials are for us, ours are for the upstream; with auth off they are the client's."""

from typing import Any

import pytest
from tests.wire.conftest import StartProxy, token
from tests.wire.messages import Field
from tests.wire.talking import CHAT, head, say
from tests.wire.upstreams import RecordingUpstream

from backstory.settings import Secret

HOST = ("Host", "x")
CREDENTIALS = [
    ("Authorization", f"Bearer {token()}"),
    ("X-Api-Key", "k1"),
    ("api-key", "k2"),
    ("x-goog-api-key", "k3"),
]
TARGET = "/v1/models?key=k4&a=b&key=k5&Key=k6"


@pytest.mark.parametrize("target", [TARGET, "/v1/models?key=k4", CHAT.target])
@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, []),
        ({"upstream_authorization": Secret("s")}, [(b"Authorization", b"Bearer s")]),
        ({"upstream_authorization": Secret("Basic s")}, [(b"Authorization", b"Basic s")]),
        (
            {"upstream_authorization": Secret("s"), "upstream_credential_header": "x-api-key"},
            [(b"x-api-key", b"s")],
        ),
    ],
    ids=["none of ours", "bare", "with a scheme", "in x-api-key"],
)
async def test_the_clients_credentials_are_for_us_and_ours_are_sent(
    target: str,
    settings: dict[str, Any],
    sent: list[Field],
    recording_upstream: RecordingUpstream,
    start_proxy: StartProxy,
) -> None:
    proxy = await start_proxy(recording_upstream.url, **settings)
    length = ("Content-Length", str(len(CHAT.good)))
    question = head(f"POST {target} HTTP/1.1", HOST, *CREDENTIALS, length) + CHAT.good
    assert (await say(proxy.url, question)).status == 200
    seen = recording_upstream.requests[0]
    names = [name.lower().encode() for name, _ in CREDENTIALS]
    assert [field for field in seen.headers if field[0].lower() in names] == sent
    expected = {TARGET: b"/v1/models?a=b&Key=k6", CHAT.target: CHAT.target.encode()}
    assert seen.target == expected.get(target, b"/v1/models")


async def test_without_our_auth_the_clients_credentials_go_on(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(recording_upstream.url, auth="off")
    await say(proxy.url, head(f"GET {TARGET} HTTP/1.1", HOST, *CREDENTIALS))
    seen = recording_upstream.requests[0]
    assert seen.target == TARGET.encode()
    assert seen.headers[1:-1] == [(n.encode(), v.encode()) for n, v in CREDENTIALS]


async def test_a_preflight_passes_without_any_credential(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(recording_upstream.url, upstream_authorization=Secret("s"))
    fields = (("Origin", "http://a"), ("Access-Control-Request-Method", "POST"))
    answer = await say(proxy.url, head("OPTIONS /v1/chat/completions HTTP/1.1", HOST, *fields))
    assert answer.status == 200
    assert recording_upstream.requests[0].values(b"authorization") == []

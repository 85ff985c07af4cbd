"""No token is late: each piece reaches the client before the upstream has sent the next."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.wire.answers import FALCON_END
from tests.wire.clients import RawClient
from tests.wire.conftest import StartProxy
from tests.wire.talking import APIS, AUTHORIZATION, CHAT, FALCON, NAMED, Api, chunk, head, stored
from tests.wire.upstreams import Answer, RecordingUpstream, Step

FRAMINGS = {"chunked": ("Transfer-Encoding", "chunked"), "close": ("Connection", "close")}
DONE = b"data: [DONE]\n\n"


def event(text: str, finish: str = "null") -> bytes:
    """One event of a Chat Completions stream."""
    choice = '{"index":0,"delta":{"content":"%s"},"finish_reason":%s}'
    return b'data: {"choices":[' + (choice % (text, finish)).encode() + b"]}\n\n"


PIECES = {
    FALCON.name: [b"Hello", b",", b" <b>you</b>", b"\xc3", b"\xbc", FALCON_END],
    CHAT.name: [event("Hel"), b": ping\n\n", event("lo"), event("", '"stop"'), DONE],
}
TYPES = {FALCON.name: "text/plain", CHAT.name: "text/event-stream"}


def gated(
    api: Api | None, framing: str, pieces: Sequence[bytes]
) -> tuple[Answer, list[asyncio.Event]]:
    """An answer with a gate in front of each piece, and one before its end."""
    kind = TYPES[api.name] if api else "text/plain"
    gates = [asyncio.Event() for _ in range(len(pieces) + 1)]
    steps: list[Step] = [head("HTTP/1.1 200 OK", ("Content-Type", kind), FRAMINGS[framing])]
    for gate, piece in zip(gates, pieces, strict=False):
        steps += [gate, chunk(piece) if framing == "chunked" else piece]
    steps.append(gates[-1])
    if framing == "chunked":
        return Answer([*steps, b"0\r\n\r\n"]), gates
    return Answer(steps, "fin"), gates


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("api", [*APIS, None], ids=str)
async def test_every_piece_arrives_before_the_next_is_sent(
    api: Api | None, framing: str, start_proxy: StartProxy
) -> None:
    pieces = PIECES[(api or FALCON).name]
    answer, gates = gated(api, framing, pieces)
    async with RecordingUpstream(answer) as upstream:
        proxy = await start_proxy(upstream.url)
        async with RawClient(proxy.url) as client:
            target, body = (api.target, api.good) if api else ("/x", b"")
            await client.post(target, body, AUTHORIZATION, NAMED)
            assert (await client.read_head()).status == 200  # before any byte of the body
            held = api is not None
            for gate, piece in zip(gates, pieces[:-1] if held else pieces, strict=False):
                gate.set()
                seen = chunk(piece) if framing == "chunked" else piece
                assert await client.connection.read_exactly(len(seen)) == seen
            if held:
                assert await stored(proxy) == []
            for gate in gates:
                gate.set()
            rest = await client.connection.read_to_end() if framing == "close" else b""
            if framing == "chunked":
                rest = await client.connection.read_until(b"0\r\n\r\n")
            assert (pieces[-1] in rest) == held
        if api:
            assert await stored(proxy) == ["Hello, <b>you</b>ü" if api is FALCON else "Hello"]


WAITS = [
    (FALCON, b"Hello<", b"Hello", b"b>"),
    (FALCON, b"Hello<|endoftext|", b"Hello", b"?"),
    (FALCON, b"a<|endof<|e", b"a<|endof", b"lse"),
    (FALCON, b"<", b"", b"<"),
    (CHAT, event("a") + b"data", event("a"), b": {}\n\n"),
    (CHAT, event("a") + b"data: [DON", event("a"), b"A]\n\n"),
    (CHAT, event("a") + b"x data: [DONE]", event("a") + b"x data: [DONE]", b"\n\n"),
]


@pytest.mark.parametrize(
    ("api", "first", "free", "then"),
    WAITS,
    ids=[f"{api}-{first[-12:]!r}" for api, first, *_ in WAITS],
)
async def test_only_what_may_begin_a_marker_waits_for_the_next_piece(
    api: Api, first: bytes, free: bytes, then: bytes, start_proxy: StartProxy
) -> None:
    answer, gates = gated(api, "chunked", [first, then, b"\n\n.\n\n"])
    async with RecordingUpstream(answer) as upstream:
        proxy = await start_proxy(upstream.url)
        async with RawClient(proxy.url) as client:
            await client.post(api.target, api.good, AUTHORIZATION, NAMED)
            await client.read_head()
            gates[0].set()
            if free:
                assert await client.connection.read_exactly(len(chunk(free))) == chunk(free)
            gates[1].set()
            # All that waited comes with the next piece, unless its end may begin a marker again.
            expected = (first + then).removeprefix(free)
            if expected == b"<<":
                expected = b"<"
            assert await client.connection.read_exactly(len(chunk(expected))) == chunk(expected)
            gates[2].set()
            gates[3].set()
            assert (await client.connection.read_until(b"0\r\n\r\n")).endswith(
                b".\n\n\r\n0\r\n\r\n"
            )


@pytest.mark.parametrize("api", APIS, ids=str)
async def test_of_a_body_with_a_length_only_the_last_byte_waits(
    api: Api, start_proxy: StartProxy
) -> None:
    whole = api.answer("Hello").partition(b"\r\n\r\n")[2] if api is CHAT else b"Hello"
    kind = "application/json" if api is CHAT else "text/plain"
    length = ("Content-Length", str(len(whole)))
    gate = asyncio.Event()
    steps: list[Step] = [
        head("HTTP/1.1 200 OK", ("Content-Type", kind), length),
        whole[:-1],
        gate,
        whole[-1:],
    ]
    async with RecordingUpstream(Answer(steps)) as upstream:
        proxy = await start_proxy(upstream.url)
        async with RawClient(proxy.url) as client:
            await client.post(api.target, api.good, AUTHORIZATION, NAMED)
            await client.read_head()
            assert await client.connection.read_exactly(len(whole) - 1) == whole[:-1]
            assert await stored(proxy) == []
            gate.set()
            assert await client.connection.read_exactly(1) == whole[-1:]
            assert await stored(proxy) == ["Hello"]

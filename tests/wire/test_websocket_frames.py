"""Frames of every kind: a client reads the same bytes with and without the proxy in between."""

import pytest
from tests.wire.clients import RawClient
from tests.wire.conftest import StartProxy
from tests.wire.talking import AUTHORIZATION, end_to_end, head
from tests.wire.websockets import HANDSHAKE, START, echo


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A client's frame (RFC 6455 section 5.2), its payload masked."""
    mask, size = b"\x12\x34\x56\x78", len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([opcode | 0x80 * final]) + length + mask + masked


TEXT, BINARY, MORE, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
FRAMES = (
    frame(TEXT, "Grüße".encode()),
    frame(TEXT, b""),
    frame(BINARY, bytes(range(256)) * 200),
    frame(PING, b"are you there"),
    frame(PONG, b"nobody asked"),
    frame(TEXT, b"in Gr\xc3", final=False),  # cut within a letter
    frame(PING, b"between"),
    frame(MORE, b"\xbc\xc3", final=False),
    frame(MORE, b"\x9fe"),
    frame(BINARY, b"", final=False) + frame(MORE, b""),
)
LAST = {
    "close": frame(CLOSE, b""),
    "close with a code": frame(CLOSE, (1000).to_bytes(2, "big")),
    "close with a reason": frame(CLOSE, (3001).to_bytes(2, "big") + "schön".encode()),
    "closed by the upstream": frame(TEXT, b"leave") + frame(CLOSE, (4001).to_bytes(2, "big")),
    "a code that is none": frame(CLOSE, (1).to_bytes(2, "big")),
    "an opcode that is none": frame(5, b""),
    "no text": frame(TEXT, b"\xff"),
    "more of nothing": frame(MORE, b"x"),
}


async def transcript(url: str, last: bytes, extensions: list[tuple[str, str]]) -> list[object]:
    """Everything that a client gets."""
    async with RawClient(url) as client:
        await client.send(head(START, AUTHORIZATION, *HANDSHAKE[:-1], *extensions))
        found = await client.read_head()
        await client.send(*FRAMES, last)
        rest = await client.connection.read_to_end()
        fields = sorted(end_to_end(found.headers, b"date"))
        return [found.start, fields, rest, client.connection.ending]


@pytest.mark.parametrize("extensions", [[], HANDSHAKE[-1:]], ids=["plain", "deflate"])
@pytest.mark.parametrize("last", LAST.values(), ids=LAST)
async def test_every_frame_is_the_same_with_and_without_us(
    last: bytes, extensions: list[tuple[str, str]], start_proxy: StartProxy
) -> None:
    async with echo() as url:
        proxy = await start_proxy(url)
        directly = await transcript(url, last, extensions)
        assert await transcript(proxy.url, last, extensions) == directly

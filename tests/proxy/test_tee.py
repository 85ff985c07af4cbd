"""What may go on, what waits, and that both together are what came, in order, for every chunking."""

import gzip
import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.buffers import COST, SMALL_BYTES, Buffers
from backstory.model import Marker
from backstory.tee import Decoder, Tee, Undecodable
from backstory_plugins.dialects.falcon import Falcon
from backstory_plugins.dialects.openai_chat import OpenAIChat

LIMIT = 100_000


def of_dialect(marker: Marker | None) -> Marker:
    assert marker is not None
    return marker


SSE = of_dialect(OpenAIChat().end_marker("text/event-stream"))
FALCON = of_dialect(Falcon().end_marker("text/plain"))


def begun(
    marker: Marker | None,
    *,
    length: int | None = None,
    codings: tuple[str, ...] = (),
    limit: int = LIMIT,
) -> Tee:
    tee = Tee(limit, lambda _: marker)
    tee.begin(200, "text/plain", codings, length)
    return tee


def first_marker(stream: bytes, marker: Marker) -> int:
    """Where the first end marker begins, looked for at every place; -1 if there is none."""
    places = (at for at in range(len(stream)) if _begins(stream, at, marker.spellings, marker))
    return next(places, -1)


def _begins(stream: bytes, at: int, spellings: Iterable[bytes], marker: Marker) -> bool:
    at_line_start = at == 0 or stream[at - 1 : at] in (b"\r", b"\n")
    spelled = any(stream[at:].startswith(spelling) for spelling in spellings)
    return spelled and (at_line_start or not marker.line_start)


def may_begin_a_marker(stream: bytes, at: int, marker: Marker) -> bool:
    """Whether ``stream`` from ``at`` to its end is a beginning of a marker, and not all of it."""
    rest = stream[at:]
    beginnings = [s[: len(rest)] for s in marker.spellings if len(rest) < len(s)]
    return rest in beginnings and _begins(stream, at, beginnings, marker)


def check(
    stream: bytes, chunks: Sequence[bytes], marker: Marker | None, length: int | None = None
) -> Tee:
    """Feed ``chunks`` of ``stream``: after each, no more and no less waits than must."""
    tee = begun(marker, length=length)
    came = released = b""
    for chunk in chunks:
        released += tee.feed(chunk)
        came += chunk
        assert came.startswith(released)
        assert tee.marked == (marker is not None and first_marker(came, marker) >= 0)
        assert len(released) == may_go(came, marker, length), (came, released)
    assert released + tee.release() == stream
    assert tee.release() == b""
    assert tee.body() == stream
    return tee


def may_go(came: bytes, marker: Marker | None, length: int | None) -> int:
    """How many bytes may be released once ``came`` has come: all that need not wait."""
    if marker is not None:
        if (at := first_marker(came, marker)) >= 0:
            return at
        places = (at for at in range(len(came)) if may_begin_a_marker(came, at, marker))
        if (at := next(places, -1)) >= 0:
            return at
    return len(came) - (length == len(came) > 0)


def splits(stream: bytes) -> Iterator[list[bytes]]:
    """Whole, in two, in three, wherever it can be cut; and byte by byte."""
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    for first, second in itertools.combinations_with_replacement(range(len(stream) + 1), 2):
        yield [stream[:first], stream[first:second], stream[second:]]


STREAMS = [
    (SSE, b'data: {"c":"hi"}\n\ndata: [DONE]\n\n', 18),
    (SSE, b"data: 4\r\n\r\ndata:[DONE]\r\n\r\n", 11),
    (SSE, b"data: 4\r\rdata: [DONE]\r\r", 9),
    (SSE, b"data: [DONE]\n\n", 0),
    (SSE, b'data: {"c":"data: [DONE]"}\n\n', -1),
    (SSE, b'data: "data:[DONE]"\n\ndata:[DONE]', 21),
    (SSE, b"data: data: [DONE]\n", -1),
    (SSE, b" data: [DONE]\n", -1),
    (SSE, b"data: [DO\ndata: [DONE\ndata: [DONE]", 22),
    (SSE, b"data: 4\n\ndata: [DON", -1),
    (SSE, b"\n\n\ndata:", -1),
    (SSE, b"data: [DONE]\ndata:[DONE]\n", 0),
    (SSE, b"data:[DONE]\ndata: [DONE]\n", 0),
    (FALCON, b"Oslo.<|endoftext|>", 5),
    (FALCON, b"a <|end of it", -1),
    (FALCON, b"<|end<|endoftext|>\n", 5),
    (FALCON, b"<<||endoftext|>", -1),
    (FALCON, b"<<|endoftext|>", 1),
    (FALCON, b"x<|endoftext|", -1),
    (FALCON, b"<|endoftext|><|endoftext|>", 0),
    (FALCON, "é<|endoftext|>".encode(), 2),
]


@pytest.mark.parametrize("framed", [False, True], ids=["chunked", "length"])
@pytest.mark.parametrize(("marker", "stream", "at"), STREAMS)
def test_only_what_may_be_a_marker_waits_however_the_stream_is_cut(
    marker: Marker, stream: bytes, at: int, framed: bool
) -> None:
    assert first_marker(stream, marker) == at, "the oracle agrees with the table"
    for chunks in splits(stream):
        check(stream, chunks, marker, len(stream) if framed else None)


_PIECES = [b"data: ", b"data:", b"[DONE]", b"[DO", b"\n", b"\r", b" ", b"d", b"<|end", b"oftext|>"]


@given(
    st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join),
    st.lists(st.integers(0, 80), max_size=12),
    st.sampled_from([SSE, FALCON, None]),
    st.booleans(),
)
def test_the_same_of_streams_that_nobody_thought_of(
    stream: bytes, cuts: list[int], marker: Marker | None, framed: bool
) -> None:
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in itertools.pairwise(places)]
    check(stream, chunks, marker, len(stream) if framed else None)


@pytest.mark.parametrize(
    ("chunks", "goes"),
    [
        ([b"abc"], [b"ab"]),
        ([b"ab", b"c"], [b"ab", b""]),
        ([b"a", b"b", b"c"], [b"a", b"b", b""]),
        ([b"abc", b""], [b"ab", b""]),
    ],
)
def test_the_last_byte_of_a_body_of_known_length_waits(
    chunks: list[bytes], goes: list[bytes]
) -> None:
    tee = begun(None, length=3)
    assert [tee.feed(chunk) for chunk in chunks] == goes
    assert not tee.marked
    assert tee.release() == b"c"


def test_the_marker_is_that_of_the_media_type() -> None:
    asked: list[str] = []
    tee = Tee(LIMIT, lambda media_type: asked.append(media_type))
    tee.begin(201, "application/json", (), None)
    assert (asked, tee.status, tee.media_type) == (["application/json"], 201, "application/json")


PLAIN = b'data: {"c":"four"}\n\ndata: [DONE]\n\n'


def coded(coding: str, plain: bytes) -> bytes:
    """Flushed before the end event, as servers that stream do."""
    wbits = {"gzip": 31, "x-gzip": 31, "deflate": 15, "raw": -15}[coding]
    packer = zlib.compressobj(wbits=wbits)
    head, tail = plain[:20], plain[20:]
    flushed = packer.compress(head) + packer.flush(zlib.Z_SYNC_FLUSH)
    return flushed + packer.compress(tail) + packer.flush()


@pytest.mark.parametrize("framed", [False, True], ids=["chunked", "length"])
@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "raw"])
def test_the_chunk_in_which_the_marker_decodes_waits(coding: str, framed: bool) -> None:
    stream = coded(coding, PLAIN)
    for chunks in splits(stream):
        name = "deflate" if coding == "raw" else coding
        tee = begun(SSE, length=len(stream) if framed else None, codings=(name,))
        undone = zlib.decompressobj(wbits={"deflate": 15, "raw": -15}.get(coding, 31))
        plain, went, expected = b"", b"", b""
        for chunk in chunks:
            went += tee.feed(chunk)
            plain += undone.decompress(chunk)
            expected += chunk if b"data: [DONE]" not in plain else b""
        assert (went, tee.marked) == (expected, True)
        assert went + tee.release() == stream
        assert tee.body() == PLAIN


def test_a_coded_body_without_marker_keeps_its_last_byte() -> None:
    stream = gzip.compress(b'{"c":"four"}')
    tee = begun(None, length=len(stream), codings=("gzip",))
    assert tee.feed(stream) == stream[:-1]
    assert tee.release() == stream[-1:]
    assert tee.body() == b'{"c":"four"}'


def test_a_coded_stream_that_never_says_its_marker_keeps_its_last_byte() -> None:
    stream = gzip.compress(b"data: 4\n\n")
    tee = begun(SSE, length=len(stream), codings=("gzip",))
    assert tee.feed(stream[:5]) + tee.feed(stream[5:]) == stream[:-1]
    assert (tee.marked, tee.release()) == (False, stream[-1:])


WHOLE = gzip.compress(PLAIN)
DAMAGED = WHOLE[:15] + bytes([WHOLE[15] ^ 0xFF]) + WHOLE[16:]
BOMB = gzip.compress(bytes(10_000_000))


@pytest.mark.parametrize(
    ("codings", "stream"),
    [
        pytest.param(("gzip",), WHOLE[:-1], id="cut in the trailer"),
        pytest.param(("gzip",), b"", id="empty"),
        pytest.param(("gzip",), WHOLE + b"x", id="garbage behind it"),
        pytest.param(("gzip",), WHOLE + WHOLE, id="twice"),
        pytest.param(("gzip",), DAMAGED, id="damaged"),
        pytest.param(("gzip",), WHOLE[:-8] + bytes(8), id="wrong checksum"),
        pytest.param(("gzip",), PLAIN, id="not coded"),
        pytest.param(("gzip",), zlib.compress(PLAIN), id="another coding"),
        pytest.param(("gzip",), BOMB, id="bomb"),
        pytest.param(("deflate",), zlib.compress(PLAIN)[:-1], id="deflate, cut"),
        pytest.param(("deflate",), zlib.compress(PLAIN) + b"x", id="deflate, garbage behind it"),
        pytest.param(("deflate",), PLAIN, id="deflate, not coded"),
        pytest.param(("br",), zlib.compress(PLAIN), id="unknown"),
        pytest.param(("gzip", "gzip"), gzip.compress(WHOLE), id="coded twice"),
        pytest.param(("gzip", "br"), WHOLE, id="two codings"),
    ],
)
def test_what_cannot_be_undone_is_relayed_and_not_read(
    codings: tuple[str, ...], stream: bytes
) -> None:
    for size in (1, 7, len(stream) or 1):
        tee = begun(SSE, codings=codings)
        went = [tee.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
        assert b"".join(went) + tee.release() == stream
        with pytest.raises(Undecodable):
            tee.body()
        if size == 1 and len(stream) > 1000:
            break  # the others say the same, and take long


@pytest.mark.parametrize("codings", [("br",), ("gzip",)])
def test_what_cannot_be_undone_keeps_its_last_byte_of_a_known_length(
    codings: tuple[str, ...],
) -> None:
    tee = begun(SSE, length=len(PLAIN), codings=codings)
    assert tee.feed(PLAIN) == PLAIN[:-1]
    assert tee.release() == PLAIN[-1:]


def test_a_copy_has_its_bound_and_the_answer_goes_on() -> None:
    tee = begun(SSE, limit=10)
    assert tee.feed(b"data: 0123") == b"data: 0123"
    assert tee.body() == b"data: 0123"
    assert tee.feed(b"4\n\n") == b"4\n\n"
    assert tee.feed(b"data: [DONE]\n\n") == b""
    assert tee.marked
    assert tee.release() == b"data: [DONE]\n\n"
    with pytest.raises(Undecodable, match="max_answer_bytes"):
        tee.body()


def test_the_bound_holds_for_what_comes_out() -> None:
    decoder = Decoder(("gzip",), 1000)
    with pytest.raises(Undecodable):
        decoder.feed(BOMB)
    assert decoder.overflowed


@pytest.mark.parametrize("size", [0, 999, 1000])
def test_what_is_within_the_bound_comes_out(size: int) -> None:
    decoder, packed = Decoder(("gzip",), 1000), gzip.compress(bytes(size))
    plain = b"".join(decoder.feed(packed[at : at + 1]) for at in range(len(packed)))
    assert (plain, decoder.ended, decoder.overflowed) == (bytes(size), True, False)


@given(st.binary(max_size=300), st.integers(0, 9), st.integers(1, 20), st.sampled_from([15, -15]))
def test_deflate_may_lack_its_header_however_it_is_cut(
    plain: bytes, level: int, size: int, wbits: int
) -> None:
    packer = zlib.compressobj(level, wbits=wbits)
    packed = packer.compress(plain) + packer.flush()
    decoder = Decoder(("deflate",), LIMIT)
    pieces = [decoder.feed(packed[at : at + size]) for at in range(0, len(packed), size)]
    assert (b"".join(pieces), decoder.ended) == (plain, True)


NDJSON = Marker((b'"done":true', b'"done": true'), line_start=False, top_level=True)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_marker_of_the_top_level_is_no_key_inside(size: int) -> None:
    """A tool call's arguments may hold the very bytes that end a stream."""
    first = b'{"message":{"content":"\\"done\\":true {[","tool_calls":[{"a":{"done":true}}]},"done":false}\n'
    before = b'{"message":{"content":""},'
    stream = first + before + b'"done":true,"done_reason":"stop"}\n'
    tee = begun(NDJSON)
    sent = b"".join(tee.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    assert tee.marked
    assert sent == first + before
    assert tee.release() == b'"done":true,"done_reason":"stop"}\n'


def test_markers_inside_without_end_are_given_up() -> None:
    """Each costs the length of its line: the framing alone tells the end of such an answer."""
    tee = begun(NDJSON)
    inside = b'{"a":{' + b",".join([b'"done":true'] * 100)
    assert tee.feed(inside) == inside
    assert tee.feed(b'},"done":true}\n') == b'},"done":true}\n'
    assert not tee.marked


def test_a_copy_is_charged_in_few_steps_and_never_for_much_more_than_it_is() -> None:
    share, steps = Buffers(COST * 10 * LIMIT, wait_seconds=1).share(), []
    tee = Tee(LIMIT, lambda _: SSE, share)
    tee.begin(200, "text/event-stream", (), None)
    for size in range(10, 90_000, 10):
        tee.feed(b"data: 0123")
        assert size <= share.taken / COST <= 1.25 * size + 4096
        if share.taken not in steps:
            steps.append(share.taken)
    assert len(steps) < 20
    assert len(tee.body()) == 89_990


def test_a_copy_without_room_is_given_up_and_the_answer_goes_on() -> None:
    buffers = Buffers(COST * SMALL_BYTES, wait_seconds=1)
    tee = Tee(10 * SMALL_BYTES, lambda _: SSE, share := buffers.share())
    tee.begin(200, "text/event-stream", (), None)
    piece = b"data: x\n\n" * 1000
    went = [tee.feed(piece) for _ in range(20)]
    assert b"".join(went) + tee.release() == 20 * piece
    assert share.taken == 0
    with pytest.raises(Undecodable, match="max_buffered_bytes") as refused:
        tee.body()
    assert refused.value.reason == "no_room"


def test_a_copy_over_its_bound_gives_its_room_back() -> None:
    share = Buffers(COST * LIMIT, wait_seconds=1).share()
    tee = Tee(1000, lambda _: SSE, share)
    tee.begin(200, "text/event-stream", (), None)
    tee.feed(b"x" * 1000)
    assert share.taken == 1000 * COST
    tee.feed(b"x")
    assert share.taken == 0
    with pytest.raises(Undecodable, match="max_answer_bytes") as refused:
        tee.body()
    assert refused.value.reason == "no_copy"

"""What llhttp leaves open: bodies that are not there, heads that must not pass, bytes too many."""

import pytest

from backstory.upstream.framing import AnswerParser, Framing

OK = b"HTTP/1.1 200 OK\r\n"
SWITCH = b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


def parse(
    *pieces: bytes, head_only: bool = False, upgrade: bool = False, max_head_bytes: int = 65536
) -> AnswerParser:
    parser = AnswerParser(head_only=head_only, upgrade=upgrade, max_head_bytes=max_head_bytes)
    for piece in pieces:
        parser.feed(piece)
    return parser


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\n\n",
        OK + b"A : b\r\n\r\n",
        OK + b"A: b\r\n folded\r\n\r\n",
        OK + b"A: b\0\r\n\r\n",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK + b"Content-Length: 1, 1\r\n\r\n",
        OK + b"Content-Length: +1\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nx",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        SWITCH,
        OK + b"Transfer-Encoding: gzip\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_head_that_cannot_be_passed_on_is_a_fault(raw: bytes) -> None:
    for pieces in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        parser = parse(*pieces)
        assert parser.fault
        assert not parser.headed
        assert parser.keepalive_seconds() == 0


def test_an_interim_answer_with_a_body_is_a_fault() -> None:
    raw = b"HTTP/1.1 110 Wait\r\nContent-Length: 2\r\n\r\nab" + OK + b"\r\n"
    parser = parse(raw)
    assert "interim" in parser.fault
    assert not parser.headed
    assert not parser.pieces


def test_a_switch_of_protocols_must_say_so() -> None:
    parser = parse(b"HTTP/1.1 101 Go\r\n\r\n", upgrade=True)
    assert parser.fault
    assert not parser.headed


@pytest.mark.parametrize("split", range(1, len(SWITCH) + 4))
def test_all_after_a_switch_of_protocols_is_body(split: int) -> None:
    raw = SWITCH + b"rest"
    parser = parse(raw[:split], raw[split:], b"more", upgrade=True)
    assert not parser.fault
    assert parser.framing is Framing.CLOSE
    assert b"".join(parser.pieces) == b"restmore"
    assert parser.keepalive_seconds() == 0


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
@pytest.mark.parametrize(
    ("status", "head_only"), [(b"200", True), (b"204", False), (b"304", False)]
)
def test_what_has_no_body_ends_with_its_head(
    framing: bytes, status: bytes, head_only: bool
) -> None:
    parser = parse(b"HTTP/1.1 " + status + b" X\r\n" + framing + b"\r\n", head_only=head_only)
    assert parser.ended
    assert parser.framing is Framing.NONE
    assert parser.length == (5 if b"5" in framing else None)
    chunked_head = head_only and b"chunked" in framing
    assert parser.keepalive_seconds() == (0 if chunked_head else None)


@pytest.mark.parametrize("code", [b"100", b"102", b"103", b"110"])
def test_interim_answers_are_skipped(code: bytes) -> None:
    interim = b"HTTP/1.1 " + code + b" Wait\r\nLink: x\r\n\r\n"
    raw = interim + interim + OK + b"Content-Length: 2\r\n\r\nab"
    for pieces in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        parser = parse(*pieces)
        assert (parser.status, parser.reason) == (200, b"OK")
        assert parser.fields == [(b"Content-Length", b"2")]
        assert parser.ended
        assert not parser.stray


@pytest.mark.parametrize(
    "more", [b"X", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz", b"0\r\n\r\n", b"H"]
)
@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize(
    ("raw", "head_only"),
    [
        (OK + b"Content-Length: 2\r\n\r\nab", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 204 No\r\n\r\n", False),
        (OK + b"Content-Length: 2\r\n\r\n", True),
    ],
)
def test_bytes_after_the_end_spoil_the_connection_and_nothing_else(
    raw: bytes, more: bytes, split: bool, head_only: bool
) -> None:
    parser = parse(*((raw, more) if split else (raw + more,)), head_only=head_only)
    assert parser.ended
    assert parser.stray
    assert not parser.fault
    assert parser.status in (200, 204)
    assert b"".join(parser.pieces) == (b"" if head_only or b"204" in raw else b"ab")
    assert parser.keepalive_seconds() == 0


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\n", 4),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: max=100\r\n", None),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nConnection: x\r\nconnection: close\r\n", 0),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", 0),
    ],
)
def test_how_long_a_connection_is_kept(head: bytes, seconds: float | None) -> None:
    parser = parse(head + b"Content-Length: 2\r\n\r\na")
    assert parser.keepalive_seconds() == 0, "half an answer"
    parser.feed(b"b")
    assert parser.keepalive_seconds() == seconds


@pytest.mark.parametrize("size", [1, 4096, 100000])
def test_a_head_is_bounded(size: int) -> None:
    raw = OK + b"A: " + b"x" * 2000
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    parser = parse(*pieces, max_head_bytes=1000)
    assert "1000" in parser.fault
    whole = parse(raw + b"\r\n\r\n" + b"body" * 10, max_head_bytes=1000)
    assert "1000" in whole.fault
    assert not whole.headed


def test_trailers_are_dropped_and_bounded() -> None:
    body = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"
    parser = parse(body, b"A: b\r\n\r\n", max_head_bytes=1000)
    assert parser.ended
    assert parser.fields == [(b"Transfer-Encoding", b"chunked")]
    endless = parse(body, *[b"A: bbbbbbbb\r\n"] * 100, max_head_bytes=1000)
    assert "1000" in endless.fault


def test_a_fault_does_not_quote_the_answer() -> None:
    assert "secret" not in parse(b"secret\r\n").fault
    assert "secret" not in parse(OK + b"Content-Length: secret\r\n\r\n").fault


@pytest.mark.parametrize("clean", [True, False])
def test_the_end_of_the_connection_ends_a_close_delimited_body_only(clean: bool) -> None:
    close = parse(OK + b"\r\nab")
    close.finish(clean=clean)
    assert close.ended is clean
    assert bool(close.fault) is not clean
    for raw in (b"", OK, OK + b"Content-Length: 3\r\n\r\nab"):
        other = parse(raw)
        other.finish(clean=clean)
        assert not other.ended
        assert other.fault
    whole = parse(OK + b"Content-Length: 2\r\n\r\nab")
    whole.finish(clean=clean)
    assert whole.ended
    assert not whole.fault

"""The head of an answer as the client gets it, and how an answer is cut."""

from typing import TYPE_CHECKING

import pytest

from backstory.upstream import UpstreamAnswer

if TYPE_CHECKING:
    from tests.proxy.conftest import StartProxy, Upstream

GET = b"GET /p HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSING = b"GET /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def test_status_reason_and_fields_are_the_upstreams(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.answer = (
        b"HTTP/1.1 299 Very Odd\r\nX-One: 1\r\nServer: theirs\r\nset-cookie: a=1\r\n"
        b"Set-Cookie: b=2; Path=/\r\nx-one:\r\nContent-Length: 2\r\n\r\nok"
    )
    got = await (await start_proxy(auth="off")).raw(CLOSING)
    assert got.startswith(
        b"HTTP/1.1 299 Very Odd\r\nX-One: 1\r\nServer: theirs\r\nset-cookie: a=1\r\n"
    )
    assert b"\r\nSet-Cookie: b=2; Path=/\r\nx-one: \r\n" in got
    assert got.endswith(b"\r\n\r\nok")
    assert b"Content-Type" not in got, "none is none"


async def test_an_upstream_cannot_set_our_cookie(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.answer = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: backstory=theirs\r\nSet-Cookie: __Host-backstory=theirs\r\n"
        b"Set-Cookie: =backstory=theirs\r\nSet-Cookie: other=kept\r\nContent-Length: 0\r\n\r\n"
    )
    got = await (await start_proxy(auth="off")).get("/p")
    assert got.headers.getall("Set-Cookie") == ["other=kept"]


async def test_what_ends_at_a_proxy_ends_here(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.answer = (
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Authenticate: x\r\nBackstory-Memory: hit;turns=9\r\nbackstory_turn: x\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    got = await (await start_proxy(auth="off")).get("/p")
    assert set(got.headers) == {"Content-Length", "Date"}


async def test_a_body_that_only_the_closing_ends_is_not_made_to_look_complete(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.answer = b"HTTP/1.1 200 OK\r\n\r\nwhat there is"
    got = await (await start_proxy(auth="off")).raw(GET)
    head, _, body = got.partition(b"\r\n\r\n")
    assert body == b"what there is"
    assert b"chunked" not in head.lower()
    assert b"content-length" not in head.lower()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_a_cut_answer_reaches_the_client_as_cut(
    start_proxy: "StartProxy", upstream: "Upstream", answer: bytes
) -> None:
    upstream.answer = answer
    got = await (await start_proxy(auth="off")).raw(GET)
    assert b"half" in got, "what came is given"
    assert not got.endswith(b"0\r\n\r\n"), "and its end is not"
    assert b"Content-Length: 9" in got or b"chunked" in got


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nwhole",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n",
    ],
)
async def test_a_bug_behind_the_head_adds_no_byte_to_the_answer(
    body: bytes,
    start_proxy: "StartProxy",
    upstream: "Upstream",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream.answer = b"HTTP/1.1 200 OK\r\n" + body
    proxy = await start_proxy(auth="off")
    close = UpstreamAnswer.close

    def fail(answer: UpstreamAnswer) -> None:
        close(answer)
        raise RuntimeError("a bug")

    monkeypatch.setattr(UpstreamAnswer, "close", fail)
    got = await proxy.raw(GET)
    assert got.endswith((b"\r\n\r\nwhole", b"\r\n\r\n5\r\nwhole\r\n")), "and no 500 of aiohttp's"


async def test_an_http_1_0_client_learns_of_a_cut_by_a_reset(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    with pytest.raises(ConnectionResetError):
        await (await start_proxy(auth="off")).raw(b"GET /p HTTP/1.0\r\n\r\n")


async def test_a_chunked_request_is_the_last_of_its_connection(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    chunked = b"PUT /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n"
    got = await (await start_proxy(auth="off")).raw(chunked + GET)  # reads until the end
    assert got.count(b"HTTP/1.1 200 OK") == 1
    assert b"\r\nConnection: close\r\n" in got


async def test_no_byte_of_a_field_is_spelled_anew(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    theirs = b"HTTP/1.1 200 Tr\xe8s bien\r\nX-Latin: caf\xe9\r\nX-UTF: caf\xc3\xa9\r\nX-None: \xff\xfe\r\n"
    upstream.answer = theirs + b"Content-Length: 0\r\n\r\n"
    got = await (await start_proxy(auth="off")).raw(CLOSING)
    assert got.startswith(theirs)


@pytest.mark.parametrize("date", [b"", b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", b"date: x\r\n"])
async def test_there_is_one_date_and_it_is_theirs_if_they_have_one(
    date: bytes, start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.answer = b"HTTP/1.1 200 OK\r\n" + date + b"Content-Length: 0\r\n\r\n"
    got = await (await start_proxy(auth="off")).raw(CLOSING)
    assert got.lower().count(b"\r\ndate:") == 1
    assert date in got


@pytest.mark.parametrize(
    ("request_", "answer", "expected"),
    [
        (
            b"HEAD /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            b"\r\nContent-Length: 9\r\n",
        ),
        (CLOSING, b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (
            CLOSING,
            b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 9\r\n\r\n',
            b'\r\nETag: "x"\r\n',
        ),
    ],
    ids=["HEAD", "204", "304"],
)
async def test_where_there_is_no_body_nothing_follows_the_head(
    start_proxy: "StartProxy", upstream: "Upstream", request_: bytes, answer: bytes, expected: bytes
) -> None:
    upstream.answer = answer
    got = await (await start_proxy(auth="off")).raw(request_)
    assert got.startswith(answer.partition(b"\r\n")[0] + b"\r\n")
    assert expected in got
    assert got.endswith(b"\r\n\r\n")
    assert got.count(b"\r\n\r\n") == 1
    assert b"chunked" not in got
    assert (b" 204 " in got) <= (b"Content-Length" not in got), "RFC 9110 section 8.6"


async def test_our_cookie_stands_beside_theirs(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.answer = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
    )
    got = await (await start_proxy(auth="off")).post("/conversation/falcon")
    cookies = got.headers.getall("Set-Cookie")
    assert cookies[:2] == ["a=1", "b=2"]
    assert [cookie.partition("=")[0] for cookie in cookies[2:]] == ["backstory"]


async def test_an_http_1_0_client_gets_no_chunks(
    start_proxy: "StartProxy", upstream: "Upstream"
) -> None:
    upstream.answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nfull\r\n0\r\n\r\n"
    )
    got = await (await start_proxy(auth="off")).raw(b"GET /p HTTP/1.0\r\n\r\n")
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"chunked" not in head
    assert body == b"halffull"

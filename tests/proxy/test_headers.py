"""Which fields go on to the other side, and that what goes on keeps its bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory import headers

names = st.sampled_from([b"A", b"X-One", b"X_Two", b"Content-Type", b"cookie2", b"Backstop"])
values = st.binary(max_size=20).filter(lambda v: not set(v) & set(b"\r\n\0"))
fields = st.lists(st.tuples(names, values))
crumbs = st.sampled_from(
    [b"a=1", b" b=2", b"  c", b'd="x y"', b"", b" Backstory=3", b"=", b"e=\xff"]
)


@given(fields)
def test_end_to_end_fields_keep_order_case_and_duplicates(
    given_fields: list[tuple[bytes, bytes]],
) -> None:
    assert headers.end_to_end(given_fields) == given_fields


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Proxy-Authorization",
        "Proxy-Authenticate",
        "HTTP2-Settings",
        "Content-Length",
        "Host",
        "Expect",
    ],
)
@pytest.mark.parametrize("spell", [str.lower, str.upper, str])
def test_a_hop_by_hop_or_framing_field_stays_here(name: str, spell: type[str]) -> None:
    assert headers.end_to_end([(spell(name).encode(), b"x"), (b"A", b"b")]) == [(b"A", b"b")]


def test_what_is_kept_of_names_is_bounded_however_many_and_long_they_are() -> None:
    passing = headers.passing()
    sent = [(b"X-%d" % number, b"") for number in range(10_000)]
    assert headers.end_to_end(sent, passing) == sent
    assert len(passing) == headers.MOST_NAMES
    passing = headers.passing()
    sent = [(b"X" * size, b"") for size in range(1, 1000)]
    assert headers.end_to_end(sent, passing) == sent
    assert max(map(len, passing)) == headers.LONGEST_NAME


def test_a_field_that_connection_names_stays_here() -> None:
    sent = [
        (b"connection", b"close, X-One ,\tx-TWO"),
        (b"X-One", b"1"),
        (b"X-Two", b"2"),
        (b"X-Three", b"3"),
        (b"Connection", b"x-four"),
        (b"x-Four", b"4"),
        (b"X-Five", b"5"),
    ]
    assert headers.end_to_end(sent) == [(b"X-Three", b"3"), (b"X-Five", b"5")]


@pytest.mark.parametrize("value", [b"", b",", b" , ", b"\xff, ,close"])
def test_a_connection_field_that_names_nothing_removes_nothing(value: bytes) -> None:
    assert headers.end_to_end([(b"Connection", value), (b"A", b"b")]) == [(b"A", b"b")]


@pytest.mark.parametrize(
    "name",
    [
        b"Backstory-Conversation",
        b"backstory_conversation",
        b"BACKSTORY-MEMORY",
        b"Backstory_Anything-At_All",
        b"backstory-",
    ],
)
def test_our_own_fields_stay_here_in_every_spelling_that_cgi_knows(name: bytes) -> None:
    assert headers.end_to_end([(name, b"x")]) == []


@pytest.mark.parametrize("name", [b"Backstory", b"X-Backstory-Memory", b"Back-Story-Memory"])
def test_what_only_resembles_our_fields_goes_on(name: bytes) -> None:
    assert headers.end_to_end([(name, b"x")]) == [(name, b"x")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", ""),
        (b"Text/Event-Stream; charset=utf-8", "text/event-stream"),
        (b" application/json ", "application/json"),
        (b";charset=x", ""),
        (b"\xff/x", "\ufffd/x"),
    ],
)
def test_a_media_type_is_lower_case_and_bare(value: bytes, expected: str) -> None:
    assert headers.media_type(value) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ()),
        ([""], ()),
        (["identity"], ()),
        (["gzip"], ("gzip",)),
        (["gzip, BR", " ,zstd"], ("gzip", "br", "zstd")),
        (["identity, gzip"], ("gzip",)),
    ],
)
def test_codings_are_in_the_order_of_application(
    values: list[str], expected: tuple[str, ...]
) -> None:
    assert headers.codings(values) == expected


def test_the_cookie_has_the_prefix_only_where_https_allows_it() -> None:
    assert headers.cookie_name(https=True) == "__Host-backstory"
    assert headers.cookie_name(https=False) == "backstory"


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("a=1; backstory=x; backstory = y ;Backstory=no; __Host-backstory=no", (b"x", b"y")),
        ("backstory=z=z; backstory", (b"z=z", b"")),
        ("backstory=\udcff", (b"\xff",)),
        ("mybackstory=no", ()),
    ],
)
def test_every_cookie_of_the_name_is_found(line: str, values: tuple[bytes, ...]) -> None:
    assert headers.cookie_values(line, "backstory") == values


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        (b"backstory=x", None),
        (b" backstory=x; __Host-backstory=y ", None),
        (b"backstory=x;", None),
        (b"backstory=x; ", None),
        (b"; backstory=x", None),
        (b"backstory", None),
        (b"backstory=x; a=1", b"a=1"),
        (b"a=1; backstory=x", b"a=1"),
        (b"a=1; backstory=x; b=2", b"a=1; b=2"),
        (b"a=1;backstory=x;b=2", b"a=1;b=2"),
        (b'a="x, y";  backstory =x; b=\xff', b'a="x, y"; b=\xff'),
        (b"Backstory=x; xbackstory=y", b"Backstory=x; xbackstory=y"),
        (b"a=1;; b=2 ", b"a=1;; b=2 "),
        (b"a=backstory=x", b"a=backstory=x"),
        (b"", b""),
        (b" ; ", b" ; "),
    ],
)
def test_our_cookie_is_taken_out_and_the_others_keep_their_bytes(
    sent: bytes, left: bytes | None
) -> None:
    expected = [] if left is None else [(b"CooKie", left)]
    assert headers.without_our_cookie([(b"CooKie", sent)]) == expected


@given(st.lists(crumbs, min_size=1))
def test_cookies_of_others_are_never_touched(pairs: list[bytes]) -> None:
    line = (b"Cookie", b";".join(pairs))
    assert headers.without_our_cookie([line]) == [line]


@given(
    st.lists(st.one_of(crumbs, st.sampled_from([b" backstory=s3cret", b"__Host-backstory=s3cret"])))
)
def test_no_value_of_our_cookie_is_left(pairs: list[bytes]) -> None:
    left = headers.without_our_cookie([(b"Cookie", b";".join(pairs))])
    assert b"s3cret" not in b"".join(value for _, value in left)


def test_only_the_line_that_held_nothing_else_is_dropped() -> None:
    sent = [(b"Cookie", b"backstory=x"), (b"A", b"1"), (b"Cookie", b"b=2")]
    assert headers.without_our_cookie(sent) == sent[1:]


@pytest.mark.parametrize(
    ("name", "value", "ours"),
    [
        (b"Set-Cookie", b"backstory=x; Path=/", True),
        (b"set-cookie", b" __Host-backstory =x", True),
        (b"SET-COOKIE", b"backstory", True),
        (b"Set-Cookie", b"backstory; Path=/", True),
        (b"Set-Cookie", b"=backstory=x", True),
        (b"Set-Cookie", b"session=backstory=x", False),
        (b"Set-Cookie", b"Backstory=x", False),
        (b"X-Set-Cookie", b"backstory=x", False),
    ],
)
def test_an_upstream_may_not_set_our_cookie(name: bytes, value: bytes, ours: bool) -> None:
    assert headers.sets_our_cookie(name, value) is ours


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ("/p", "/p"),
        ("/p?", "/p?"),
        ("/p?key=t", "/p"),
        ("/p?key", "/p"),
        ("/p?key=t&alt=sse", "/p?alt=sse"),
        ("/p?alt=sse&key=t", "/p?alt=sse"),
        ("/p?a=%2B+%20&key=t&b=&&c", "/p?a=%2B+%20&b=&&c"),
        ("/p?key=1&key=2&a=1", "/p?a=1"),
        ("/key=1?monkey=1&keys=2", "/key=1?monkey=1&keys=2"),
        ("/p?a=1?key=2", "/p?a=1?key=2"),
        ("/p?KEY=1", "/p?KEY=1"),
        ("//p/%2e%2e?a=b%26key=c", "//p/%2e%2e?a=b%26key=c"),
    ],
)
def test_a_query_loses_the_key_and_no_other_byte(target: str, left: str) -> None:
    assert headers.without_query_key(target, "key") == left

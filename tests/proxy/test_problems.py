"""What can be wrong with a configuration, and that the sentence names the setting and no secret."""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backstory import problems
from backstory.buffers import COST
from backstory.config import Config
from backstory.settings import RouteSettings, Secret
from backstory.upstream.origin import Origin

FINE = Config(upstream="http://127.0.0.1:8000", jwt_secret=Secret("s" * 32))


def found(**settings: Any) -> list[str]:
    """The problems of a configuration that is fine but for these settings."""
    return dataclasses.replace(FINE, **settings).problems()


def about(sentences: list[str]) -> list[str]:
    return [sentence.partition(":")[0] for sentence in sentences]


def test_nothing_is_wrong_with_what_is_fine() -> None:
    assert FINE.problems() == []


@pytest.mark.parametrize(
    "upstream",
    [
        "http://localhost",
        "https://api.example.com/v1/",
        "http://[::1]:8000",
        "HTTP://EXAMPLE.com:65535",
        "http://a_b.internal/p%20q",
    ],
)
def test_an_upstream_that_can_be_asked(upstream: str) -> None:
    assert found(upstream=upstream) == []


@pytest.mark.parametrize(
    "upstream",
    [
        "",
        "localhost:8000",
        "//localhost",
        "ftp://localhost",
        "http://",
        "http:///p",
        "http://:80",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
        "http://[::1",
        "http://h?",
        "http://h?a=1",
        "http://h#",
        "http://h/#f",
        "http://user:canary@h",
        "http://canary@h",
        "http://:@h",
        "http://exa mple",
        "http://h/\tp",
        "http://h\r\nX: y",
        "http://caf\N{LATIN SMALL LETTER E WITH ACUTE}",
        " http://h",
    ],
)
def test_an_upstream_that_cannot_be_asked(upstream: str) -> None:
    sentences = found(upstream=upstream)
    assert about(sentences) == ["upstream"]
    assert "canary" not in sentences[0]
    in_a_row = found(routes=(RouteSettings(match="/p", dialect="falcon", upstream=upstream),))
    assert about(in_a_row) == (["route 1 upstream"] if upstream else [])


@given(st.text(alphabet="htps:/@?#[]%.a1 \t\xe9\\", max_size=12))
@example("a:65536")
@example("[:1]")
def test_what_has_no_problem_is_an_origin(rest: str) -> None:
    for upstream in (f"http://{rest}", rest):
        if not found(upstream=upstream):
            Origin.parse(upstream)


@pytest.mark.parametrize("header", ["authorization", "X-API-Key", "api-key", "x-goog-api-key"])
def test_a_credential_has_its_headers(header: str) -> None:
    assert found(upstream_credential_header=header) == []


@pytest.mark.parametrize("header", ["", "Cookie", "X-Token", "Authorization\r\n"])
def test_a_credential_goes_nowhere_else(header: str) -> None:
    assert about(found(upstream_credential_header=header)) == ["upstream_credential_header"]


@pytest.mark.parametrize(
    "value", ["", " ", "can\nary", "canary\r\nX: y", "canary\0", "canary\N{SNOWMAN}", "canary\x7f"]
)
def test_a_credential_that_no_header_may_hold(value: str) -> None:
    sentences = found(upstream_authorization=Secret(value))
    assert about(sentences) == ["upstream_authorization"]
    assert "canary" not in sentences[0]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:7001", ("127.0.0.1", 7001)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_an_address_is_host_and_port(address: str, expected: tuple[str, int]) -> None:
    assert problems.split_address(address) == expected


@pytest.mark.parametrize(
    "address",
    ["", ":", "7001", ":7001", "localhost", "h:", "h:x", "h:-1", "h:65536", "h:\u0661", "h:1 "],
)
def test_an_address_that_is_none(address: str) -> None:
    assert about(found(listen=address)) == ["listen"]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_only_this_machine_reaches_a_loopback_address(host: str, loopback: bool) -> None:
    assert problems.is_loopback(host) is loopback


@pytest.mark.parametrize("listen", ["0.0.0.0:7001", "[::]:7001", "10.0.0.1:7001", "example.com:80"])
def test_an_open_proxy_never_starts_by_accident(listen: str) -> None:
    sentences = found(auth="off", listen=listen)
    assert about(sentences) == ["auth"]
    assert "--allow-open" in sentences[0]
    assert found(auth="off", listen=listen, allow_open=True) == []
    assert found(auth="jwt", listen=listen) == []


def test_without_tokens_on_loopback_no_secret_is_needed() -> None:
    assert found(auth="off", jwt_secret=None) == []


@pytest.mark.parametrize("secret", [None, Secret(""), Secret(" \t")])
def test_tokens_need_a_secret_and_the_problem_says_where_to_set_it(secret: Secret | None) -> None:
    sentences = found(jwt_secret=secret)
    assert about(sentences) == ["jwt_secret"]
    assert "BACKSTORY_JWT_SECRET" in sentences[0]
    assert "JWT_SECRET" in sentences[0]


def test_a_short_secret_works_unless_strict_refuses_it() -> None:
    short = Secret("canary")
    assert found(jwt_secret=short) == []
    sentences = found(jwt_secret=short, strict=True)
    assert about(sentences) == ["jwt_secret"]
    assert "canary" not in sentences[0]
    assert found(jwt_secret=Secret("s" * 32), strict=True) == []


@pytest.mark.parametrize(
    ("secret", "short"),
    [
        (None, False),
        (Secret("a" * 31), True),
        (Secret("a" * 32), False),
        (Secret("\N{SNOWMAN}" * 11), False),
        (Secret("\udcff" * 31), True),
        (Secret("\udcff" * 32), False),
    ],
)
def test_a_secret_is_measured_in_bytes_as_they_were_typed(
    secret: Secret | None, short: bool
) -> None:
    assert problems.is_short(secret) is short


@pytest.mark.parametrize("secret", ["", " "])
def test_a_session_secret_that_is_none(secret: str) -> None:
    assert about(found(session_secret=Secret(secret))) == ["session_secret"]
    old = (Secret("fine"), Secret(secret))
    assert about(found(session_secret=Secret("fine"), session_secrets_old=old)) == [
        "session_secrets_old"
    ]


@pytest.mark.parametrize("algorithms", [(), ("none",), ("RS256",), ("HS256", "hs512"), ("HS1",)])
def test_an_algorithm_that_is_not_known(algorithms: tuple[str, ...]) -> None:
    assert about(found(jwt_algorithms=algorithms)) == ["jwt_algorithms"]


def test_all_hmac_algorithms_are_known() -> None:
    assert found(jwt_algorithms=("HS256", "HS384", "HS512")) == []


@pytest.mark.parametrize("network", ["", "x", "10.0.0.0/33", "10.0.0.1-2", "localhost", "::1/129"])
def test_a_trusted_proxy_is_an_address_or_a_network(network: str) -> None:
    assert about(found(trusted_proxies=("10.0.0.1", network))) == ["trusted_proxies"]


def test_networks_of_both_families_are_trusted() -> None:
    assert found(trusted_proxies=("10.0.0.1", "10.1.2.3/8", "::1", "fd00::/8")) == []


@pytest.mark.parametrize("via", ["", " ", "a b", "a,b", "a\r\nX: y", "a\N{SNOWMAN}", "(a)"])
def test_our_name_in_via_is_one_word_or_loops_are_not_seen(via: str) -> None:
    assert about(found(via=via)) == ["via"]


@pytest.mark.parametrize("via", ["backstory", "llm.example.com", "llm.example.com:7001", "b_1"])
def test_our_name_in_via_may_be_a_host(via: str) -> None:
    assert found(via=via) == []


NUMBERS = {
    name: getattr(FINE, name)
    for name in FINE.__dataclass_fields__
    if type(getattr(FINE, name)) in (int, float)
}


@pytest.mark.parametrize("entry", ["llama", "=8192", "llama=", "llama=0", "llama=8k", "llama=-1"])
def test_a_window_of_no_known_size(entry: str) -> None:
    assert about(found(context_windows=("*=1", entry))) == ["context_windows"]
    assert found(context_windows=("a=b=8192", "llama-3*=8192")) == []


def test_the_admin_listener_is_off_or_somewhere() -> None:
    assert found(admin_listen="127.0.0.1:7009") == found(admin_listen="[::1]:0") == []
    for address in ("", "on", "7009", "host:", "host:99999", "OFF"):
        assert about(found(admin_listen=address)) == ["admin_listen"]


def test_the_largest_request_must_fit() -> None:
    small = {"max_body_bytes": 1000, "max_decoded_bytes": 2000}
    assert about(found(max_buffered_bytes=COST * 2000 - 1, **small)) == ["max_buffered_bytes"]
    assert found(max_buffered_bytes=COST * 2000, **small) == []
    assert about(found(max_decoded_bytes=2**40)) == ["max_buffered_bytes"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_a_number_that_is_no_amount(name: str, value: float) -> None:
    assert about(found(**{name: value})) == [name]


@pytest.mark.parametrize("name", NUMBERS)
def test_zero_is_an_amount_where_it_means_something(name: str) -> None:
    meaningful = {
        "max_history_turns",
        "max_history_tokens",
        "reserved_reply_tokens",
        "queue_depth",
        "jwt_leeway_seconds",
        "drain_timeout_seconds",
    }
    assert found(**{name: 0}) == (
        [] if name in meaningful else [f"{name}: must be greater than zero"]
    )


def test_every_problem_is_said() -> None:
    sentences = Config(
        listen="x",
        upstream="x",
        jwt_algorithms=(),
        trusted_proxies=("x",),
        via="",
        queue_depth=-1,
        upstream_credential_header="x",
        upstream_authorization=Secret("\n"),
        session_secret=Secret(""),
        routes=(
            RouteSettings(match="x", dialect="falcon"),
            RouteSettings(match="/p", dialect="falcon", upstream="x", upstream_path="x"),
        ),
    ).problems()
    assert sorted(about(sentences)) == [
        "jwt_algorithms",
        "jwt_secret",
        "listen",
        "queue_depth",
        "route 1 match",
        "route 2 upstream",
        "route 2 upstream_path",
        "session_secret",
        "trusted_proxies",
        "upstream",
        "upstream_authorization",
        "upstream_credential_header",
        "via",
    ]

"""The setting that says where the upstream is."""

import pytest

from backstory.upstream.origin import Origin


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://a:8000", Origin(False, "a", 8000, "a:8000", "")),
        ("http://a:80/", Origin(False, "a", 80, "a", "")),
        ("https://A.example", Origin(True, "a.example", 443, "a.example", "")),
        ("https://a:80/b/", Origin(True, "a", 80, "a:80", "/b")),
        ("http://[::1]:8080/b%2Fc//d", Origin(False, "::1", 8080, "[::1]:8080", "/b%2Fc//d")),
        ("http://[::1]", Origin(False, "::1", 80, "[::1]", "")),
    ],
)
def test_an_origin_is_read(text: str, origin: Origin) -> None:
    assert Origin.parse(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "a:80",
        "ftp://a",
        "http://",
        "http://:80",
        "http://u:p@a",
        "http://@a",
        "http://a/?b",
        "http://a#b",
        "http://a:99999",
        "http://a:b",
        "http://ä",
        "http://a/b c",
        "http://a b",
        "http://a\r\n/",
        "http://[::1",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Origin.parse(text)

"""The route table: the first row wins, by the bytes of the path as they will be forwarded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.errors import ConfigError
from backstory.registry import load_dialects
from backstory.routes import BUILT_IN, RouteTable
from backstory.settings import RouteSettings

DIALECTS = load_dialects(row.dialect for row in BUILT_IN)


def table(*rows: RouteSettings) -> RouteTable:
    return RouteTable((*rows, *BUILT_IN), DIALECTS)


def row(match: str, **more: object) -> RouteSettings:
    return RouteSettings(match=match, dialect="falcon", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "dialect", "memory"),
    [
        ("/conversation/falcon-40b-instruct", "falcon", "always"),
        ("/conversation/m?x=/y", "falcon", "always"),
        ("/conversation/%2F", "falcon", "always"),
        ("/inference/falcon-40b", "falcon", "named"),
        ("/chat/completions", "openai.chat", "always"),
        ("/v1/chat/completions", "openai.chat", "always"),
        ("/openai/deployments/gpt/chat/completions?api-version=1", "openai.chat", "always"),
        ("//chat/completions", "openai.chat", "always"),
        ("/v1/completions", "openai.completions", "named"),
        ("/openai/deployments/gpt/completions?api-version=1", "openai.completions", "named"),
        ("/api/generate", "ollama.generate", "named"),
        ("/generate", "tgi", "named"),
        ("/generate_stream?x", "tgi", "named"),
        ("/completion", "llamacpp.completion", "named"),
        ("/api/chat", "ollama.chat", "always"),
        ("/v1beta/models/gemini-3-pro:generateContent", "gemini", "always"),
        ("/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse&key=k", "gemini", "always"),
        (
            "/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
            "gemini",
            "always",
        ),
        ("/v1/responses", "openai.responses", "always"),
        ("/openai/responses?api-version=preview", "openai.responses", "always"),
        ("/v1/messages", "anthropic", "always"),
        ("/proxy/anthropic/v1/messages?beta=true", "anthropic", "always"),
    ],
)
def test_the_built_in_rows(target: str, dialect: str, memory: str) -> None:
    route = table().find("POST", target)
    assert route is not None
    assert (route.dialect.name, route.settings.memory) == (dialect, memory)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "*",
        "/conversation",
        "/conversation/",
        "/conversation/a/b",
        "/x/conversation/a",
        "//conversation/a",
        "/Conversation/a",
        "/conversation%2Fa",
        "/c%6Fnversation/a",
        "/conversation/a/",
        "/chat/completions/",
        "/v1/chat%2Fcompletions",
        "/v1/chat/completionsx",
        "/completions/",
        "/v1/completion",
        "/v1/generate",
        "/api/generate/x",
        "/v1/messages/count_tokens",
        "/v1/messages/batches",
        "/messages",
        "/v1/models?a=/chat/completions",
        "completions",
        "/v1/chat/completions\n",
        "/x/api/chat",
        "/api/chat/",
        "/v1beta/models/m:countTokens",
        "/v1beta/models/m%3AgenerateContent",
        "/v1beta/models/m:generateContent/",
        "/v1beta/models/m:xgenerateContent",
        "/v1beta/models/:generateContent",
        "/v1/responses/resp_1",
        "/v1/responses/compact",
        "/v1/conversations",
    ],
)
def test_what_no_row_names_is_passed_through(target: str) -> None:
    assert table().find("POST", target) is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "post"])
def test_a_row_is_for_its_methods_only(method: str) -> None:
    assert table().find(method, "/conversation/a") is None


def test_a_row_may_name_other_methods() -> None:
    rows = table(row("/p", methods=("PUT", "POST")))
    assert rows.find("PUT", "/p")
    assert rows.find("POST", "/p")
    assert not rows.find("PATCH", "/p")


def test_the_first_row_that_matches_wins() -> None:
    first, second = row("/p/{a}"), row("/p/{b}", memory="named")
    found = table(first, second).find("POST", "/p/x")
    assert found
    assert found.settings is first


def test_a_row_of_another_method_is_no_match() -> None:
    found = table(row("/p", methods=("PUT",)), row("/p", memory="named")).find("POST", "/p")
    assert found
    assert found.settings.memory == "named"


def test_a_row_without_memory_hides_the_rows_behind_it() -> None:
    rows = table(row("/batch/chat/completions", memory="off"))
    assert rows.find("POST", "/batch/chat/completions") is None
    assert rows.find("POST", "/v1/chat/completions")


def test_configured_rows_stand_before_the_built_in_ones() -> None:
    found = table(row("**/chat/completions")).find("POST", "/v1/chat/completions")
    assert found
    assert found.dialect.name == "falcon"


@pytest.mark.parametrize("special", [".", "+", "(", "|x", "[a]", "^", "$", "\\d", "*"])
def test_a_match_is_literal_but_for_its_parameters(special: str) -> None:
    rows = RouteTable([row(f"/a{special}b/{{m}}")], DIALECTS)
    assert rows.find("POST", f"/a{special}b/x")
    assert not rows.find("POST", "/aab/x")
    assert not rows.find("POST", "/a1b/x")


@pytest.mark.parametrize(
    ("match", "upstream_path", "target", "expected"),
    [
        ("/p/{m}", "", "/p/a%2Fb?x=%2B+&y", "/p/a%2Fb?x=%2B+&y"),
        ("/p/{m}", "", "/p/a?", "/p/a?"),
        ("/p/{m}", "/v2/{m}/run", "/p/a%2Fb", "/v2/a%2Fb/run"),
        ("/p/{m}", "/v2/{m}/run", "/p/a?x=%2B+&y", "/v2/a/run?x=%2B+&y"),
        ("/p/{m}", "/v2", "/p/a?", "/v2?"),
        ("/{a}/{b}", "/{b}/{a}/{b}", "/1/2", "/2/1/2"),
        ("**/{m}:run", "/r/{m}", "/x/y/z:run", "/r/z"),
        ("/p/{m}", "/v2/{m}", "/p/{m}", "/v2/{m}"),
        ("/p/{m}", "/v2/{m}", "/p/\\1", "/v2/\\1"),
    ],
)
def test_the_upstream_is_asked_for_the_path_of_the_row(
    match: str, upstream_path: str, target: str, expected: str
) -> None:
    found = RouteTable([row(match, upstream_path=upstream_path)], DIALECTS).find("POST", target)
    assert found
    assert found.target(target) == expected


@pytest.mark.parametrize(
    "bad",
    [
        row(""),
        row("p"),
        row("**"),
        row("**p"),
        row("*/p"),
        row("/a/**"),
        row("**/a/**/b"),
        row("/{1}"),
        row("/{a}/{a}"),
        row("/p/{a}", upstream_path="/{b}"),
        row("/p", upstream_path="/{b}"),
        row("/p", upstream_path="v1/p"),
        row("/p", upstream_path="http://elsewhere/"),
        row("/p", upstream_path="/a b"),
        row("/p", upstream_path="/a\r\nX: y"),
        row("/p", upstream_path="/a?key=1"),
        row("/p", upstream_path="/a#b"),
        row("/p?x=1"),
        row("/p#x"),
        row("/a b"),
        row("/caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
    ],
    ids=lambda bad: f"{bad.match} {bad.upstream_path}",
)
def test_a_row_that_cannot_work_is_refused_at_start(bad: RouteSettings) -> None:
    with pytest.raises(ConfigError) as caught:
        table(bad)
    assert all(problem.startswith("route ") for problem in caught.value.problems)


def test_all_bad_rows_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        table(row("p"), row("/fine"), row("q"))
    assert len(caught.value.problems) == 2


paths = st.text(alphabet="/abc%2F?&=.{}*~", max_size=30)


@given(paths)
def test_any_target_finds_a_row_or_none(target: str) -> None:
    found = table(row("**/{a}/{b}", upstream_path="/{a}")).find("POST", "/" + target)
    if found:
        assert found.target("/" + target).startswith("/")

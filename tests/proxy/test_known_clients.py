"""Clients are recognised by their own headers, and by nothing that others send too."""

import pytest
from multidict import CIMultiDict

from backstory.known_clients import BUILT_IN, configured, recognise

CODEX = ("User-Agent", "codex_cli_rs/0.60.0 (Debian 12; x86_64)")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([("X-OpenWebUI-Chat-Id", "7")], ("openwebui:7", "transcript")),
        ([("x-openwebui-chat-id", "7")], ("openwebui:7", "transcript")),
        ([("X-Claude-Code-Session-Id", "a-b")], ("claude-code:a-b", "transcript")),
        ([("session-id", "s"), CODEX], ("codex:s", "transcript")),
        ([("session_id", "s"), CODEX], ("codex:s", "transcript")),
        ([("session-id", "s")], None),
        ([("session-id", "s"), ("User-Agent", "curl/8")], None),
        ([("x-opencode-session", "o")], ("opencode:o", "transcript")),
        ([("x-session-affinity", "o")], None),
        (
            [("x-session-affinity", "o"), ("User-Agent", "opencode/1.0")],
            ("opencode:o", "transcript"),
        ),
        ([("x-sm-conversation-id", "m")], ("supermemory:m", "auto")),
        ([("X-Conversation-Id", "llama.cpp's own")], None),
        ([("X-OpenWebUI-Chat-Id", "")], None),
        ([("X-OpenWebUI-Chat-Id", "a b")], None),
        ([("X-OpenWebUI-Chat-Id", "x" * 257)], None),
        ([("X-OpenWebUI-Chat-Id", "x" * 250)], None),
        ([("X-OpenWebUI-Chat-Id", "\udcff")], None),
        (
            [("X-OpenWebUI-Chat-Id", "a b"), ("x-opencode-session", "o")],
            ("opencode:o", "transcript"),
        ),
        ([], None),
    ],
)
def test_a_known_client_is_recognised(
    headers: list[tuple[str, str]], found: tuple[str, str] | None
) -> None:
    assert recognise(CIMultiDict(headers), BUILT_IN) == found


def test_others_are_known_by_configuration() -> None:
    clients = configured(["X-Conversation-Id=transcript", "x-session-id"])
    assert recognise(CIMultiDict({"x-conversation-id": "7"}), clients) == (
        "x-conversation-id:7",
        "transcript",
    )
    assert recognise(CIMultiDict({"X-Session-Id": "7"}), clients) == ("x-session-id:7", "auto")
    assert configured([]) == ()


@pytest.mark.parametrize("entry", ["", "X Y", "X-A=never", "=auto", "X-A=auto=auto", "X:A"])
def test_what_is_no_header_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is not Header or Header=transcript"):
        configured([entry])

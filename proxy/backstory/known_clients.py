"""Clients that name their conversation in a header of their own, and how they keep its history."""

import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple, get_args

from multidict import istr

from backstory.ids import CONVERSATION_ID
from backstory.model import Mode

MAX_ID = 256


class KnownClient(NamedTuple):
    """One client's way of saying which conversation."""

    name: str
    """Stands in front of the id, so that no two clients' ids are the same conversation."""
    header: str
    """An ``istr``: its lower case is worked out once."""
    mode: Mode
    agent: re.Pattern[str] | None = None
    """What its ``User-Agent`` looks like, where the header's name alone says too little."""


_header = itemgetter(KnownClient._fields.index("header"))
_CODEX = re.compile("codex", re.IGNORECASE)
_OPENCODE = re.compile("opencode", re.IGNORECASE)

BUILT_IN: tuple[KnownClient, ...] = (
    KnownClient("openwebui", istr("X-OpenWebUI-Chat-Id"), "transcript"),
    KnownClient("claude-code", istr("X-Claude-Code-Session-Id"), "transcript"),
    KnownClient("codex", istr("session-id"), "transcript", _CODEX),
    KnownClient("codex", istr("session_id"), "transcript", _CODEX),
    KnownClient("opencode", istr("x-opencode-session"), "transcript"),
    KnownClient("opencode", istr("x-session-affinity"), "transcript", _OPENCODE),
    KnownClient("supermemory", istr("x-sm-conversation-id"), "auto"),
)
"""In the order in which they are looked for (their own documentation and sources, November 2026)."""


def recognise(
    headers: Mapping[str, str], clients: Sequence[KnownClient]
) -> tuple[str, Mode] | None:
    """The conversation that a known client names, and how that client keeps history.

    An id that could not be one of ours is no id: the header belongs to somebody else.
    """
    if not any(map(headers.__contains__, map(_header, clients))):
        return None  # nearly always
    for client in clients:
        said = headers.get(client.header)
        if said is None or not CONVERSATION_ID.fullmatch(said):
            continue
        if client.agent is not None and not client.agent.search(headers.get("User-Agent", "")):
            continue
        name = f"{client.name}:{said}"
        if len(name) <= MAX_ID:
            return name, client.mode
    return None


def configured(entries: Sequence[str]) -> tuple[KnownClient, ...]:
    """Clients of the setting ``conversation_headers``, each ``Header`` or ``Header=mode``.

    Raises:
        ValueError: one of them is not of this form.
    """
    found = []
    for entry in entries:
        header, _, mode = entry.partition("=")
        modes = {m: m for m in get_args(Mode)}
        if not re.fullmatch("[A-Za-z0-9-]+", header) or (mode or "auto") not in modes:
            raise ValueError(f"{entry!r} is not Header or Header=transcript (delta, window, auto)")
        found.append(KnownClient(header.lower(), istr(header), modes[mode or "auto"]))
    return tuple(found)

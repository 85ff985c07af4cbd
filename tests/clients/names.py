"""How a conversation is named to a client of the suite."""

import secrets
from typing import NamedTuple

from tests.clients.client import Client


class Named(NamedTuple):
    """A conversation, and the way in which it is named."""

    way: str
    text: str

    @property
    def headers(self) -> dict[str, str]:
        """To be sent with each request."""
        return {"Backstory-Conversation": self.text} if self.way == "header" else {}

    @property
    def prefix(self) -> str:
        """To be put in front of the API's path."""
        return f"/-/c/{self.text}" if self.way == "prefix" else ""

    @property
    def chain(self) -> bool:
        """Whether each turn is to name the response before it."""
        return self.way == "response"

    @property
    def conversation(self) -> str | None:
        """Its id; ``None`` if an answer will say it."""
        return self.text if self.way in ("header", "prefix") else None


def new_name() -> str:
    """One that no other test uses."""
    return f"trip-{secrets.token_hex(4)}"


def session_for(client: Client, way: str) -> str:
    """``--session`` of a proxy that lets this client do it in this way."""
    return "always" if way == "cookie" and client.sdk else "auto"

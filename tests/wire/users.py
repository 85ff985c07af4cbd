"""People who talk to the proxy: each has a token, perhaps a cookie jar, and asks in either dialect."""

import json
from dataclasses import dataclass
from typing import Any

from tests.wire.clients import Received, request
from tests.wire.conftest import token
from tests.wire.talking import FALCON, Api, head, one, say

Jar = dict[str, str]
"""Cookies by name."""


@dataclass(frozen=True)
class User:
    """Somebody with a token. Two with one ``jar`` are two people behind one HTTP client."""

    url: str
    subject: str = "ada"
    tenant: str = "acme"
    jar: Jar | None = None
    """``None``: a client that keeps no cookies."""

    async def ask(
        self,
        text: str,
        *headers: tuple[str, str],
        api: Api = FALCON,
        stream: bool = False,
        prefix: str = "",
    ) -> Received:
        """The whole answer to a question; a cookie in it goes into the jar."""
        sent = self.question(text, *headers, api=api, stream=stream, prefix=prefix)
        answer = await say(self.url, sent)
        if self.jar is not None and (cookie := one(answer, b"Set-Cookie")):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.jar[name] = value
        return answer

    def question(
        self,
        text: str,
        *headers: tuple[str, str],
        api: Api = FALCON,
        stream: bool = False,
        prefix: str = "",
    ) -> bytes:
        """A request of one new message, ready to be sent."""
        fields = [self.authorization, *headers]
        if self.jar:
            fields.append(("Cookie", "; ".join(f"{n}={v}" for n, v in self.jar.items())))
        return request("POST", prefix + api.target, body_of(api, text, stream=stream), *fields)

    async def manage(self, conversation: str, rest: str = "", *, method: str = "GET") -> Received:
        """The management API's answer about a conversation."""
        target = f"/-/v1/conversations/{conversation}{rest}"
        start = f"{method} {target} HTTP/1.1"
        return await say(self.url, head(start, ("Host", "x"), self.authorization))

    async def turns(self, conversation: str) -> list[list[str]]:
        """What was said in each turn up to the head; empty if there is no such conversation."""
        answer = await self.manage(conversation, "/turns")
        turns = json.loads(answer.content)["turns"] if answer.status == 200 else []
        return [[message["content"] for message in turn["messages"]] for turn in turns]

    @property
    def authorization(self) -> tuple[str, str]:
        """The header with the token."""
        return ("Authorization", f"Bearer {token(self.subject, self.tenant)}")


def body_of(api: Api, text: str, *, stream: bool = False) -> dict[str, Any]:
    """A question as this API spells it. Falcon always streams."""
    if api is FALCON:
        return {"text": text}
    return {"messages": [{"role": "user", "content": text}]} | ({"stream": True} if stream else {})


def forwarded(body: bytes) -> list[str]:
    """Every text in a request that arrived upstream, in order."""
    fields = json.loads(body)
    if "text" in fields:
        transcript: str = fields["text"]
        if not transcript.endswith("\nAI: "):
            return [transcript]  # as the client sent it
        lines = transcript.removesuffix("\nAI: ").split("\n")
        return [line.partition(": ")[2] for line in lines]
    return [message["content"] for message in fields["messages"]]

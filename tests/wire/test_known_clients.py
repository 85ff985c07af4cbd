"""A chat UI that sends its transcript, and its housekeeping under the same chat id."""

import json

from tests.wire.answers import chat_json
from tests.wire.clients import RawClient, Received
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.upstreams import RecordingUpstream

AUTHORIZATION = ("Authorization", f"Bearer {token()}")
CHAT = ("X-OpenWebUI-Chat-Id", "7")
TITLE = "### Task:\nGenerate a concise title for the chat."

Said = tuple[str, str]


async def post(proxy: Proxy, messages: list[Said], *fields: tuple[str, str]) -> Received:
    question = {"messages": [{"role": role, "content": text} for role, text in messages]}
    async with RawClient(proxy.url) as client:
        await client.post("/v1/chat/completions", question, AUTHORIZATION, *fields)
        return await client.read_answer()


def forwarded(upstream: RecordingUpstream) -> list[Said]:
    messages = json.loads(upstream.requests[-1].body)["messages"]
    return [(message["role"], message["content"]) for message in messages]


async def remembered(proxy: Proxy) -> list[str]:
    async with RawClient(proxy.url) as client:
        target = "/-/v1/conversations/openwebui:7/turns"
        name, value = AUTHORIZATION
        await client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n".encode())
        turns = json.loads((await client.read_answer()).content)["turns"]
    return [message["content"] for turn in turns for message in turn["messages"]]


async def test_titles_and_regenerated_answers_of_a_chat_ui(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    asked: list[Said] = [("user", "Hi, I am Ada.")]
    recording_upstream.script = chat_json("Hello!")
    assert b"new;" in (await post(proxy, asked, CHAT)).head.values(b"backstory-memory")[0]

    recording_upstream.script = chat_json('{"title": "Hello"}')
    receipt = (await post(proxy, [("user", TITLE)], CHAT)).head.values(b"backstory-memory")[0]
    assert b";as=detached" in receipt
    assert forwarded(recording_upstream) == [("user", TITLE)], "nothing is put before it"
    assert await remembered(proxy) == ["Hi, I am Ada.", "Hello!"]

    recording_upstream.script = chat_json("Welcome!")
    receipt = (await post(proxy, asked, CHAT)).head.values(b"backstory-memory")[0]
    assert b";as=fork" in receipt, "the first answer made anew, not a second question"
    assert await remembered(proxy) == ["Hi, I am Ada.", "Welcome!"]

    asked += [("assistant", "Welcome!"), ("user", "Who am I?")]
    recording_upstream.script = chat_json("Ada.")
    await post(proxy, asked, CHAT)
    assert forwarded(recording_upstream) == asked, "nothing is doubled"
    assert await remembered(proxy) == ["Hi, I am Ada.", "Welcome!", "Who am I?", "Ada."]


async def test_the_client_itself_knows_best(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    recording_upstream.script = chat_json("one")
    delta = ("Backstory-Client", "delta")
    await post(proxy, [("user", "a")], CHAT, delta)
    await post(proxy, [("user", "b")], CHAT, delta)
    assert forwarded(recording_upstream) == [("user", "a"), ("assistant", "one"), ("user", "b")]
    ours = await post(proxy, [("user", "c")], CHAT, ("Backstory-Conversation", "mine"))
    assert ours.head.values(b"backstory-conversation") == [b"mine"]
    assert b"x-openwebui-chat-id" in recording_upstream.requests[-1].raw_head.lower()

"""Items named by their id alone, as the AI SDK sends what a reply of OpenAI's has said: told whole."""

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response
from tests.wire.answers import respond
from tests.wire.conftest import StartProxy
from tests.wire.sdk import NAMED, sdk
from tests.wire.talking import NAMED as NAME
from tests.wire.talking import ask as post
from tests.wire.talking import one, stored
from tests.wire.upstreams import RecordingUpstream

from backstory.demo_upstream.openai_response import Response as Told
from backstory.demo_upstream.tokens import generate
from backstory.errors import StoreUnavailable
from backstory_plugins.stores.memory import MemoryStore

COUNT = "How many messages do you see?"
TARGET = "/v1/responses"
Items = list[Any]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def named(response: Response) -> Items:
    """What the reply said, by its ids."""
    return [{"type": "item_reference", "id": item.id} for item in response.output]


def told(text: str) -> bytes:
    """An upstream's answer."""
    return Told(model="m", said=generate(text), tool=None, prompt_tokens=3).whole()


async def create(client: AsyncOpenAI, asked: Items, **options: Any) -> Response:
    whole = await client.responses.create(model="m", input=asked, **options)
    assert isinstance(whole, Response)
    return whole


async def test_a_transcript_that_names_its_replies_is_told_whole(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        asked: Items = [user("My name is Ada.")]
        reply = await create(client, asked)
        for question, said in (("Who am I?", "Your name is Ada."), (COUNT, "I see 5 messages.")):
            asked += [*named(reply), user(question)]
            answer = await client.responses.with_raw_response.create(model="m", input=asked)
            reply = answer.parse()
            assert reply.output_text == said
            assert answer.headers["Backstory-Memory"].startswith("hit;turns=0;")
            assert ";as=transcript" in answer.headers["Backstory-Memory"]


async def test_without_a_memory_nobody_knows_them(demo: str) -> None:
    async with AsyncOpenAI(base_url=demo + "/v1", api_key="k", max_retries=0) as client:
        first = await create(client, [user("My name is Ada.")])
        with pytest.raises(openai.BadRequestError):
            await create(client, [user("My name is Ada."), *named(first), user("Who am I?")])


async def test_a_tool_loop_names_its_call(demo: str, start_proxy: StartProxy) -> None:
    weather = {
        "type": "function",
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        asked: Items = [user("What is the weather in Paris?")]
        first = await create(client, asked, tools=[weather])
        (call,) = first.output
        assert call.type == "function_call"
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}
        second = await create(client, [*asked, *named(first), result], tools=[weather])
        assert second.output_text == "The tool says: 12 degrees"
        assert (await create(client, [user(COUNT)])).output_text == "I see 5 messages."


async def test_a_new_reply_to_an_old_question_is_a_branch(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        first = await create(client, [user("My name is Ada.")])
        before = [user("My name is Ada."), *named(first)]
        _ = await create(client, [*before, user("My dog is Rex.")])
        other = await create(client, [*before, user("What is my dog?")])
        assert other.output_text.startswith("I don't know")


async def test_what_follows_a_reply_by_name_may_name_its_items(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo, session="off")
    async with sdk(proxy) as client:
        first = await create(client, [user("My name is Ada.")])
        again = [*named(first), user(COUNT)]
        second = await create(client, again, previous_response_id=first.id)
        assert second.output_text == "I see 4 messages.", "it has sent one of them once more"


async def test_what_must_not_be_stored_is_told_whole_as_well(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo)
    async with sdk(proxy, **NAMED) as client:
        first = await create(client, [user("My name is Ada.")])
        asked = [user("My name is Ada."), *named(first), user("Who am I?")]
        assert (await create(client, asked, store=False)).output_text == "Your name is Ada."
    assert len(await stored(proxy, "trip")) == 1


async def test_what_nobody_here_knows_reaches_the_upstream_untouched(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond([told("Hello")], "application/json", "length")
    proxy = await start_proxy(recording_upstream.url)
    answer = await post(proxy, TARGET, {"model": "m", "input": "Hi"}, NAME)
    ident = json.loads(answer.content)["output"][0]["id"]

    async def sent(ident: str, *headers: tuple[str, str]) -> tuple[bytes, str | None]:
        asked = {"input": [user("Hi"), {"type": "item_reference", "id": ident}, user("Ho")]}
        answer = await post(proxy, TARGET, asked, *headers)
        return recording_upstream.requests[-1].body, one(answer, b"Backstory-Memory")

    elsewhere = ("Backstory-Conversation", "another")
    for name, conversation in (("msg_of_nobody", NAME), (ident, elsewhere)):
        body, receipt = await sent(name, conversation)
        asked = {"input": [user("Hi"), {"type": "item_reference", "id": name}, user("Ho")]}
        assert body == json.dumps(asked).encode()
        assert receipt == "skipped;reason=not_understood"
    body, receipt = await sent(ident, NAME)
    assert b'"item_reference"' not in body
    assert ident.encode() in body
    assert receipt is not None
    assert receipt.startswith("hit;")


async def test_another_owner_gets_nothing_of_it(
    start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = respond([told("SECRET")], "application/json", "length")
    proxy = await start_proxy(recording_upstream.url)
    async with sdk(proxy, "ada", **NAMED) as ada, sdk(proxy, "bob", **NAMED) as bob:
        first = await create(ada, [user("Hi")])
        _ = await create(bob, [user("Hi"), *named(first), user("Ho")])
        assert b"SECRET" not in recording_upstream.requests[-1].body
        _ = await create(ada, [user("Hi"), *named(first), user("Ho")])
        assert b"SECRET" in recording_upstream.requests[-1].body


@pytest.mark.parametrize("wish", ["closed", "bypass"])
async def test_a_store_that_is_down_is_no_item_that_is_missing(
    wish: str,
    start_proxy: StartProxy,
    recording_upstream: RecordingUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def down(*_: object) -> None:
        raise StoreUnavailable("gone")

    recording_upstream.script = respond([told("Hello")], "application/json", "length")
    proxy = await start_proxy(recording_upstream.url)
    first = await post(proxy, TARGET, {"model": "m", "input": "Hi"}, NAME)
    reference = {"type": "item_reference", "id": json.loads(first.content)["output"][0]["id"]}
    for name in ("load", "path"):
        monkeypatch.setattr(MemoryStore, name, down)
    monkeypatch.setattr(MemoryStore, "known", lambda *_: None)
    asked = {"input": [user("Hi"), reference, user("Ho")]}
    answer = await post(proxy, TARGET, asked, NAME, ("Backstory-On-Error", wish))
    if wish == "closed":
        assert (answer.status, one(answer, b"Backstory-Error")) == (503, "memory_unavailable")
        assert len(recording_upstream.requests) == 1
    else:
        assert one(answer, b"Backstory-Memory") == "bypassed;reason=store_unavailable"
        assert recording_upstream.requests[-1].body == json.dumps(asked).encode()

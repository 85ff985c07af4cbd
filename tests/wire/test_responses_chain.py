"""Responses that name the one before them: the chain is kept here, whatever the upstream can do."""

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response, ResponseCompletedEvent
from tests.wire.conftest import StartProxy
from tests.wire.sdk import sdk

COUNT = "How many messages do you see?"


async def ask(
    client: AsyncOpenAI, text: str, after: Response | str | None = None, *, stream: bool = False
) -> Response:
    """The response to one question, after the one that is named."""
    name = after.id if isinstance(after, Response) else after
    create = client.responses.create
    if not stream:
        whole = await create(model="m", input=text, previous_response_id=name)
        assert isinstance(whole, Response)
        return whole
    events = await create(model="m", input=text, previous_response_id=name, stream=True)
    *_, last = [event async for event in events]
    assert isinstance(last, ResponseCompletedEvent)
    return last.response


# No header, no prefix, no cookie, as SDKs are: a first response without any name must begin a
# conversation of its own, or nothing can be chained to it. ``session="off"`` says that no cookie helps.
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_chain_needs_nothing_but_its_ids(
    stream: bool, demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo, session="off")
    async with sdk(proxy) as client:
        first = await ask(client, "Repeat the number '94572'.", stream=stream)
        second = await ask(client, "What number did you repeat?", first, stream=stream)
        assert second.output_text == "The number is 94572."
        assert (await ask(client, COUNT, second, stream=stream)).output_text == "I see 5 messages."


async def test_an_older_response_is_a_branch(demo: str, start_proxy: StartProxy) -> None:
    """Vector X07: only the path to the response that is named counts."""
    proxy = await start_proxy(demo, session="off")
    async with sdk(proxy) as client:
        first = await ask(client, "My name is Ada.")
        other = await ask(client, "My dog is Rex.", first)
        assert (await ask(client, COUNT, first)).output_text == "I see 3 messages."
        assert (await ask(client, "What is my dog?", first)).output_text.startswith("I don't know")
        assert (await ask(client, "What is my dog?", other)).output_text == "Your dog is Rex."


async def test_an_unknown_response_is_refused_as_the_api_does(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo, session="off")
    async with sdk(proxy) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(client, COUNT, "resp_of_nobody")
        assert refused.value.code == "previous_response_not_found"
        assert refused.value.param == "previous_response_id"
        assert "resp_of_nobody" in refused.value.message


async def test_another_owners_response_does_not_exist(demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo, session="off")
    async with sdk(proxy, "ada") as ada, sdk(proxy, "bob") as bob:
        first = await ask(ada, "My name is Ada.")
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(bob, "Who am I?", first)
        assert refused.value.code == "previous_response_not_found"
        assert (await ask(ada, "Who am I?", first)).output_text == "Your name is Ada."


async def test_what_was_not_to_be_stored_cannot_be_named(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo, session="off")
    async with sdk(proxy) as client:
        first = await client.responses.create(model="m", input="My name is Ada.", store=False)
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(client, "Who am I?", first)
        assert refused.value.code == "previous_response_not_found"


async def test_both_at_once_are_refused(demo: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(demo, session="off")
    async with sdk(proxy) as client:
        first = await ask(client, "My name is Ada.")
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(
                model="m", input="Who am I?", previous_response_id=first.id, conversation="conv_1"
            )
        assert refused.value.response.headers["Backstory-Error"] == "bad_request"


async def test_instructions_are_not_carried_over_and_items_are(
    demo: str, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(demo, session="off")
    async with sdk(proxy) as client:
        asked = "What is the code?"
        first = await client.responses.create(
            model="m", input=asked, instructions="The code is XY."
        )
        assert first.output_text == "The code is XY."
        assert (await ask(client, COUNT, first)).output_text == "I see 3 messages."
        second = await client.responses.create(
            model="m",
            input=[
                {"role": "developer", "content": "The code is XY."},
                {"role": "user", "content": "Hello"},
            ],
        )
        assert (await ask(client, asked, second)).output_text == "The code is XY."

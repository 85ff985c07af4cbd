"""A server that counts tokens: every API's turns, and what nobody would want to count."""

import pytest
from tests.wire.conftest import StartProxy
from tests.wire.talking import APIS, NAMED, Api, one
from tests.wire.test_overflow import Narrow
from tests.wire.upstreams import RecordingUpstream
from tests.wire.users import User

from backstory.registry import load_tokenizer

LONG = "How many tokens has this? " * 500


@pytest.mark.parametrize("api", APIS, ids=str)
@pytest.mark.parametrize(
    "question", ["q1", LONG, " " * 30_000 + "?"], ids=["short", "long", "blank"]
)
async def test_what_is_told_is_counted(
    question: str, api: Api, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    tokenizer = load_tokenizer("o200k_base")
    assert tokenizer is not None
    proxy = await start_proxy(recording_upstream.url, tokenizer="o200k_base")
    recording_upstream.script = Narrow(100)
    user = User(proxy.url)
    assert (await user.ask(question, NAMED, api=api)).complete
    ((asked, replied),) = await user.turns("c")
    answer = await user.ask("q2", NAMED, api=api)
    told = 4 + tokenizer.count(asked) + 4 + tokenizer.count(replied)
    receipt = one(answer, b"Backstory-Memory") or ""
    assert receipt.startswith("hit;turns=1;omitted=0;")
    assert f";tokens={told};" in receipt

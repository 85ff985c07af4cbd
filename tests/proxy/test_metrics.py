"""The page is what Prometheus reads, the sum over workers that only ever grows, and nobody is on it."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.proxy.chats import Chat, chat_in

from backstory.config import Config
from backstory.exchange import Exchange
from backstory.metrics import DISCARDED, Metrics, Tally
from backstory.receipt import Receipt
from backstory.registry import dialects_of
from backstory.routes import BUILT_IN, RouteTable
from backstory.settings import RouteSettings

CORE = Path(__file__).parents[2] / "proxy/backstory"
Labels = tuple[tuple[str, str], ...]


def read(metrics: Metrics) -> dict[tuple[str, Labels], float]:
    """Every sample of the page, as Prometheus's own parser reads it."""
    return {
        (sample.name.removeprefix("backstory_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.page())
        for sample in family.samples
    }


def over(outcome: str = "passed", *, receipt: Receipt | None = None, path: str = "/") -> Exchange:
    """An exchange that is over."""
    exchange = Exchange("0", path, 0.0)
    exchange.outcome, exchange.receipt = outcome, receipt
    exchange.route = RouteTable(BUILT_IN, dialects_of(BUILT_IN)).find("POST", path)
    return exchange


@pytest.fixture
def metrics() -> Metrics:
    return Metrics({row.dialect for row in BUILT_IN}, workers=3)


def test_every_family_says_what_it_is(metrics: Metrics) -> None:
    families = list(text_string_to_metric_families(metrics.page()))
    assert all(family.documentation and family.samples for family in families)
    kinds = {family.name: family.type for family in families}
    assert kinds.pop("backstory_buffered_bytes") == "gauge"
    assert kinds.pop("backstory_prefix_reuse_ratio") == "gauge"
    assert set(kinds.values()) == {"counter"}
    assert len({family.name for family in families}) == len(families)


def test_at_first_everything_is_there_and_nothing_has_happened(metrics: Metrics) -> None:
    found = read(metrics)
    assert math.isnan(found.pop(("prefix_reuse_ratio", ())))
    assert set(found.values()) == {0}
    asked = {dict(labels)["dialect"] for name, labels in found if name == "requests_total"}
    assert asked == {row.dialect for row in BUILT_IN} | {"none"}


def test_requests_are_counted_by_dialect_and_receipt_in_every_worker(metrics: Metrics) -> None:
    for worker in range(3):
        tally = metrics.tally(worker)
        for _ in range(worker + 1):
            tally.count(over("committed", receipt=Receipt("hit"), path="/api/chat"))
        tally.count(over())
        tally.count(over("discarded(no_answer)", path="/v1/messages"))
    found = {key: value for key, value in read(metrics).items() if value > 0}
    assert found == {
        ("requests_total", (("dialect", "ollama.chat"), ("memory", "hit"))): 6,
        ("requests_total", (("dialect", "none"), ("memory", "none"))): 3,
        ("requests_total", (("dialect", "anthropic"), ("memory", "none"))): 3,
        ("turns_committed_total", ()): 6,
        ("turns_discarded_total", (("reason", "no_answer"),)): 3,
    }


def test_a_worker_that_starts_again_goes_on_and_its_bodies_are_gone(metrics: Metrics) -> None:
    first = metrics.tally(1)
    first.count(over("committed"))
    first.buffered[0] = 1000
    metrics.tally(2).buffered[0] = 10
    assert metrics.value("buffered_bytes") == 1010
    again = metrics.tally(1)
    assert metrics.value("buffered_bytes") == 10
    again.count(over("committed"))
    assert metrics.value("turns_committed_total") == 2


def test_workers_that_are_forked_share_it(metrics: Metrics) -> None:
    child = os.fork()
    if not child:
        metrics.tally(2).count(over("committed"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert metrics.value("turns_committed_total") == 1


def reasons() -> Iterator[str]:
    """Every reason for which the core discards a turn, by looking at it."""
    for path in CORE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        yield from re.findall(r'"discarded\((\w+)\)"', text)
        yield from re.findall(r'reason: str = "(\w+)"', text) if path.name == "tee.py" else ()
        yield from re.findall(r'reason="(\w+)"', text) if path.name == "tee.py" else ()
    gone = (CORE / "recall.py").read_text(encoding="utf-8").partition("async def _gone")[2]
    yield from re.findall(r'return "(\w+)"', gone.partition("\n\n\n")[0])


def test_every_reason_has_its_number(metrics: Metrics) -> None:
    found = set(reasons())
    assert {"no_answer", "no_copy", "no_room", "erased", "store_unavailable"} <= found
    assert found <= set(DISCARDED)
    metrics.tally().count(over("discarded(unheard_of)"))
    assert metrics.value("turns_discarded_total", '{reason="other"}') == 1


def test_a_name_is_escaped() -> None:
    odd = 'a"b\\c\nd'
    metrics = Metrics([odd])
    assert ("requests_total", (("dialect", odd), ("memory", "hit"))) in read(metrics)


async def said(chat: Chat, tally: Tally, *, asked: float | None = 1.0) -> Exchange:
    """A turn of a conversation, counted."""
    exchange = over("committed", receipt=Receipt("hit"), path="/v1/chat/completions")
    exchange.told, exchange.asked = await chat.say("u", "a"), asked
    tally.count(exchange)
    return exchange


async def test_what_was_put_in_front_is_counted(metrics: Metrics) -> None:
    chat, tally = await chat_in(), metrics.tally()
    told = [await said(chat, tally) for _ in range(4)]
    found = read(metrics)
    assert found["injected_messages_total", ()] == 2 + 4 + 6
    tokens = [exchange.told.receipt.tokens for exchange in told if exchange.told]
    assert found["injected_tokens_total", ()] == sum(n or 0 for n in tokens) > 0
    sizes = [sum(len(m.raw) for m in each.told.history) for each in told if each.told]
    assert found["prefix_told_bytes_total", ()] == sum(sizes[:-1])
    assert found["prefix_reused_bytes_total", ()] == sum(sizes[:-1])
    assert found["prefix_reuse_ratio", ()] == 1.0
    assert found["trim_epochs_total", ()] == 0


async def test_what_was_never_sent_is_not_counted(metrics: Metrics) -> None:
    chat, tally = await chat_in(), metrics.tally()
    for _ in range(3):
        await said(chat, tally, asked=None)
    assert metrics.value("injected_messages_total") == 0
    assert metrics.value("prefix_told_bytes_total") == 0


async def test_where_the_beginning_moves_is_an_epoch() -> None:
    metrics = Metrics(["openai.chat"])
    chat, tally = await chat_in(max_history_turns=2), metrics.tally()
    for _ in range(10):
        await said(chat, tally)
    found = read(metrics)
    assert found["trim_epochs_total", ()] > 1
    ratio = found["prefix_reused_bytes_total", ()] / found["prefix_told_bytes_total", ()]
    assert found["prefix_reuse_ratio", ()] == ratio < 1.0


def test_the_names_are_those_of_the_documentation(metrics: Metrics) -> None:
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(backstory_\w+)`", page, re.MULTILINE))
    assert told == {f"backstory_{name}" for name, _ in read(metrics)}
    cells = re.findall(r"^\| (`.*?) \|", page.partition("| reason |")[2], re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(DISCARDED)


def test_a_dialect_of_the_configuration_has_its_numbers() -> None:
    config = Config(routes=(RouteSettings(match="/x", dialect="mine"),))
    metrics = Metrics(row.dialect for row in (*config.routes, *BUILT_IN))
    assert ("requests_total", (("dialect", "mine"), ("memory", "new"))) in read(metrics)

"""``./scripts/bench/recall``: what a turn costs inside the proxy, without sockets.

CPU of reading a prompt, finding its place, and putting history into it: for a client that sends its
new turn, with 20 and 200 messages stored and at hand, and for one that sends all of 200 messages, turn
after turn, and what it has sent before is at hand.
Then a long conversation in SQLite, turn by turn, with nothing at hand as after a pause: the cost must
not grow once the window is full, and what goes upstream must begin with what went before.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from scripts.bench.lines import Line, draw

from backstory.model import Answer, Conversation, Owner, Turn
from backstory.recall import Memory, Recalled
from backstory.settings import MemorySettings
from backstory_plugins.dialects.openai_chat import OpenAIChat
from backstory_plugins.policies.tokens import Tokens
from backstory_plugins.stores.memory import MemoryStore
from backstory_plugins.stores.sqlite import SqliteStore

CHAT = OpenAIChat()
ADA = Owner("team", "ada")
WINDOW_TOKENS = 8192
TARGETS = {"delta, 20 stored": 60.0, "delta, 200 stored": 150.0, "transcript of 200": 600.0}
"""µs of CPU."""

Message = dict[str, str]


class Cost(NamedTuple):
    """One turn of a long conversation."""

    cpu_us: float
    read_bytes: int
    forwarded_bytes: int
    reused: float
    """Share of the messages that went upstream last time with which this request begins."""


class CountingStore(SqliteStore):
    """Counts the bytes of messages that are read."""

    read_bytes = 0

    async def path(
        self, owner: Owner, conversation: str, turn: str, limit: int | None = None
    ) -> tuple[Turn, ...]:
        """See ``spi.Store``."""
        turns = await super().path(owner, conversation, turn, limit)
        self.read_bytes += sum(len(m.raw) for t in turns for m in t.messages)
        return turns

    def known(self, owner: Owner, conversation: str) -> Conversation | None:
        """See ``spi.Store``. Nothing: as after a pause."""
        return None


def question(number: int) -> Message:
    """About 330 bytes."""
    return {"role": "user", "content": f"question {number} " + "words " * 50}


def body_of(messages: Sequence[Message]) -> bytes:
    """A request."""
    return json.dumps({"model": "m", "messages": messages, "stream": True}).encode()


def reply(number: int) -> Message:
    """About as long as the question."""
    return {"role": "assistant", "content": f"answer {number} " + "words " * 50}


async def recall(memory: Memory, body: bytes) -> Recalled:
    """Read the prompt and find its place."""
    begun = memory.transcripts.beginning(ADA, "c", CHAT, body)
    prompt = CHAT.read_prompt(body, begun)
    assert prompt is not None
    return await memory.recall(ADA, "c", CHAT, prompt)


async def say(memory: Memory, body: bytes, number: int) -> int:
    """A turn; the ns of CPU until its request could go upstream."""
    began = time.process_time_ns()
    recalled = await recall(memory, body)
    recalled.body()
    cpu_ns = time.process_time_ns() - began
    choices = [{"index": 0, "message": reply(number), "finish_reason": "stop"}]
    answer = Answer(200, "application/json", json.dumps({"choices": choices}).encode(), True)
    await memory.commit(recalled, CHAT.read_reply(recalled.prompt, answer))
    return cpu_ns


async def delta_cost(turns: int, rounds: int) -> float:
    """µs of CPU of one more turn after ``turns``, of a client that sends no more; the median of ``rounds``."""
    memory = await _begun()
    for number in range(turns):
        await say(memory, body_of([question(number)]), number)
    body = body_of([question(turns)])

    async def once() -> None:
        (await recall(memory, body)).body()

    return await _cpu_us(once, rounds)


async def transcript_cost(turns: int, rounds: int) -> float:
    """µs of CPU of a turn after ``turns``, of a client that sends all of them; the median of ``rounds``.

    Each is the mean of some turns right before and behind that one, each longer by a turn.
    """
    around = turns // 10
    means = []
    for _ in range(rounds):
        memory, history, costs = await _begun(), [], []
        for number in range(turns + around):
            history.append(question(number))
            costs.append(await say(memory, body_of(history), number))
            history.append(reply(number))
        means.append(sum(costs[-2 * around :]) / (2 * around) / 1000)
    return median(means)


async def long_conversation(turns: int) -> list[Cost]:
    """Every turn of a conversation that grows far beyond its model's window."""
    settings = MemorySettings(
        max_history_turns=10_000,
        context_windows=(f"*={WINDOW_TOKENS}",),
        reserved_reply_tokens=512,
    )
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory() as folder:
        store = CountingStore(str(Path(folder) / "bench.db"))
        memory = Memory(store, settings, Tokens())
        await store.open()
        before = b""
        for number in range(turns):
            memory.close()  # nothing at hand
            store.read_bytes = 0
            body = body_of([question(number)])
            began = time.process_time_ns()
            forwarded = (await recall(memory, body)).body()
            cpu_us = (time.process_time_ns() - began) / 1000
            read, reused = store.read_bytes, _reused(before, forwarded)
            costs.append(Cost(cpu_us, read, len(forwarded), reused))
            await say(memory, body, number)
            before = forwarded
        await store.close()
    return costs


def report(warm: dict[str, float], costs: Sequence[Cost]) -> dict[str, object]:
    """Everything, each figure with its unit."""
    half = len(costs) // 2
    full = [cost for cost in costs if cost.reused < 1.0]
    return {
        "cpu_us_per_turn_warm": warm,
        "turns": len(costs),
        "window_tokens": WINDOW_TOKENS,
        "prefix_reuse_ratio": sum(cost.reused for cost in costs[1:]) / (len(costs) - 1),
        "trim_epochs": len(full),
        "cpu_us_per_turn_cold": {
            "second quarter": median(cost.cpu_us for cost in costs[half // 2 : half]),
            "last quarter": median(cost.cpu_us for cost in costs[half + half // 2 :]),
        },
        "read_bytes_per_turn": {
            "second quarter": median(cost.read_bytes for cost in costs[half // 2 : half]),
            "last quarter": median(cost.read_bytes for cost in costs[half + half // 2 :]),
        },
    }


def plot(costs: Sequence[Cost]) -> str:
    """Three panels over the turns of the conversation, as SVG."""
    return draw(
        "A conversation beyond its model's window: what each turn costs",
        "turn",
        [
            Line(
                "CPU of recall, align and inject, nothing at hand [µs]", [c.cpu_us for c in costs]
            ),
            Line("read from the store [KB]", [c.read_bytes / 1000 for c in costs]),
            Line("sent upstream [KB]", [c.forwarded_bytes / 1000 for c in costs]),
        ],
    )


async def _begun() -> Memory:
    memory = Memory(MemoryStore(), MemorySettings(), Tokens())
    await memory.store.open()
    return memory


def _reused(before: bytes, now: bytes) -> float:
    """How much of the messages in ``before`` stands at the beginning of ``now``."""
    end = before.rfind(b"]")
    if end <= 0:
        return 1.0
    same = next((at for at, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), end)
    return min(same, end) / end


async def _cpu_us(work: Callable[[], Coroutine[Any, Any, None]], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.process_time_ns()
        for _ in range(100):
            await work()
        times.append((time.process_time_ns() - began) / 100_000)
    return median(times)


async def _measure(turns: int, rounds: int) -> tuple[dict[str, float], list[Cost]]:
    warm = {
        "delta, 20 stored": await delta_cost(10, rounds),
        "delta, 200 stored": await delta_cost(100, rounds),
        "transcript of 200": await transcript_cost(100, rounds),
    }
    return warm, await long_conversation(turns)


def main(argv: list[str]) -> int:
    """Measure and report; the exit status."""
    parser = argparse.ArgumentParser(
        prog="./scripts/bench/recall", description=(__doc__ or "").split("\n\n", 1)[0]
    )
    parser.add_argument("--turns", type=int, default=1000, help="of the long conversation")
    parser.add_argument(
        "--rounds", type=int, default=15, help="how often the warm turn is measured"
    )
    parser.add_argument("--plot", type=Path, help="where the SVG goes")
    options = parser.parse_args(argv)
    warm, costs = asyncio.run(_measure(options.turns, options.rounds))
    found = report(warm, costs)
    if options.plot:
        options.plot.write_text(plot(costs), encoding="utf-8")
    print(json.dumps(found, indent=1, ensure_ascii=False))
    for name, target in TARGETS.items():
        print(f"{name}: {warm[name]:.0f} µs, target {target:.0f}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

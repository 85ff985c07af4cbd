"""``./scripts/bench/tokens``: the estimate beside the counts of OpenAI's vocabularies, and their CPU.

Each text is a message of a user, as a client of Chat Completions spells it; the tokens are those of the
message. Base64 stands for what somebody pastes: media are never counted as text.
"""

import argparse
import asyncio
import base64
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from backstory.config import settings
from backstory.counts import INLINE_BYTES, Counts
from backstory.model import Message
from backstory.registry import load_tokenizer
from backstory_plugins.dialects._chat import read_message

ROOT = Path(__file__).parents[2]
NAMES = ("o200k_base", "cl100k_base")


def texts() -> dict[str, str]:
    """Each kind of text, a few KB of it; all of them lie in this repository."""
    here = ROOT / "scripts/bench/texts"
    described = {
        name: {"default": str(entry.default), "meaning": entry.metadata["doc"]}
        for name, entry in settings().items()
    }
    return {
        "English": (ROOT / "docs/alignment.md").read_text(),
        "Python": (ROOT / "proxy/backstory/align.py").read_text(),
        "JSON": json.dumps(described, indent=2),
        "German": (here / "german.txt").read_text(encoding="utf-8"),
        "Chinese": (here / "chinese.txt").read_text(encoding="utf-8"),
        "base64": base64.b64encode(random.Random(1).randbytes(6000)).decode(),  # noqa: S311 - the same every time
    }


def message(text: str, *, escaped: bool) -> Message:
    """``text`` as a user's message; ``escaped``: in ASCII, as Python's ``json`` spells it."""
    value = {"role": "user", "content": text}
    read = read_message(value, json.dumps(value, ensure_ascii=escaped).encode())
    assert read is not None
    return read


async def accuracy(name: str, text: str) -> dict[str, float]:
    """Tokens of the message by the tokenizer ``name``, and how much more the estimate says."""
    counts = counts_of(name)
    plain, escaped = message(text, escaped=False), message(text, escaped=True)
    (counted,) = await counts.messages([plain])
    (again,) = await counts.messages([escaped])
    assert counted.tokens == again.tokens, "a count does not depend on the spelling"
    return {
        "tokens": counted.tokens,
        "estimate": round(plain.tokens / counted.tokens, 2),
        "estimate, escaped": round(escaped.tokens / counted.tokens, 2),
    }


async def cost(name: str, text: str, rounds: int) -> dict[str, float]:
    """CPU in µs: of a KB of ``text`` in a long message, and of one that is just short enough to be
    counted at once."""
    counts = counts_of(name)
    large = message(text * (200_000 // len(text.encode()) + 1), escaped=False)
    small = large
    while len(small.raw) > INLINE_BYTES:
        text = text[: len(text) * INLINE_BYTES // max(len(text.encode()), INLINE_BYTES + 50)]
        small = message(text, escaped=False)
    found: dict[str, float] = {}
    for label, sent in (("per KB", large), ("of 2 KB at once", small)):
        times = []
        for _ in range(rounds):
            began = time.process_time_ns()
            await counts.messages([sent])
            times.append((time.process_time_ns() - began) / 1000)
        each = median(times)
        found[label] = round(each / (len(sent.raw) / 1024) if sent is large else each, 1)
    return found


def counts_of(name: str) -> Counts:
    """Counts by the tokenizer ``name``."""
    tokenizer = load_tokenizer(name)
    assert tokenizer is not None
    return Counts(tokenizer)


async def measured(rounds: int) -> dict[str, object]:
    """Everything, by tokenizer and kind of text."""
    return {
        name: {
            kind: await accuracy(name, text) | {"cpu_us": await cost(name, text, rounds)}
            for kind, text in texts().items()
        }
        for name in NAMES
    }


def main(argv: Sequence[str]) -> None:
    """Measure, and print it as JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench/tokens", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31, help="the median of so many is told")
    print(json.dumps(asyncio.run(measured(parser.parse_args(argv).rounds)), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])

"""What a profiler saw, and which of our modules and functions the time belongs to.

A library's time is also that of the module of ours that called it: both are told.
"""

import pstats
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

OURS = ("backstory", "backstory_plugins")
LONGEST = 25
WAITS = {"_worker", "dequeue", "select", "wait", "_take"}
"""Functions that wait for work. A sampler takes a thread that was woken but has no core for busy."""

_FRAME = re.compile(r"(?P<function>.*) \((?P<path>[^()]*?)(?::\d+)?\)$")


@dataclass(frozen=True)
class Where:
    """A function, and the module or library that it is in."""

    module: str
    function: str

    @property
    def is_ours(self) -> bool:
        """Whether we wrote it."""
        return self.module.split(".")[0] in OURS

    @classmethod
    def at(cls, function: str, path: str) -> "Where":
        """The module if it is ours, the name of an installed library, a file of the standard one."""
        if path == "~" or path.startswith("<"):  # cProfile's for what is built in, or generated
            return cls("built in" if path == "~" else path, function)
        parts = PurePath(path).with_suffix("").parts
        if "site-packages" in parts:
            return cls(parts[parts.index("site-packages") + 1], function)
        for package in OURS:
            if package in parts[:-1]:
                last = len(parts) - 1 - parts[::-1].index(package)
                return cls(".".join(parts[last:]), function)
        return cls("/".join(parts[-2:]) or path, function)


@dataclass
class Stacks:
    """Weights of what ran itself, and of what of ours it ran for."""

    whole: float = 0
    by_module: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    by_function: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    on_behalf_of: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    within: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, stack: list[Where], weight: float) -> None:
        """What was seen of one moment, the outermost function first."""
        ours = [where for where in stack if where.is_ours]
        self.add_own(stack[-1], weight)
        self.on_behalf_of[ours[-1].module if ours else "none of ours"] += weight
        for where in set(ours):
            self.within[f"{where.module}: {where.function}"] += weight

    def add_own(self, where: Where, weight: float) -> None:
        """Time of a function itself, whoever called it."""
        self.whole += weight
        self.by_module[where.module] += weight
        self.by_function[f"{where.module}: {where.function}"] += weight

    def lines(self) -> Iterator[str]:
        """Tables, in percent of all that was seen."""
        tables: dict[str, Mapping[str, float]] = {
            "Time of modules of ours and of libraries, itself": self.by_module,
            "Time by the innermost module of ours, with the libraries that it called": self.on_behalf_of,
            "Time of functions, itself": self.by_function,
            "Time within functions of ours, with all that they called": self.within,
        }
        for title, table in tables.items():
            if table:
                yield f"\n{title} [%]"
            for name in sorted(table, key=lambda name: -table[name])[:LONGEST]:
                yield f"  {100 * table[name] / self.whole:5.1f}  {name}"


def read_samples(file: Path) -> Stacks:
    """Samples as py-spy writes them: ``function (path:line);…;function (path:line) count``.

    Without what only waits.
    """
    found = Stacks()
    for line in file.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        stack = [_frame(frame) for frame in frames.split(";")]
        if stack[-1].function.rpartition(".")[2] not in WAITS:
            found.add(stack, float(count))
    return found


def read_stats(file: Path) -> Stacks:
    """What cProfile writes: the time of each function, but not for whom it was."""
    found = Stacks()
    table: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    table = vars(pstats.Stats(str(file)))["stats"]
    for (path, _, function), (_, _, own, _, _) in table.items():
        found.add_own(Where.at(function, path), own)
    return found


def _frame(text: str) -> Where:
    found = _FRAME.match(text)
    return Where.at(found["function"], found["path"]) if found else Where("?", text)

"""``docs/clients.md``: its table and its recipes."""

import re
from typing import NamedTuple

from tests.clients.client import ROOT
from tests.clients.table import BEGIN, END

PAGE = ROOT / "docs/clients.md"


class Recipe(NamedTuple):
    """The code of a client's section."""

    language: str
    code: str


def recipes() -> dict[str, list[Recipe]]:
    """The recipes of each client, by its name."""
    _, *sections = PAGE.read_text(encoding="utf-8").split("\n### ")
    found = {}
    for section in sections:
        name, _, text = section.partition("\n")
        blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        found[name] = [Recipe(*block) for block in blocks]
    return found


def rows() -> list[list[str]]:
    """The cells of each row of the table, heads first."""
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    lines = [line.strip("| ").split(" | ") for line in table.strip().splitlines()]
    return [cells for cells in lines if set("".join(cells)) != {"-"}]

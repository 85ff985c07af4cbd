"""The table of ``docs/clients.md``: what the rows of the suite say, and what a run saw."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.clients.client import Client, Way
from tests.clients.suite import CLIENTS

BEGIN, END = "<!-- table: made by ./scripts/clients-table -->", "<!-- end of the table -->"
HEAD = (
    "client",
    "version",
    "what to change",
    "names its conversation by",
    "sends",
    "keeps cookies",
    "known by",
    "remembered",
    "tool loops",
    "12 turns upstream",
)
WAYS: dict[Way, str] = {
    "header": "header",
    "prefix": "URL",
    "cookie": "cookie",
    "response": "`previous_response_id`",
}
JARS = {"none": "no", "key": "one jar a key", "process": "one jar"}


def declared(client: Client) -> tuple[str, ...]:
    """The cells that the suite says and its tests hold: what to change up to cookies."""
    ways = [WAYS[way] for way in client.ways]
    if client.sdk and "cookie" in client.ways:
        ways[client.ways.index("cookie")] = "cookie with `--session always`"
    sends = "its transcript" if client.transcript else "the new message"
    jar = "a file, if told to" if client.name == "curl" else JARS[client.jar]
    return client.change, ", ".join(ways), sends, jar


class Seen:
    """What the tests of a run saw of each client."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._versions: dict[str, str] = {}
        self._looks: dict[str, str] = {}
        self._talks: dict[str, int] = defaultdict(int)
        self._calls: dict[str, int] = defaultdict(int)
        self._sizes: dict[str, list[int]] = {}

    def version(self, client: Client, text: str) -> None:
        """The version that it says it has."""
        self._versions[client.name] = text

    def looks_like(self, client: Client, text: str) -> None:
        """What says who it is, as Markdown."""
        self._looks[client.name] = text

    def remembered(self, client: Client, way: str) -> None:
        """One more conversation of three turns was stored and answered as it should."""
        self._talks[client.name] += 1

    def called(self, client: Client) -> None:
        """One more conversation with a tool in it was stored and told as it should."""
        self._calls[client.name] += 1

    def grew(self, client: Client, sizes: list[int]) -> None:
        """How large its requests arrived upstream."""
        self._sizes.setdefault(client.name, sizes)

    def write(self, page: Path) -> None:
        """Put the table into ``page``, between the two markers.

        Raises:
            LookupError: the run did not see every client: some test was left out, or failed.
        """
        rows = [self._row(client) for client in CLIENTS]
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, found, after = rest.partition(END)
        assert found, f"{page} has no place for the table"
        table = "\n".join(map(line, (HEAD, ["---"] * len(HEAD), *rows)))
        page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")

    def _row(self, client: Client) -> tuple[str, ...]:
        name = client.name
        counts = (
            _all_of(2 * len(client.ways), self._talks[name], f"{name}: talks"),
            _all_of(2 * len(client.tool_ways), self._calls[name], f"{name}: tool loops"),
        )
        sizes = self._sizes[name]
        grown = f"{sizes[0]} to {sizes[-1]} bytes, {(sizes[-1] - sizes[1]) // 10} a turn"
        return (name, self._versions[name], *declared(client), self._looks[name], *counts, grown)


def _all_of(wanted: int, found: int, what: str) -> str:
    if found != wanted:
        raise LookupError(f"{what}: {found} of {wanted} were remembered")
    return f"{found} of {wanted}" if wanted else "none"


def line(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"

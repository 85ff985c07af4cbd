"""``docs/settings.md`` is what the code says: every setting, every default, and an example that works."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backstory.config import load, settings
from backstory.registry import dialects_of
from backstory.serve import read_command_line
from backstory.settings import RouteSettings

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
HEAD = "| setting | in the environment | flag | default | meaning |"
ROUTE_HEAD = "| key | default | meaning |"


def rows(head: str) -> Iterator[str]:
    """The rows of every table of the document with this head."""
    lines = iter(DOCS.splitlines())
    for line in lines:
        if line == head:
            assert set(next(lines)) == set("|-")
            for row in lines:
                if not row.startswith("|"):
                    break
                yield row


def name_in(row: str) -> str:
    """What the first cell names."""
    return row.split("|")[1].strip(" `")


def shown(default: Any) -> str:
    """A default as the tables show it: nothing for nothing."""
    if default in (None, "", (), dataclasses.MISSING):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:.10g}`"
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    return f"`{default}`"


@pytest.fixture
def flags(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The flags that ``backstory serve --help`` tells of."""
    with pytest.raises(SystemExit):
        read_command_line(["--help"])
    return set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))


def row_of(name: str, flags: set[str]) -> str:
    """The row that the document should have."""
    entry = settings()[name]
    alias = f", `{entry.metadata['alias']}`" if entry.metadata["alias"] else ""
    flag = "--" + name.replace("_", "-")
    cells = (
        f"`{name}`",
        f"`BACKSTORY_{name.upper()}`{alias}",
        f"`{flag}`" if flag in flags else "",
        shown(entry.default),
        entry.metadata["doc"],
    )
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def test_every_setting_has_exactly_its_row(flags: set[str]) -> None:
    written = {name_in(row): row for row in rows(HEAD)}
    expected = {name: row_of(name, flags) for name in settings()}
    missing = [row for name, row in expected.items() if written.get(name) != row]
    assert not missing, "docs/settings.md should have these lines:\n" + "\n".join(missing)


def test_no_setting_is_documented_that_is_none_and_none_twice() -> None:
    written = [name_in(row) for row in rows(HEAD)]
    unknown = [name for name in written if name not in settings()]
    assert not unknown, "docs/settings.md tells of settings that there are not: delete their lines"
    assert len(written) == len(set(written)), "docs/settings.md tells of a setting twice"


def test_every_flag_is_a_setting(flags: set[str]) -> None:
    known = {"--" + name.replace("_", "-") for name in settings()}
    assert flags - known == {"--config"}
    assert "`--config FILE`, or `BACKSTORY_CONFIG`" in DOCS


def test_every_key_of_a_row_is_documented_with_its_default() -> None:
    expected = [(f.name, shown(f.default)) for f in dataclasses.fields(RouteSettings)]
    written = [(name_in(row), row.split("|")[2].strip()) for row in rows(ROUTE_HEAD)]
    assert written == expected, "the table of [[route]] keys in docs/settings.md is not the code's"


def test_the_example_works_as_it_stands(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)
    file = tmp_path / "backstory.toml"
    file.write_text(example)
    config = load({}, {}, file=str(file))
    assert config.warnings() == []
    names = {dialect.name for dialect in dialects_of(config.routes).values()}
    assert names == {"declarative", "falcon", "openai.chat"}
    used = {key for row in config.routes for key, value in dataclasses.asdict(row).items() if value}
    assert used == {field.name for field in dataclasses.fields(RouteSettings)}


def test_the_rows_on_the_page_of_dialects_work_as_they_stand(tmp_path: Path) -> None:
    page = (ROOT / "docs/dialects.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        file = tmp_path / "backstory.toml"
        file.write_text(example)
        config = load({"upstream": "http://localhost:8000", "auth": "off"}, {}, file=str(file))
        assert config.routes
        assert dialects_of(config.routes)

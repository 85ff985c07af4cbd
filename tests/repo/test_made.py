"""What is made without its own constructor has every field: ``model.made`` does not count them."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOMES = {"backstory": ROOT / "proxy", "backstory_plugins": ROOT / "plugins"}


def calls() -> Iterator[tuple[str, int, str, list[ast.expr]]]:
    """Module, line, class and fields of everything that is made."""
    for package, home in HOMES.items():
        for path in sorted((home / package).rglob("*.py")):
            module = ".".join(path.relative_to(home).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "made":
                    which, fields = node.args
                    assert isinstance(fields, ast.Tuple), f"{path}:{node.lineno}: no tuple"
                    yield module, node.lineno, ast.unparse(which), fields.elts


@pytest.mark.parametrize("call", list(calls()), ids=lambda call: f"{call[0]}-{call[2]}")
def test_every_field_is_given(call: tuple[str, int, str, list[ast.expr]]) -> None:
    module, line, name, fields = call
    made = getattr(importlib.import_module(module), name)
    assert not any(isinstance(field, ast.Starred) for field in fields), f"{module}:{line}"
    assert len(fields) == len(made._fields), f"{module}:{line}"

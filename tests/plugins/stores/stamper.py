"""A process that changes a stamp as it is told, line by line: ``stamper.py FILE SLOT``.

It answers each line of standard input once it is done: ``change``, ``changed``, ``close``.
"""

import sys

from backstory_plugins.stores._stamps import Stamps


def main(file: str, slot: int) -> None:
    """Do as standard input says."""
    stamps = Stamps(file)
    _answer("open")
    for line in sys.stdin:
        match line.strip():
            case "change":
                stamps.change(slot)
            case "changed":
                stamps.changed()
            case _:
                stamps.close()
        _answer("done")


def _answer(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

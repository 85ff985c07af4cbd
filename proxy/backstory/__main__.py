"""``backstory``: the command line."""

import sys
from importlib import import_module
from typing import TextIO

_COMMANDS = {
    "serve": ("backstory.serve", "run the proxy"),
    "token": ("backstory.token", "encode or decode a JWT"),
    "demo-upstream": ("backstory.demo_upstream", "the bundled stateless upstream"),
}


def main() -> int:
    """Run a command; the exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in _COMMANDS:
        status: int = import_module(_COMMANDS[name][0]).main(sys.argv[2:])
        return status
    if name in ("-h", "--help"):
        _say(sys.stdout)
        return 0
    if name == "--version":
        from backstory import __version__

        sys.stdout.write(f"backstory {__version__}\n")
        return 0
    sys.stderr.write(f"backstory: {name!r} is no command\n")
    _say(sys.stderr)
    return 2


def _say(stream: TextIO) -> None:
    stream.write("usage: backstory COMMAND [options]\n\n")
    stream.writelines(f"  {name:<15} {purpose}\n" for name, (_, purpose) in _COMMANDS.items())
    stream.write("\nbackstory COMMAND --help says more.\n")


if __name__ == "__main__":
    sys.exit(main())

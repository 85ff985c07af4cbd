"""What a container engine would take away from a process: root, its capabilities, a disk to write."""

import os
import subprocess
import sys
from pathlib import Path

_ENTER = """
set -eu
root=$1 data=$2 prefix=$3 hidden=$4 user=$5
shift 5
mount --bind "$root" "$root"
mount --bind "$data" "$data"
mount -o remount,bind,ro "$root"
if [ -n "$hidden" ]; then  # the interpreter is in a folder that only root may enter
    mount --bind "$prefix" /mnt
    mount -t tmpfs -o mode=755 none "$hidden"
    mkdir -p "$prefix"
    mount --bind /mnt "$prefix"
    mount -o remount,ro "$hidden"
fi
mount -o remount,bind,ro /
exec setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all --bounding-set=-all \\
    --no-new-privs -- "$@"
"""


def confine(command: list[str], root: Path, data: Path, user: str) -> list[str]:
    """``command``, to run as ``user``, who can write nothing below ``/`` and ``root`` but ``data``."""
    prefix = Path(sys.base_prefix)
    hidden = next((str(p) for p in reversed(prefix.parents) if not p.stat().st_mode & 1), "")
    arguments = [str(root), str(data), str(prefix), hidden, user]
    return ["unshare", "--mount", "sh", "-c", _ENTER, "sh", *arguments, *command]


def why_not() -> str:
    """Why ``confine`` cannot work here; empty if it can."""
    if sys.platform != "linux":
        return "only Linux has mount namespaces"
    if os.geteuid():
        return "only root can take away what an engine takes away"
    probe = ["unshare", "--mount", "sh", "-c", "mount -o remount,bind,ro / && setpriv --dump"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        return f"server missing: {exc.filename}"
    return "" if done.returncode == 0 else f"no mount namespaces here: {done.stderr.strip()}"

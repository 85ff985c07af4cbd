"""Random bytes from the kernel, many at a time: one system call for hundreds of ids and nonces."""

import os
import threading

_BLOCK_BYTES = 4096


class _Block(threading.local):
    """Each thread its own, so that no two are ever given the same bytes."""

    def __init__(self) -> None:
        self.bytes = b""
        self.at = 0


_block = _Block()


def random_bytes(size: int) -> bytes:
    """``size`` bytes fit for keys, from ``os.urandom``; never given out twice."""
    if size > _BLOCK_BYTES:
        return os.urandom(size)
    at = _block.at
    if at + size > len(_block.bytes):
        _block.bytes, at = os.urandom(_BLOCK_BYTES), 0
    _block.at = at + size
    return _block.bytes[at : at + size]


def _forget() -> None:
    _block.bytes, _block.at = b"", 0


os.register_at_fork(after_in_child=_forget)  # a child must not give out what its parent does

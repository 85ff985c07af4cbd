"""Random bytes from the kernel, many at a time: one system call for hundreds of ids and nonces."""

import os
import threading

_BLOCK_BYTES = 4096


class _Block(threading.local):
    """Each thread its own, so that no two are ever given the same bytes."""

    def __init__(self) -> None:
        self.bytes = b""
        self.at = _BLOCK_BYTES


_block = _Block()


def random_bytes(size: int) -> bytes:
    """``size`` bytes fit for keys, from ``os.urandom``; never given out twice."""
    if size > _BLOCK_BYTES:
        return os.urandom(size)
    at = _block.at
    _block.at = end = at + size
    if end > _BLOCK_BYTES:
        _block.bytes = os.urandom(_BLOCK_BYTES)
        at, _block.at = 0, size
        end = size
    return _block.bytes[at:end]


def _forget() -> None:
    _block.bytes, _block.at = b"", _BLOCK_BYTES


os.register_at_fork(after_in_child=_forget)  # a child must not give out what its parent does

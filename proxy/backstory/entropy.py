"""Random bytes from the kernel, many at a time: one system call for hundreds of ids and nonces."""

import os

_PIECE_BYTES = 16
_BLOCK_BYTES = 4096

_pieces: list[bytes] = []
"""Taken from its end, by any thread: no two are ever given the same one."""


def random_bytes(size: int) -> bytes:
    """``size`` bytes fit for keys, from ``os.urandom``; never given out twice."""
    if size > _PIECE_BYTES:
        return os.urandom(size)
    while True:
        try:
            return _pieces.pop()[:size]
        except IndexError:
            block = os.urandom(_BLOCK_BYTES)
            _pieces.extend(
                [block[at : at + _PIECE_BYTES] for at in range(0, _BLOCK_BYTES, _PIECE_BYTES)]
            )


os.register_at_fork(after_in_child=_pieces.clear)  # a child must not give out what its parent does

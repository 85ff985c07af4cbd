"""Random bytes by the block: of any size, and never the same twice, whoever asks."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from backstory import entropy
from backstory.entropy import random_bytes

BLOCK, PIECE = 4096, 16


@pytest.mark.parametrize("size", [0, 1, 12, PIECE, PIECE + 1, 32, BLOCK, 100_000])
def test_there_are_as_many_as_were_asked_for(size: int) -> None:
    assert [len(random_bytes(size)) for _ in range(3)] == [size] * 3


def test_they_come_from_the_kernel_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is cut into pieces, each for one who asks; what is larger than a piece is not."""
    asked: list[bytes] = []
    urandom = os.urandom

    def recorded(size: int) -> bytes:
        asked.append(urandom(size))
        return asked[-1]

    monkeypatch.setattr(entropy, "_pieces", [])
    monkeypatch.setattr(os, "urandom", recorded)
    pieces = BLOCK // PIECE
    given = [random_bytes(12) for _ in range(2 * pieces)]
    assert [len(block) for block in asked] == [BLOCK] * 2
    for block, from_it in zip(asked, (given[:pieces], given[pieces:]), strict=True):
        assert sorted(from_it) == sorted(block[at : at + 12] for at in range(0, BLOCK, PIECE))
    assert random_bytes(PIECE + 1) == asked[2]


def test_threads_are_never_given_the_same() -> None:
    """All at once, over many blocks."""
    threads = 8
    together = threading.Barrier(threads)

    def draw() -> list[bytes]:
        together.wait(10)
        return [random_bytes(16) for _ in range(2000)]

    with ThreadPoolExecutor(threads) as pool:
        drawn = [pool.submit(draw) for _ in range(threads)]
    given = [each for future in drawn for each in future.result()]
    assert len(set(given)) == len(given) == threads * 2000


def test_a_child_is_not_given_what_its_parent_is() -> None:
    """Nor what its parent was, nor what another child is: a nonce used twice would be no nonce."""
    before = random_bytes(16)
    given = [before]
    for _ in range(3):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, random_bytes(16))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            given.append(answer.read())
        assert os.waitpid(child, 0)[1] == 0
    given.append(random_bytes(16))
    assert [len(each) for each in given] == [16] * 5
    assert len(set(given)) == 5


def test_neighbours_share_nothing() -> None:
    """Where one piece ends the next begins: no byte belongs to two."""
    pieces = [random_bytes(64) for _ in range(200)]
    for one, other in pairwise(pieces):
        for size in (8, 16, 32):
            assert one[-size:] != other[:size]
            assert one[size:] != other[:-size]

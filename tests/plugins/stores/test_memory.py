"""The store in memory: the contract, its URL, and what it forgets first."""

from collections.abc import AsyncIterator

import pytest

from backstory.errors import StoreUnavailable, VersionConflict
from backstory.spi import Store
from backstory.testing import StoreContract
from backstory.testing.samples import ADA, conversation, message, remember, turn
from backstory_plugins.stores.memory import MAX_BYTES, MAX_CONVERSATIONS, MemoryStore


async def opened(**bounds: int) -> MemoryStore:
    store = MemoryStore(**bounds)
    await store.open()
    return store


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = await opened()
        yield store
        await store.close()


async def fill(store: Store, *names: str, size: int = 10) -> None:
    for name in names:
        said = turn([message("user", "x", raw=b"x" * size)], reply=())
        await remember(store, [said], to=conversation(name))


async def names(store: Store, *asked: str) -> list[str]:
    """Which of them are kept, asked in a way that does not count as use."""
    return [name for name in asked if await store.first_fingerprints(ADA, name)]


def test_the_url_may_say_the_bounds() -> None:
    store = MemoryStore.from_url("memory://?max_bytes=1000&max_conversations=7")
    assert (store.max_bytes, store.max_conversations) == (1000, 7)


def test_the_url_need_not_say_anything() -> None:
    store = MemoryStore.from_url("memory://")
    assert (store.max_bytes, store.max_conversations) == (MAX_BYTES, MAX_CONVERSATIONS)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("sqlite:///x", "write memory://"),
        ("memory://host", "write memory://"),
        ("memory:///x.db", "write memory://"),
        ("memory://#x", "write memory://"),
        ("memory://?max_byte=7", "does not know max_byte; write max_bytes"),
        ("memory://?max_bytes=256MiB", "write a whole number above 0"),
        ("memory://?max_bytes=0", "write a whole number above 0"),
        ("memory://?max_bytes=", "write a whole number above 0"),
        ("memory://?max_conversations=-1", "write a whole number above 0"),
    ],
)
def test_a_url_that_is_not_understood_is_answered_with_a_remedy(url: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        MemoryStore.from_url(url)


async def test_the_least_recently_used_conversation_is_forgotten_first() -> None:
    store = await opened(max_conversations=3)
    await fill(store, "a", "b", "c")
    await store.load(ADA, "a")
    await fill(store, "d")
    assert await names(store, "a", "b", "c", "d") == ["a", "c", "d"]


async def test_a_commit_counts_as_use() -> None:
    store = await opened(max_conversations=2)
    await fill(store, "a", "b")
    before = await store.load(ADA, "b")
    await store.load(ADA, "a")
    assert before is not None
    await remember(store, [turn("And then?")], to=before)
    await fill(store, "c")
    assert await names(store, "a", "b", "c") == ["b", "c"]


async def test_whole_conversations_are_forgotten_until_the_bytes_fit() -> None:
    store = await opened(max_bytes=40_000)
    await fill(store, "a", "b", "c", size=10_000)
    await fill(store, "d", size=20_000)
    assert await names(store, "a", "b", "c", "d") == ["c", "d"]


async def test_a_commit_that_cannot_fit_at_all_changes_nothing() -> None:
    store = await opened(max_bytes=40_000)
    await fill(store, "a", "b", size=10_000)
    before = await store.load(ADA, "b")
    assert before is not None
    large = turn([message("user", "x", raw=b"x" * 30_000)])
    with pytest.raises(StoreUnavailable, match="max_bytes"):
        await remember(store, [large], to=before)
    assert await store.load(ADA, "b") == before
    assert await names(store, "a", "b") == ["a", "b"]


async def test_what_is_erased_makes_room() -> None:
    store = await opened(max_bytes=30_000)
    for _ in range(10):
        await fill(store, "a", size=20_000)
        assert await store.erase(ADA, "a")
    await fill(store, "a", "b", size=10_000)
    assert await names(store, "a", "b") == ["a", "b"]


async def test_pinned_messages_count_and_are_counted_once() -> None:
    store = await opened(max_bytes=35_000)
    await fill(store, "a")
    after = conversation("b")
    for _ in range(10):
        after = await remember(store, [turn("Hello.")], to=after, pinned=(b"x" * 10_000,))
    assert await names(store, "a", "b") == ["a", "b"]
    await fill(store, "c", size=10_000)
    assert await names(store, "a", "b", "c") == ["b", "c"]


async def test_a_commit_to_what_was_forgotten_is_a_conflict() -> None:
    store = await opened(max_conversations=1)
    await fill(store, "a")
    before = await store.load(ADA, "a")
    assert before is not None
    await fill(store, "b")
    with pytest.raises(VersionConflict):
        await remember(store, [turn("And then?")], to=before)

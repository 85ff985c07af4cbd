"""What a plugin must keep, as test classes to inherit.

A store's whole test is a class with one fixture; run it with pytest and pytest-asyncio in its
auto mode (``asyncio_mode = "auto"``)::

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self) -> AsyncIterator[Store]:
            store = MyStore.from_url("my://localhost/test")
            await store.open()
            yield store
            await store.close()

Each test wants a store in which nothing is kept yet. ``backstory.testing.samples`` makes the
messages, turns and conversations for further tests.
"""

import pytest

# Before they are imported: pytest then shows the values in a failed assertion.
pytest.register_assert_rewrite(
    "backstory.testing.dialect",
    "backstory.testing.store",
    "backstory.testing._store_owners",
    "backstory.testing._store_reads",
    "backstory.testing._store_writes",
)

from backstory.testing.dialect import DialectContract  # noqa: E402 - see above
from backstory.testing.store import StoreContract  # noqa: E402 - see above

__all__ = ["DialectContract", "StoreContract"]

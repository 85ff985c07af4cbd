"""What every store promises, as one test class to inherit: see ``backstory.testing``."""

import pytest

from backstory.errors import StoreUnavailable
from backstory.spi import Store
from backstory.testing._store_owners import OwnersContract
from backstory.testing._store_reads import ReadsContract
from backstory.testing._store_writes import WritesContract
from backstory.testing.samples import ADA, remember, turn


class StoreContract(ReadsContract, WritesContract, OwnersContract):
    """A subclass has a fixture ``store``: one that is open, and keeps nothing yet."""

    async def test_a_new_store_is_ready(self, store: Store) -> None:
        """And stays so: the question changes nothing."""
        await store.ready()
        after = await remember(store, [turn("Hello.")])
        await store.ready()
        assert await store.load(ADA, after.id) == after

    async def test_a_closed_store_is_unavailable(self, store: Store) -> None:
        """Nobody is left waiting for it, and closing it again is no error."""
        await store.close()
        await store.close()
        for question in (store.ready(), store.load(ADA, "c1"), store.erase(ADA, "c1")):
            with pytest.raises(StoreUnavailable):
                await question

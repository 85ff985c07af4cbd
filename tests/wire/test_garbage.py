"""What an exchange leaves behind: nothing that Python's collector of cycles would have to look for."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.wire.conftest import StartProxy
from tests.wire.talking import APIS, NAMED, Api
from tests.wire.upstreams import RecordingUpstream
from tests.wire.users import User

ROUNDS = 10


@contextmanager
def collected() -> Iterator[list[object]]:
    """Everything that is found in cycles afterwards; nothing is collected meanwhile."""
    gc.collect()
    gc.disable()
    found: list[object] = []
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def of_ours(garbage: list[object]) -> set[str]:
    """Types of ours among it; functions and coroutines by their names."""
    named = {f"{getattr(each, '__module__', '')}.{type(each).__qualname__}" for each in garbage}
    return {name for name in named if name.startswith("backstory")}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", APIS, ids=str)
async def test_turns_leave_no_cycles_of_ours(
    api: Api, stream: bool, start_proxy: StartProxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = api.answer("yes")
    proxy = await start_proxy(recording_upstream.url)
    user = User(proxy.url)
    assert (await user.ask("first?", NAMED, api=api, stream=stream)).complete
    with collected() as garbage:
        for number in range(ROUNDS):
            assert (await user.ask(f"{number}?", NAMED, api=api, stream=stream)).complete
    assert of_ours(garbage) == set()
    assert len(await user.turns("c")) == 1 + ROUNDS


class Lost:
    """Something that nothing but itself holds."""

    def __init__(self) -> None:
        self.itself = self


def test_a_cycle_of_ours_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instrument itself."""
    monkeypatch.setattr(Lost, "__module__", "backstory.lost")
    with collected() as garbage:
        Lost()
    assert of_ours(garbage) == {"backstory.lost.Lost"}

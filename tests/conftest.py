"""What holds for every test.

A test may be skipped where a server is missing, but not in CI: there, everything runs. Such a test
calls ``pytest.skip("server missing: nginx")``; with ``CI=true`` that is a failure.

A test that is marked ``long("why")`` runs with ``--long`` only; without it, the run ends with how many and why.

No code of ours may block an event loop. A test fails if some did, whoever caught the error. What
blocks by design may be called by a test itself; the marker ``allow_blocking`` switches all of it off.
"""

import inspect
import logging
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest
from blockbuster import BlockBuster, BlockingError
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.wire.upstreams import RecordingUpstream

PREFIX = "server missing:"
LEFT_OUT = pytest.StashKey[Counter[str]]()
"""Why long tests do not run, and how many for each reason."""

# No deadline: these machines are shared. In CI every run tries the same examples.
settings.register_profile(
    "ours",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ours")
OURS = ["backstory", "backstory_plugins"]
TESTS = ("test_", "conftest.")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of ``scripts/test``."""
    parser.addoption("--long", action="store_true", help="run the long tests as well")
    parser.addoption(
        "--clients-table", action="store_true", help="write the table of docs/clients.md anew"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out, unless they are asked for."""
    if config.getoption("--long"):
        return
    long = {item: mark for item in items if (mark := item.get_closest_marker("long"))}
    left_out = config.stash[LEFT_OUT] = Counter(_why_long(*mark.args) for mark in long.values())
    if hasattr(config, "workeroutput"):  # one of several processes; all collect the same
        config.workeroutput["left_out"] = dict(left_out)
    items[:] = [item for item in items if item not in long]
    config.hook.pytest_deselected(items=[*long])


def _why_long(reason: str) -> str:
    return reason


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """See pytest-xdist. What a process has left out is told by the one that began it."""
    output = getattr(node, "workeroutput", {})  # none if it died
    node.config.stash[LEFT_OUT] = Counter(output.get("left_out", {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out, and why."""
    for reason, count in config.stash.get(LEFT_OUT, Counter()).items():
        terminalreporter.write_line(f"left out without --long: {reason} ({count} tests)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report of one test; a server that is missing fails it in CI."""
    report = yield
    if _missing(call):
        report.outcome = "failed"
        report.longrepr = f"{_reason(call)} (with CI=true nothing is skipped for that)"
    return report


def _missing(call: pytest.CallInfo[None]) -> bool:
    return os.environ.get("CI") == "true" and _reason(call).startswith(PREFIX)


def _reason(call: pytest.CallInfo[None]) -> str:
    skipped = call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception)
    return str(call.excinfo.value) if call.excinfo is not None and skipped else ""


@pytest.fixture(scope="session")
def blockbuster() -> BlockBuster:
    """Raises where code of ours, or what it called, blocks a running event loop; not active yet."""
    guard = BlockBuster(OURS)
    for function in guard.functions.values():
        function.can_block_predicate = _or_called_by_a_test(function.can_block_predicate)
    return guard


def _or_called_by_a_test(may_block: Callable[..., bool]) -> Callable[..., bool]:
    def predicate(*args: object, **kwargs: object) -> bool:
        return may_block(*args, **kwargs) or _called_by_a_test()

    return predicate


def _place() -> str:
    """The innermost line of ours on the stack. Not by ``traceback``, which looks at files itself."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and not _is_ours(frame):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "somewhere"


def _is_ours(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in OURS


def _called_by_a_test() -> bool:
    """A test called the outermost function of ours on the stack, and that is not a coroutine."""
    frame: FrameType | None = sys._getframe()
    ours = None
    while frame is not None:
        if _is_ours(frame):
            ours = frame
        frame = frame.f_back
    if ours is None or ours.f_back is None or ours.f_code.co_flags & inspect.CO_COROUTINE:
        return False
    return ours.f_back.f_code.co_filename.rpartition("/")[2].startswith(TESTS)


@pytest.fixture(autouse=True)
def _nothing_blocks(
    request: pytest.FixtureRequest, blockbuster: BlockBuster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    if request.node.get_closest_marker("allow_blocking"):
        yield
        return
    blocked: list[str] = []

    class Blocked(BlockingError):
        def __init__(self, function: str) -> None:
            super().__init__(function)
            blocked.append(f"{function} from {_place()}")

    # A fault of the memory is caught by design, so that raising alone would go unnoticed.
    monkeypatch.setattr("blockbuster.blockbuster.BlockingError", Blocked)
    blockbuster.activate()
    try:
        yield
    finally:
        blockbuster.deactivate()
    assert not blocked, "the event loop was blocked"


@pytest.fixture(autouse=True)
def _no_log_file(request: pytest.FixtureRequest) -> None:
    """pytest writes every record to the null device as well, which would count as blocking."""
    plugin = request.config.pluginmanager.get_plugin("logging-plugin")
    if plugin is not None:
        plugin.log_file_handler.setLevel(logging.CRITICAL + 1)


@pytest.fixture
async def recording_upstream() -> AsyncIterator["RecordingUpstream"]:
    """An upstream that answers ``ok`` in Falcon's way until the test sets its ``script``."""
    # Not at the top: test_missing_servers copies this file alone.
    from tests.wire.upstreams import RecordingUpstream

    async with RecordingUpstream() as upstream:
        yield upstream

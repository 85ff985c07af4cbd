"""Log lines as JSON, without a word that anybody said."""

import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from queue import SimpleQueue

Facts = dict[str, str | int | float]
"""What a line says, by name: texts and numbers, none of them a ``bool``."""

_LEFT_OUT: dict[str, bool | None] = {
    "_srcfile": None,  # where a line was logged
    "logThreads": False,
    "logProcesses": False,
    "logMultiprocessing": False,
    "logAsyncioTasks": False,  # since Python 3.12
}
"""What ``logging`` notes of each record, and no line of ours says."""
GATHER_SECONDS = 0.1
"""How long a line may wait for others."""


class JsonLines(logging.Formatter):
    """One JSON object a record. Of an exception: its type and where, never its text.

    The text of an exception may quote what a client sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        facts: dict[str, object] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
        }
        if isinstance(record.args, dict):
            line = record.args | facts
        else:
            line = facts | {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            frames = traceback.extract_tb(record.exc_info[2])
            line["exception"] = record.exc_info[0].__name__
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return _spelled(line)


def log_facts(log: logging.Logger, facts: Facts) -> None:
    """Log ``facts`` as one line of level INFO.

    Where lines are written by ``to_stderr``, without a record: making one and taking it through
    loggers and handlers costs more than all else that is done for a line.
    """
    if _writing is None:
        log.info("%s", facts)
    else:
        _writing.put((time.time(), facts))


# Other libraries log facts, too: what is no JSON is told by its type.
_spelled = json.JSONEncoder(default=lambda value: type(value).__name__).encode


def _line_of(when: float, facts: Facts) -> str:
    """As ``JsonLines`` writes it, for a third: of lines about the same things only the values differ."""
    values = [_quoted(value) if type(value) is str else value for value in facts.values()]
    return _pattern(tuple(facts)) % (_time(when), *values)


@lru_cache(maxsize=256)
def _pattern(names: tuple[str, ...]) -> str:
    places = [f"{_quoted(name)}: ".replace("%", "%%") + "%s" for name in names]
    return "{" + ", ".join(['"time": "%s"', '"level": "info"', *places]) + "}\n"


def _time(epoch: float) -> str:
    return f"{_second(int(epoch))}.{int(epoch % 1 * 1000):03}+00:00"


@lru_cache(maxsize=1)
def _second(epoch: int) -> str:
    """Date and time to the second: most lines share it with the one before."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@contextmanager
def to_stderr() -> Iterator[None]:
    """Write every record of level INFO and above to standard error, by a thread of its own.

    Whoever reads our standard error slowly must not stall an event loop.
    """
    global _writing
    lines = _writing = _Lines()
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    with _only_what_is_told():
        try:
            yield
        finally:
            _writing = None
            lines.finish()


@contextmanager
def _only_what_is_told() -> Iterator[None]:
    """Records hold nothing that no line says: finding it takes a third of the time of a record.

    The switches are those of Python's logging HOWTO, section Optimization.
    """
    before = {name: getattr(logging, name) for name in _LEFT_OUT if hasattr(logging, name)}
    for name in before:
        setattr(logging, name, _LEFT_OUT[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(logging, name, value)


class _Lines(logging.Handler):
    """Gathers records for a moment and writes them at once: waking a thread costs more than a line."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self._records: SimpleQueue[logging.LogRecord | tuple[float, Facts]] = SimpleQueue()
        self._some = threading.Event()
        self._finished = threading.Event()
        # A daemon: what nobody reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def createLock(self) -> None:  # noqa: N802 - the name is logging's
        """See logging.Handler. None: the queue is enough."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler. Formatted by the thread that writes it."""
        self.put(record)

    def put(self, record: logging.LogRecord | tuple[float, Facts]) -> None:
        """Write it in a moment; facts with their time, seconds since the epoch."""
        self._records.put(record)
        if not self._some.is_set():
            self._some.set()

    def finish(self) -> None:
        """Write what is left."""
        self._finished.set()
        self._some.set()
        self._thread.join()

    def _run(self) -> None:
        while self._some.wait():
            self._some.clear()  # first: ``finish`` sets it once more, and that must be seen
            finished = self._finished.wait(GATHER_SECONDS)
            if lines := list(self._waiting()):
                sys.stderr.write("".join(lines))
                sys.stderr.flush()
            if finished and self._records.empty():
                return

    def _waiting(self) -> Iterator[str]:
        while not self._records.empty():
            record = self._records.get()
            if isinstance(record, logging.LogRecord):
                yield self.format(record) + "\n"
            else:
                yield _line_of(*record)


_writing: _Lines | None = None
"""Of ``to_stderr``."""

"""Log lines as JSON, without a word that anybody said."""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue


class JsonLines(logging.Formatter):
    """One JSON object a record. Of an exception: its type and where, never its text.

    The text of an exception may quote what a client sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if isinstance(record.args, dict):
            line = record.args | line
        else:
            line |= {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            frames = traceback.extract_tb(record.exc_info[2])
            line["exception"] = record.exc_info[0].__name__
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        # Other libraries log facts, too: what is no JSON is told by its type.
        return json.dumps(line, default=lambda value: type(value).__name__)


@contextmanager
def to_stderr() -> Iterator[None]:
    """Write every record of level INFO and above to standard error, by a thread of its own.

    Whoever reads our standard error slowly must not stall an event loop.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    listener = QueueListener(records, handler)
    logging.basicConfig(level=logging.INFO, handlers=[_Enqueue(records)])
    listener.start()
    try:
        yield
    finally:
        listener.stop()


class _Enqueue(QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # formatted by the thread that writes it

"""A log line is one JSON object, and no exception's text gets into it."""

import json
import logging
import subprocess
import sys
import threading
from datetime import datetime

import pytest

from backstory.log import Facts, JsonLines, _line_of, _Lines


def written(record: logging.LogRecord) -> dict[str, object]:
    line = JsonLines().format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert isinstance(read, dict)
    return read


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("backstory.x", logging.WARNING, __file__, 1, message, args, info)


def caught() -> BaseException:
    try:
        try:
            raise KeyError("canary")
        except KeyError as exc:
            raise ValueError("canary") from exc
    except ValueError as exc:
        return exc


def test_a_line_says_when_how_bad_who_and_what() -> None:
    line = written(record("%d turns\nof %s", 3, "ann"))
    assert line.keys() == {"time", "level", "logger", "message"}
    assert datetime.fromisoformat(str(line["time"])).utcoffset() is not None
    assert (line["level"], line["logger"]) == ("warning", "backstory.x")
    assert line["message"] == "3 turns\nof ann"


def test_a_line_of_facts_is_those_facts() -> None:
    facts = {"status": 200, "error": None, "total_ms": 1.5}
    line = written(record("%s", facts))
    assert {name: line[name] for name in facts} == facts
    assert "message" not in line


def test_facts_do_not_hide_when_and_how_bad() -> None:
    line = written(record("%s", {"time": "x", "level": "y", "status": 1}))
    assert (line["level"], line["status"]) == ("warning", 1)
    assert line["time"] != "x"


@pytest.mark.parametrize("value", [{1, 2}, b"canary", object(), ValueError("canary")])
def test_facts_of_any_kind_make_a_line(value: object) -> None:
    line = written(record("%(fact)r", {"fact": value}))
    assert line["fact"] == type(value).__name__


def test_the_short_way_makes_the_same_line() -> None:
    facts: Facts = {
        'a "%s" \n': 'x "%d" \\ \N{SNOWMAN}\udcff',
        "status": 200,
        "total_ms": 0.1,
        "none": "",
    }
    line = _line_of(1_800_000_000.25, facts)
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    read = json.loads(line)
    assert {name: read[name] for name in facts} == facts
    long = record("%s", facts)
    long.created, long.levelname = 1_800_000_000.25, "INFO"
    assert read == written(long)


def test_an_exception_is_its_type_and_its_place_and_never_its_text() -> None:
    line = written(record("a bug", error=caught()))
    assert line["exception"] == "ValueError"
    assert isinstance(line["at"], list)
    assert any(" caught" in place and "test_log.py:" in place for place in line["at"])
    assert "canary" not in json.dumps(line)


def test_a_record_without_an_exception_under_way_has_none() -> None:
    empty = logging.LogRecord("x", logging.ERROR, __file__, 1, "m", (), (None, None, None))
    assert "exception" not in written(empty)


def test_any_text_makes_one_line_of_ascii() -> None:
    line = JsonLines().format(record("\N{LINE SEPARATOR}\r\n\0\udcff\N{SNOWMAN}"))
    assert line.isascii()
    assert line.isprintable()


PROGRAM = """
import logging
from backstory.log import log_facts, to_stderr
log = logging.getLogger("backstory.x")
with to_stderr():
    log.debug("not said")
    log.info("%s", {"status": 200})
    log_facts(log, {"status": 201})
    logging.getLogger("somebody.else").warning("said")
    try:
        raise ValueError("canary")
    except ValueError:
        log.exception("last words")
"""


def test_lines_go_to_standard_error_from_info_on() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    first, facts, second, last = map(json.loads, ran.stderr.splitlines())
    assert (facts["status"], facts["level"]) == (201, "info")
    assert facts.keys() == first.keys()
    assert datetime.fromisoformat(first["time"]) <= datetime.fromisoformat(facts["time"])
    assert (first["status"], second["logger"], second["message"]) == (200, "somebody.else", "said")
    assert (last["message"], last["exception"]) == ("last words", "ValueError")
    assert "canary" not in ran.stderr
    assert ran.stdout == ""


CHATTY = """
import logging, sys
from backstory.log import to_stderr
with to_stderr():
    for number in range(5000):
        logging.info("%d %s", number, "x" * 1000)
    print("all said", flush=True)
"""


def test_who_reads_slowly_stalls_nobody_and_misses_nothing() -> None:
    """Five megabytes, and a pipe that holds 64 KiB: nothing is read before all has been said."""
    with subprocess.Popen(
        [sys.executable, "-c", CHATTY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as chatty:
        assert chatty.stdout is not None
        assert chatty.stderr is not None
        assert chatty.stdout.readline() == "all said\n"
        lines = chatty.stderr.read().splitlines()
    assert chatty.returncode == 0
    said = [json.loads(line)["message"].partition(" ")[0] for line in lines]
    assert said == [str(number) for number in range(5000)]


def test_an_end_that_comes_while_lines_are_gathered_ends_the_thread(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Or the process would wait for it at its own end, for ever."""
    lines = _Lines()

    class Crossed(threading.Event):
        """Set, as ``finish`` does it, in the moment after a wait for it has timed out."""

        def wait(self, timeout: float | None = None) -> bool:
            if self.is_set():
                return True
            self.set()
            lines._some.set()
            return False

    lines._finished = Crossed()
    lines.emit(record("last words"))
    lines._thread.join(timeout=10)
    assert not lines._thread.is_alive()
    assert json.loads(capfd.readouterr().err)["message"] == "last words"

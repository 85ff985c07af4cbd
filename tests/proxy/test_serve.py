"""``backstory serve``: its command line, what it listens on, and how it begins and ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backstory.errors import ConfigError
from backstory.serve import main, read_command_line, report
from backstory.settings import Secret

ENOUGH = {"BACKSTORY_UPSTREAM": "http://127.0.0.1:9", "BACKSTORY_JWT_SECRET": "s" * 32}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("BACKSTORY_")]:
        monkeypatch.delenv(name)
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)


def test_every_flag_of_the_contract_is_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "backstory.toml"
    file.write_text('via = "file"\nlisten = "h:1"\n')
    config = read_command_line(
        [
            *("--upstream", "http://h"),
            *("--listen", "localhost:0"),
            *("--admin-listen", "localhost:1"),
            *("--session", "always"),
            *("--fallback", "subject"),
            *("--store", "memory://"),
            *("--auth", "off"),
            *("--config", str(file)),
            "--allow-open",
            "--strict",
        ]
    )
    assert (config.upstream, config.listen, config.session) == ("http://h", "localhost:0", "always")
    assert (config.fallback, config.store, config.auth) == ("subject", "memory://", "off")
    assert (config.allow_open, config.strict, config.via) == (True, True, "file")
    assert config.admin_listen == "localhost:1"


def test_without_flags_the_environment_counts() -> None:
    config = read_command_line([])
    assert (config.upstream, config.allow_open) == (ENOUGH["BACKSTORY_UPSTREAM"], False)


def test_values_beneath_everything_can_be_given() -> None:
    beneath = {"upstream": "http://beneath", "via": "beneath", "session_secret": Secret("x" * 16)}
    config = read_command_line([], beneath)
    assert (config.upstream, config.via) == (ENOUGH["BACKSTORY_UPSTREAM"], "beneath")
    assert config.session_secret == Secret("x" * 16)


def test_a_wrong_flag_is_a_problem_among_the_others() -> None:
    with pytest.raises(ConfigError) as caught:
        read_command_line(["--auth", "x", "--listen", "x"])
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["--auth", "listen"]


@pytest.mark.parametrize("argv", [["--nope"], ["--upstre", "http://h"], ["word"], ["--listen"]])
def test_a_command_line_that_cannot_be_read_ends_with_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: backstory serve" in capsys.readouterr().err


def test_help_tells_what_every_flag_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for flag in ("--upstream", "--listen", "--session", "--fallback", "--store", "--auth"):
        assert f"{flag} {flag[2:].upper()}" in said
    assert "port 0 takes a free one" in said


def test_problems_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(["one: a", "two: b"]) == 2
    assert capsys.readouterr() == ("", "backstory: one: a\nbackstory: two: b\n")


@contextmanager
def serving(folder: Path, *argv: str) -> Iterator["subprocess.Popen[str]"]:
    """``backstory serve`` in a process of its own."""
    clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    with subprocess.Popen(
        [sys.executable, "-m", "backstory", "serve", *argv],
        cwd=folder,
        env=clean | ENOUGH,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def address(process: "subprocess.Popen[str]") -> tuple[str, int]:
    """Where it listens, once it says so."""
    assert process.stderr
    for line in process.stderr:
        if line.startswith("listening on http://"):
            host, _, port = line.removeprefix("listening on http://").strip().rpartition(":")
            return host.strip("[]"), int(port)
    raise AssertionError("it ended before it listened")


def live(host: str, port: int) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/-/health/ready")
        return connection.getresponse().status
    finally:
        connection.close()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_it_says_where_it_listens_and_serves_there(tmp_path: Path, host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(tmp_path, "--listen", f"{host}:0") as process:
        assert live(*address(process)) == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "--listen", "127.0.0.1:0") as process:
        where = address(process)
        assert live(*where) == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert json.loads(err.splitlines()[-1])["status"] == 200, "the last line is not lost"
    assert {path.name for path in tmp_path.iterdir()} >= {"backstory.db", "backstory.key"}
    modes = {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert modes == {0}, "nobody else may read what it keeps"


def ended(folder: Path, *argv: str) -> str:
    """What is said by a server that cannot start."""
    with serving(folder, *argv) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    said = [line for line in err.splitlines() if not line.startswith("{")]
    assert "Traceback" not in err
    assert len(said) == 1
    return said[0]


def test_an_address_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        said = ended(tmp_path, "--listen", where, "--store", "memory://")
    assert said.startswith(f"backstory: listen: cannot listen on {where}: ")


def test_an_admin_address_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        said = ended(tmp_path, "--listen", "127.0.0.1:0", "--admin-listen", where)
    assert said.startswith(f"backstory: admin_listen: cannot listen on {where}: ")


def test_a_store_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    said = ended(tmp_path, "--listen", "127.0.0.1:0", "--store", "sqlite:///folder.db")
    assert said.startswith("backstory: store: cannot be opened: ")


def test_a_folder_for_the_key_that_is_not_there_is_said(tmp_path: Path) -> None:
    said = ended(tmp_path, "--store", f"sqlite:///{tmp_path}/none/x.db")
    assert said == (
        f"backstory: session_key_file: cannot use {tmp_path}/none/x.key: No such file or directory"
    )


def test_a_store_of_nobody_is_said(tmp_path: Path) -> None:
    assert "store: 'mongodb' is unknown" in ended(tmp_path, "--store", "mongodb://h")

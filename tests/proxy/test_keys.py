"""The key ring: one key a purpose, nothing guessable from an id, one key file however many start."""

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backstory.keys import Ring, derive, read_or_make

OLD, NEW = b"the old secret", b"the new secret"
PURPOSES = ("cookie/v1", "identity/v1", "kid/v1")


def test_every_purpose_and_every_secret_has_a_key_of_its_own() -> None:
    made = {derive(root, purpose) for root in (OLD, NEW) for purpose in PURPOSES}
    assert len(made) == 6
    assert {len(key) for key in made} == {32}


def test_a_derived_key_is_what_rfc_5869_says() -> None:
    # Made with OpenSSL 3: openssl kdf -keylen 32 -kdfopt digest:SHA256
    # -kdfopt key:"the old secret" -kdfopt info:cookie/v1 HKDF
    said = "58293021a1169cd315c52bd462946e5a5cf171ea31431cd7379a4520ce0cd19d"
    assert derive(OLD, "cookie/v1").hex() == said


def test_the_newest_secret_is_first_and_keeps_its_id_in_every_ring() -> None:
    alone, both = Ring([OLD]).keys("cookie/v1"), Ring([NEW, OLD]).keys("cookie/v1")
    assert list(both)[1:] == list(alone)
    assert both | alone == both
    assert list(Ring([OLD]).keys("identity/v1")) == list(alone), "an id names a secret"


def test_an_id_tells_nothing_of_a_key() -> None:
    for root in (OLD, NEW):
        for purpose in PURPOSES[:2]:
            ((kid, key),) = Ring([root]).keys(purpose).items()
            assert kid not in key.hex()
            assert kid.encode() not in root


@pytest.mark.parametrize("roots", [[], [b""], [NEW, b""]])
def test_a_ring_without_a_secret_is_refused(roots: list[bytes]) -> None:
    with pytest.raises(ValueError, match="secret"):
        Ring(roots)


def test_a_pseudonym_is_stable_keyed_and_survives_a_new_secret() -> None:
    ring = Ring([OLD])
    name = ring.pseudonym("identity/v1", "sk-123")
    assert len(name) == 32
    assert name == Ring([NEW, OLD]).pseudonym("identity/v1", "sk-123")
    others = {
        ring.pseudonym("identity/v1", "sk-124"),
        ring.pseudonym("other/v1", "sk-123"),
        Ring([NEW]).pseudonym("identity/v1", "sk-123"),
    }
    assert len(others | {name}) == 4


def test_a_pseudonym_takes_bytes_that_are_no_text() -> None:
    ring = Ring([OLD])
    assert ring.pseudonym("identity/v1", "\udcff") != ring.pseudonym("identity/v1", "\udcfe")


def test_a_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "backstory.key"
    before = os.umask(0)
    try:
        made = read_or_make(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [len(root) for root in made] == [32]
    assert read_or_make(path) == made
    assert list(tmp_path.iterdir()) == [path]


def test_two_key_files_are_different(tmp_path: Path) -> None:
    assert read_or_make(tmp_path / "a") != read_or_make(tmp_path / "b")


def key_file(tmp_path: Path, content: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "backstory.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def line(byte: int, size: int = 32) -> str:
    return base64.urlsafe_b64encode(bytes([byte]) * size).decode()


def test_a_file_holds_its_secrets_newest_first_among_comments(tmp_path: Path) -> None:
    path = key_file(tmp_path, f"# ours\n\n {line(255)} \r\n  # older\n{line(1, 40)}".encode())
    assert read_or_make(path) == [b"\xff" * 32, b"\x01" * 40]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ValueError, match="chmod 600"):
        read_or_make(key_file(tmp_path, line(1).encode(), mode))


def test_a_file_that_cannot_be_written_will_do(tmp_path: Path) -> None:
    assert read_or_make(key_file(tmp_path, line(1).encode(), 0o400)) == [b"\x01" * 32]


@pytest.mark.parametrize(
    "bad",
    [line(1, 31).encode(), b"canary", b"zQ", b"\xff\xfe", "ключ".encode(), line(1)[:-2].encode()],
)
def test_a_bad_line_is_refused_by_its_number_and_not_quoted(tmp_path: Path, bad: bytes) -> None:
    path = key_file(tmp_path, b"# one\n" + line(1).encode() + b"\n" + bad + b"\n")
    with pytest.raises(ValueError, match=f"{path}, line 3: ") as caught:
        read_or_make(path)
    assert bad.decode("latin-1") not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"# nothing\n"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match="holds no key"):
        read_or_make(key_file(tmp_path, content))


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_or_make(tmp_path / "none" / "backstory.key")


MAKER = """
import sys
from pathlib import Path
from backstory.keys import read_or_make
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
for number in range(200):
    print(read_or_make(Path(sys.argv[1]) / str(number))[0].hex())
"""


def test_processes_that_start_at_once_agree_on_one_file(tmp_path: Path) -> None:
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for maker in makers:
        assert maker.stdout
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin
        maker.stdin.write("go\n")
        maker.stdin.flush()
    said = [maker.communicate(timeout=60)[0].split() for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0, 0]
    assert len(said[0]) == 200
    assert said[0] == said[1] == said[2]
    assert len(list(tmp_path.iterdir())) == 200

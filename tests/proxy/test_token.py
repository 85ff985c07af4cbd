"""``backstory token``: what it prints, where, and with which exit status."""

import base64
import json
import time
from collections.abc import Callable
from typing import NamedTuple

import jwt
import pytest

from backstory import token

SECRET = "a secret of the clients, 32 bytes and more"
CLAIMS = {"team_id": "tenstorrent", "token_id": "debug-test"}


class Ran(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, in an environment without secrets."""
    for name in token.SECRET_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def call(*argv: str) -> Ran:
        try:
            status = token.main(argv)
        except SystemExit as exc:  # argparse
            status = int(exc.code or 0)
        return Ran(status, *capsys.readouterr())

    return call


def signed(claims: dict[str, object], secret: str = SECRET, algorithm: str = "HS256") -> str:
    """A token as another program would make it."""
    return jwt.encode(claims, secret, algorithm)


def test_encode_prints_the_token_and_nothing_else(run: Run) -> None:
    ran = run("--secret", SECRET, "encode", json.dumps(CLAIMS))
    assert ran == Ran(0, ran.out, "")
    assert ran.out.endswith("\n")
    assert jwt.decode(ran.out.strip(), SECRET, algorithms=["HS256"]) == CLAIMS


def test_decode_prints_the_claims_as_json(run: Run) -> None:
    ran = run("--secret", SECRET, "decode", signed({"team_id": "Zoë", "n": 1}))
    assert ran == Ran(0, '{"team_id":"Zoë","n":1}\n', "")


@pytest.mark.parametrize("before", ["Bearer ", "bearer  ", " "])
def test_the_scheme_may_stand_before_the_token(run: Run, before: str) -> None:
    assert run("--secret", SECRET, "decode", before + signed({})).status == 0


def test_the_scheme_may_be_a_word_of_its_own(run: Run) -> None:
    assert run("--secret", SECRET, "decode", "Bearer", signed({})).status == 0


def test_the_secret_may_stand_after_the_command(run: Run) -> None:
    assert run("decode", signed({}), "--secret", SECRET).status == 0


@pytest.mark.parametrize("name", ["BACKSTORY_JWT_SECRET", "JWT_SECRET"])
def test_the_secret_may_come_from_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, SECRET)
    assert run("decode", signed({})).status == 0


def test_our_own_variable_beats_its_alias_unless_it_is_empty(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("BACKSTORY_JWT_SECRET", "another secret, which is 32 bytes long")
    assert run("decode", signed({})).status == 1
    monkeypatch.setenv("BACKSTORY_JWT_SECRET", "")
    assert run("decode", signed({})).status == 0


def test_without_a_secret_it_says_what_to_set(run: Run) -> None:
    status, out, err = run("encode", "{}")
    assert (status, out) == (2, "")
    assert all(name in err for name in ("--secret", "BACKSTORY_JWT_SECRET", "JWT_SECRET"))


def test_an_empty_secret_is_refused_whatever_the_environment_holds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    status, out, err = run("--secret", "", "encode", "{}")
    assert (status, out) == (2, "")
    assert "--secret is empty" in err


def test_a_short_secret_works_and_is_one_line_on_stderr(run: Run) -> None:
    status, out, err = run("--secret", "short", "encode", "{}")
    assert (status, len(out.splitlines()), len(err.splitlines())) == (0, 1, 1)
    assert "weak" in err
    assert run("--secret", "short", "decode", out) == Ran(0, "{}\n", err)


def test_a_key_pairs_half_is_no_secret(run: Run) -> None:
    pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    for command in (("encode", "{}"), ("decode", signed({}))):
        status, out, err = run("--secret", pem, *command)
        assert (status, out) == (2, "")
        assert "AAAA" not in err


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "[" * 9999, "\udcff"])
def test_claims_that_are_no_object_are_a_wrong_command_line(run: Run, text: str) -> None:
    status, out, err = run("--secret", SECRET, "encode", text)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "not a JSON object" in err


def test_a_claim_of_the_wrong_type_is_named(run: Run) -> None:
    status, out, err = run("--secret", SECRET, "encode", '{"iss": 1}')
    assert (status, out) == (2, "")
    assert "iss" in err


def test_a_token_for_somebody_else_decodes(run: Run) -> None:
    assert run("--secret", SECRET, "decode", signed({"aud": "other"})).status == 0


def deep_header() -> str:
    """A token whose header is nested deeper than a parser goes."""
    deep = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 100_000).rstrip(b"=").decode()
    return f"{deep}.e30.AAAA"


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (signed({}, "another secret, which is 32 bytes long"), "signature"),
        (signed({"exp": 1}), "expired"),
        (signed({"nbf": time.time() + 3600}), "not valid yet"),
        (signed({}, SECRET * 2, "HS512"), "HS256"),
        (signed({}, "", "none"), "HS256"),
        (signed({"sub": 7}), "claim"),
        (signed({"exp": "x"}), "claim|not a JWT"),
        ("", "not a JWT"),
        ("secret-looking-word", "not a JWT"),
        ("a.b.c", "not a JWT"),
        ("é.b.c", "not a JWT"),
        ("\udcff.b.c", "not a JWT"),
        (deep_header(), "not a JWT"),
    ],
)
def test_a_token_that_does_not_verify_is_one_sentence_without_it(
    run: Run, shown: str, reason: str
) -> None:
    status, out, err = run("--secret", SECRET, "decode", shown)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert any(words in err for words in reason.split("|"))
    assert SECRET not in err
    assert not shown or shown not in err


def test_the_name_of_the_program_is_that_of_the_caller(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        token.main(["--help"], prog="jwt_util.py")
    assert "usage: jwt_util.py" in capsys.readouterr().out

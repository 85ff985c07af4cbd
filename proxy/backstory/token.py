"""``backstory token``: makes and reads the JWTs that clients show to the proxy.

Exit status: 0; 1 where a token does not verify; 2 where the command line is wrong. The reason is
one sentence on stderr that holds neither the token nor the secret.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import TextIO

import jwt
from jwt.warnings import InsecureKeyLengthWarning

from backstory.jsonbody import NotJson, dump, read_object

ALGORITHM = "HS256"
"""What tokens are signed with. Never read from the token: RFC 8725 section 3.1."""

SECRET_VARIABLES = ("BACKSTORY_JWT_SECRET", "JWT_SECRET")
"""Where the secret is looked for without ``--secret``; the first that is not empty wins."""

_SHORTEST_BYTES = 32  # RFC 7518 section 3.2: as long as the hash
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (  # the first that fits
    (jwt.InvalidSignatureError, "the signature was not made with this secret"),
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidAlgorithmError, f"the token is not signed with {ALGORITHM}"),
    (jwt.DecodeError, "this is not a JWT"),
)


class _UsageError(Exception):
    """The command line cannot be carried out; the text says what to change."""


def main(argv: Sequence[str], *, prog: str = "backstory token") -> int:
    """Run ``[--secret S] encode JSON | decode TOKEN`` and return the exit status."""
    arguments = _parser(prog).parse_args(argv)
    try:
        secret = _secret(arguments.secret, os.environ)
        if arguments.command == "encode":
            _say(sys.stdout, encode(arguments.json, secret))
        else:
            _say(sys.stdout, dump(decode(" ".join(arguments.token), secret)).decode())
    except _UsageError as exc:
        _say(sys.stderr, f"{prog}: {exc}")
        return 2
    except jwt.InvalidKeyError:
        _say(sys.stderr, f"{prog}: the secret is a key pair's half; {ALGORITHM} shares one secret")
        return 2
    except jwt.PyJWTError as exc:
        _say(sys.stderr, f"{prog}: {_reason(exc)}")
        return 1
    if len(secret) < _SHORTEST_BYTES:
        _say(sys.stderr, f"{prog}: the secret is weak: {ALGORITHM} wants {_SHORTEST_BYTES} bytes")
    return 0


def encode(text: str, secret: bytes) -> str:
    """The signed token whose claims are the JSON object in ``text``."""
    try:
        claims = read_object(os.fsencode(text))
    except NotJson as exc:
        raise _UsageError(
            'the claims are not a JSON object such as {"team_id": "a", "token_id": "b"}'
        ) from exc
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)  # said once, by main
            return jwt.encode(claims, secret, ALGORITHM)
    except TypeError as exc:  # PyJWT: the claim "iss" must be a string
        raise _UsageError(str(exc)) from exc


def decode(token: str, secret: bytes) -> dict[str, object]:
    """The claims of ``token``, with or without ``Bearer`` in front.

    Raises:
        jwt.PyJWTError: it does not verify. Claims are optional, but ``exp`` and ``nbf`` are
            obeyed where they are. Whom it is for (``aud``) is not asked.
    """
    scheme, _, rest = token.strip().partition(" ")
    bare = rest.strip() if scheme.lower() == "bearer" else token.strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            claims: dict[str, object] = jwt.decode(
                bare, secret, algorithms=[ALGORITHM], options={"verify_aud": False}
            )
    except UnicodeError as exc:  # PyJWT lets it through: a token that is no UTF-8
        raise jwt.DecodeError("unreadable") from exc
    return claims


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Make or read a client's token.")
    about = f"the clients' secret; else ${' or $'.join(SECRET_VARIABLES)}"
    parser.add_argument("--secret", help=about)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("encode", help="print the token that says these claims")
    made.add_argument("json", metavar="JSON", help="the claims, one object")
    read = commands.add_parser("decode", help="print the claims of a token that verifies")
    # Any number of words: "Bearer" unquoted is no reason for argparse to print the second one.
    read.add_argument("token", metavar="TOKEN", nargs="+", help="'Bearer' may stand before it")
    for command in (made, read):  # the option may stand after the command, too
        command.add_argument("--secret", default=argparse.SUPPRESS, help=about)
    return parser


def _secret(given: str | None, environment: Mapping[str, str]) -> bytes:
    if given == "":
        raise _UsageError("--secret is empty: is the variable that it was made from set?")
    found = given or next(filter(None, map(environment.get, SECRET_VARIABLES)), None)
    if found is None:
        raise _UsageError(f"no secret: give --secret, or set {' or '.join(SECRET_VARIABLES)}")
    return os.fsencode(found)  # the bytes as they were typed, UTF-8 or not


def _reason(error: jwt.PyJWTError) -> str:
    for kind, sentence in _REASONS:
        if isinstance(error, kind):
            return sentence
    return f"a claim is not valid: {error}"


def _say(stream: TextIO, line: str) -> None:
    stream.write(line + "\n")

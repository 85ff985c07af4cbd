"""A token that was verified is known until it expires, and no longer."""

import time
from datetime import datetime, tzinfo

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from backstory.errors import BackstoryError
from backstory.exchange import EXCHANGE, Exchange
from backstory.model import Identity
from backstory.settings import AuthSettings, Secret
from backstory.stages.auth import MAX_KNOWN_TOKENS, TokenVerifier

SECRET = "a secret of at least thirty-two bytes"


class Clock:
    """Seconds since the epoch, for us and for PyJWT."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        clock = self

        class Then(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> "Then":
                return cls.fromtimestamp(clock.now, tz)

        monkeypatch.setattr("jwt.api_jwt.datetime", Then)

    def __call__(self) -> float:
        return self.now


def asked(verifier: TokenVerifier, token: str) -> Identity:
    request = make_mocked_request("GET", "/p", headers={"Authorization": f"Bearer {token}"})
    assert isinstance(request, web.Request)
    request[EXCHANGE] = exchange = Exchange("x", "/p", 0.0)
    return verifier(request, exchange)


def verifier_at(clock: Clock) -> TokenVerifier:
    settings = AuthSettings(jwt_secret=Secret(SECRET), jwt_leeway_seconds=10.0)
    return TokenVerifier(settings, strict=False, clock=clock)


def test_a_known_token_is_not_verified_again_and_expires_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    verifier = verifier_at(clock)
    token = jwt.encode({"sub": "ann", "exp": int(clock.now) + 100}, SECRET, "HS256")
    first = asked(verifier, token)
    with monkeypatch.context() as patch:
        patch.setattr(verifier, "verify", lambda _: pytest.fail("verified again"))
        assert asked(verifier, token) is first
        clock.now += 105
        assert asked(verifier, token) is first, "within the leeway"
    clock.now += 10
    with pytest.raises(BackstoryError) as caught:
        asked(verifier, token)
    assert caught.value.code == "expired_token"


def test_only_what_was_verified_is_known_and_not_too_much_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verifier = verifier_at(Clock(monkeypatch))
    names = [f"user {number}" for number in range(MAX_KNOWN_TOKENS + 5)]
    tokens = [jwt.encode({"sub": name}, SECRET, "HS256") for name in names]
    assert [asked(verifier, token).owner.subject for token in tokens] == names
    assert len(verifier._verified) == MAX_KNOWN_TOKENS
    for wrong in (tokens[-1] + "=", tokens[-1][:-1], tokens[-1].swapcase()):
        with pytest.raises(BackstoryError):
            asked(verifier, wrong[:-1] + ("A" if wrong[-1] != "A" else "B"))
    assert len(verifier._verified) == MAX_KNOWN_TOKENS

"""Cookies and tokens that are not what they should be."""

import base64
import json
import time
import warnings
from collections.abc import Iterator

import jwt
import pytest
from tests.wire.clients import request
from tests.wire.conftest import SECRET, StartProxy, token
from tests.wire.talking import (
    APIS,
    AUTHORIZATION,
    FALCON,
    NAMED,
    Api,
    Scene,
    ask,
    nothing_broke,
    one,
    refused,
    say,
    stored,
)
from tests.wire.upstreams import RecordingUpstream

from backstory.keys import Ring
from backstory.model import Owner
from backstory.session import CookieSeal, Ticket
from backstory.settings import Secret

KEY = "the key of the cookie, also thirty-two bytes"
MONTH = 30 * 86400.0
ADA = Owner("acme", "ada")


@pytest.fixture(autouse=True)
def _no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    nothing_broke(caplog)


def sealed(age: float = 0.0, owner: Owner = ADA, key: str = KEY, name: str = "backstory") -> str:
    """A cookie for the conversation ``c``."""
    seal = CookieSeal(Ring([key.encode()]), MONTH)
    return seal.seal(Ticket("c", time.time() - age), owner, name)


GOOD = sealed()
FLIPPED = GOOD[:-1] + ("A" if GOOD[-1] != "A" else "B")
COOKIES = {
    "empty": ("", "bad_cookie"),
    "garbage": ("hello", "bad_cookie"),
    "quoted": (f'"{GOOD}"', "bad_cookie"),
    "dots": ("....", "bad_cookie"),
    "no key": ("v1..AAAA", None),
    "no base64": ("v1.x.%%%", "bad_cookie"),
    "not ASCII": ("é", "bad_cookie"),
    "long": ("v1.x." + "A" * 9000, "bad_cookie"),
    "short": (GOOD[:-20], "bad_cookie"),
    "with an end": (GOOD + "A", "bad_cookie"),
    "another version": ("v2" + GOOD[2:], "bad_cookie"),
    "a bit flipped": (FLIPPED, "bad_cookie"),
    "of another name": (sealed(name="__Host-backstory"), "bad_cookie"),
    "of an unknown key": (sealed(key="another key"), "retired_key"),
    "of somebody else": (sealed(owner=Owner("acme", "bob")), "foreign_cookie"),
    "of another tenant": (sealed(owner=Owner("evil", "ada")), "foreign_cookie"),
    "expired": (sealed(age=MONTH + 1), "expired_cookie"),
    "from the future": (sealed(age=-86400), "expired_cookie"),
}


@pytest.mark.parametrize(("value", "reason"), COOKIES.values(), ids=COOKIES)
@pytest.mark.parametrize("api", APIS, ids=str)
async def test_a_cookie_that_does_not_count_is_replaced(
    api: Api,
    value: str,
    reason: str | None,
    recording_upstream: RecordingUpstream,
    start_proxy: StartProxy,
) -> None:
    proxy = await start_proxy(recording_upstream.url, session_secret=Secret(KEY))
    scene = Scene(api, recording_upstream, proxy)
    await scene.begin()
    answer = await ask(proxy, api.target, api.good, ("Cookie", f"backstory={value}"))
    assert answer.status == 200
    receipt = one(answer, b"Backstory-Memory") or ""
    assert receipt.startswith("new;turns=0;")
    assert "reason=" in receipt if reason is None else f"reason={reason}" in receipt
    assert (one(answer, b"Set-Cookie") or "").startswith("backstory=v1.")
    assert b"one" not in scene.upstream.requests[1].body
    assert scene.upstream.requests[1].values(b"cookie") == []
    await scene.is_intact(asked=2)


@pytest.mark.parametrize("cookie", [f"backstory={GOOD}", f"backstory=x; backstory={GOOD}"])
async def test_a_cookie_that_counts_is_honoured_and_not_set_again(
    cookie: str, recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    """Also behind one that does not count, which another path or domain may have set."""
    proxy = await start_proxy(recording_upstream.url, session_secret=Secret(KEY))
    await Scene(FALCON, recording_upstream, proxy).begin()
    answer = await ask(proxy, FALCON.target, FALCON.good, ("Cookie", cookie))
    assert one(answer, b"Backstory-Conversation") == "c"
    assert (one(answer, b"Backstory-Memory") or "").startswith("hit;turns=1;")
    assert one(answer, b"Set-Cookie") is None


async def test_garbage_in_the_cookie_field_itself_is_passed_on(
    recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    cookie = ';;=; a; =b; "x;y" ; [\x7f]; c=d=e;'.replace("\x7f", "~")
    assert (await ask(proxy, FALCON.target, FALCON.good, ("Cookie", cookie))).status == 200
    assert recording_upstream.requests[0].values(b"cookie") == [cookie.encode()]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_cannot_use_the_cookie(
    site: str, recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(recording_upstream.url, session_secret=Secret(KEY))
    scene = Scene(FALCON, recording_upstream, proxy)
    await scene.begin()
    fields = (("Cookie", f"backstory={GOOD}"), ("Sec-Fetch-Site", site))
    refused(FALCON, await ask(proxy, FALCON.target, FALCON.good, *fields), 403, "cross_site")
    await scene.is_intact(asked=1)


def raw_token(claims: bytes) -> str:
    """Any bytes as claims, signed properly."""
    return jwt.api_jws.encode(claims, SECRET, "HS256")


def signed(secret: str, algorithm: str) -> str:
    """A token that would do with the right secret and algorithm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the secret is short for HS512
        return jwt.encode({"sub": "ada", "team_id": "acme"}, secret, algorithm)


def unsigned(algorithm: str) -> str:
    """A token without a signature."""
    parts = [json.dumps({"alg": algorithm}).encode(), b'{"sub":"ada","team_id":"acme"}']
    spelled = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts]
    return ".".join([*spelled, ""])


NOW = int(time.time())
CLAIMS = {
    "exp a word": b'{"sub": "ada", "exp": "soon"}',
    "exp without end": b'{"sub": "ada", "exp": 1e999}',
    "exp not a number": b'{"sub": "ada", "exp": NaN}',
    "nbf without end": b'{"sub": "ada", "nbf": 1e999}',
    "iat without end": b'{"sub": "ada", "iat": 1e999}',
    "a list": b"[]",
    "no JSON": b"hello",
    "deep": b"[" * 5000,
    "no subject": b"{}",
    "an empty subject": b'{"sub": ""}',
    "a blank subject": b'{"sub": " "}',
    "a subject with a line end": b'{"sub": "a\\nb"}',
    "a number as subject": b'{"sub": 7}',
    "half a character": b'{"sub": "\\ud800"}',
    "a list as tenant": b'{"sub": "ada", "team_id": []}',
}
TOKENS: dict[str, tuple[str | None, str]] = {
    "none": (None, "missing_token"),
    "empty": ("", "missing_token"),
    "another scheme": ("Basic YTpi", "missing_token"),
    "only a scheme": ("Bearer ", "invalid_token"),
    "garbage": ("Bearer hello", "invalid_token"),
    "dots": ("Bearer ..", "invalid_token"),
    "two words": (f"Bearer {token()} {token()}", "invalid_token"),
    "not ASCII": ("Bearer é.é.é", "invalid_token"),
    "too long": (f"Bearer {token(x='x' * 9000)}", "invalid_token"),
    "alg none": (f"Bearer {unsigned('none')}", "invalid_token"),
    "alg HS256 unsigned": (f"Bearer {unsigned('HS256')}", "invalid_token"),
    "another algorithm": (f"Bearer {signed(SECRET, 'HS512')}", "invalid_token"),
    "another secret": (f"Bearer {signed(SECRET[::-1], 'HS256')}", "invalid_token"),
    "cut": (f"Bearer {token()[:-3]}", "invalid_token"),
    "expired": (f"Bearer {token(exp=NOW - 3600)}", "expired_token"),
    "not yet": (f"Bearer {token(nbf=NOW + 3600)}", "invalid_token"),
    "issued in the future": (f"Bearer {token(iat=NOW + 3600)}", "invalid_token"),
    **{name: (f"Bearer {raw_token(claims)}", "invalid_token") for name, claims in CLAIMS.items()},
}


@pytest.mark.parametrize(("value", "code"), TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("target", [*(api.target for api in APIS), "/v1/models"])
async def test_a_bad_token_is_refused(
    value: str | None,
    code: str,
    target: str,
    recording_upstream: RecordingUpstream,
    start_proxy: StartProxy,
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    fields: list[tuple[str, str]] = [NAMED]
    if value is not None:
        fields.append(("Authorization", value))
    answer = await say(proxy.url, request("POST", target, {"text": "Hi"}, *fields))
    refused(next((api for api in APIS if api.target == target), None), answer, 401, code)
    challenge = one(answer, b"WWW-Authenticate") or ""
    assert challenge.startswith("Bearer ")
    if value and " " in value:
        said = value.partition(" ")[2]
        assert not said or said not in challenge + answer.content.decode()
    assert recording_upstream.connections == []
    assert await stored(proxy) == []


@pytest.mark.parametrize(
    "field",
    [
        AUTHORIZATION,
        ("authorization", f"bearer  {token()}"),
        ("x-api-key", token()),
        ("api-key", token()),
        ("x-goog-api-key", token()),
    ],
    ids=lambda field: field[0],
)
async def test_a_token_counts_wherever_sdks_put_it(
    field: tuple[str, str], recording_upstream: RecordingUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(recording_upstream.url)
    answer = await say(proxy.url, request("POST", FALCON.target, FALCON.good, NAMED, field))
    assert answer.status == 200
    assert await stored(proxy) == ["ok"]

"""The table of tokens: which verify, whom they name, and what is said of those that do not."""

import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.proxy.stages.tokens import FINE, bearer, serve, signed, token

from backstory.settings import Secret

if TYPE_CHECKING:
    from tests.proxy.conftest import Start

NOW = int(time.time())
DAY = 86400
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
HEAD, BODY, MARK = FINE.split(".")

OWNERS: dict[str, tuple[str, tuple[str, str]]] = {
    "sub": (token(sub="ann"), ("default", "ann")),
    "token_id": (token(token_id="debug-test"), ("default", "debug-test")),
    "sub before token_id": (token(sub="ann", token_id="bob"), ("default", "ann")),
    "team_id": (token(sub="ann", team_id="tenstorrent"), ("tenstorrent", "ann")),
    "iss": (token(sub="ann", iss="https://idp/"), ("https://idp/", "ann")),
    "team_id before iss": (token(sub="ann", iss="i", team_id="t"), ("t", "ann")),
    "team_id null": (signed('{"sub":"ann","team_id":null,"iss":"i"}'), ("i", "ann")),
    "of the first deployment": (
        token(team_id="tenstorrent", token_id="debug-test"),
        ("tenstorrent", "debug-test"),
    ),
    "not ASCII": (token(sub="Zo\xeb \N{SNOWMAN}"), ("default", "Zo\xeb \N{SNOWMAN}")),
    "blanks inside": (token(sub=" a b "), ("default", " a b ")),
    "like a path": (token(sub="../../x", team_id="/"), ("/", "../../x")),
    "like SQL": (token(sub="' OR 1=1 --"), ("default", "' OR 1=1 --")),
    "long": (token(sub="x" * 5000), ("default", "x" * 5000)),
    "exp ahead": (token(sub="ann", exp=NOW + DAY), ("default", "ann")),
    "exp as text": (signed(f'{{"sub":"ann","exp":"{NOW + DAY}"}}'), ("default", "ann")),
    "exp in year 2343": (token(sub="ann", exp=11_771_000_000), ("default", "ann")),
    "aud null": (signed('{"sub":"ann","aud":null}'), ("default", "ann")),
    "duplicate sub: the last": (signed('{"sub":"eve","sub":"ann"}'), ("default", "ann")),
    "kid that is a path": (
        signed('{"sub":"ann"}', b'{"alg":"HS256","kid":"../../../../dev/null"}'),
        ("default", "ann"),
    ),
    "kid that is SQL": (
        signed('{"sub":"ann"}', b'{"alg":"HS256","kid":"x\' UNION SELECT \'k"}'),
        ("default", "ann"),
    ),
    "jwk in the header is not asked": (
        signed(
            '{"sub":"ann"}', b'{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"},"jku":"http://e/"}'
        ),
        ("default", "ann"),
    ),
    "another typ": (signed('{"sub":"ann"}', b'{"alg":"HS256","typ":"at+jwt"}'), ("default", "ann")),
    "conversation_id": (token(sub="ann", conversation_id="c1"), ("default", "ann")),
}

INVALID = {
    "another secret": token("another secret, that is long enough for anybody", sub="ann"),
    "the empty secret": signed('{"sub":"ann"}', key=b""),
    "a nul as secret": signed('{"sub":"ann"}', key=b"\0"),
    "one bit of the mark": f"{HEAD}.{BODY}.{'A' if MARK[0] != 'A' else 'B'}{MARK[1:]}",
    "the mark of another": f"{HEAD}.{BODY}.{token(sub='bob').split('.')[2]}",
    "claims of another": f"{HEAD}.{token(sub='bob').split('.')[1]}.{MARK}",
    "no mark": f"{HEAD}.{BODY}.",
    "half a mark": FINE[:-20],
    "alg none": jwt.encode({"sub": "ann"}, "", "none"),
    "alg None": signed('{"sub":"ann"}', b'{"alg":"None"}'),
    "alg none with a mark": signed('{"sub":"ann"}', b'{"alg":"none"}'),
    "alg null": signed('{"sub":"ann"}', b'{"alg":null}'),
    "alg a list": signed('{"sub":"ann"}', b'{"alg":["HS256"]}'),
    "alg an object": signed('{"sub":"ann"}', b'{"alg":{}}'),
    "alg missing": signed('{"sub":"ann"}', b"{}"),
    "alg in lower case": signed('{"sub":"ann"}', b'{"alg":"hs256"}'),
    "alg twice": signed('{"sub":"ann"}', b'{"alg":"HS256","alg":"none"}'),
    "HS512 where only HS256 is": token(algorithm="HS512", sub="ann"),
    "HS384 where only HS256 is": token(algorithm="HS384", sub="ann"),
    "RS256 where only HS256 is": jwt.encode({"sub": "ann"}, RSA, "RS256"),
    "RS256 with our secret as HMAC": signed('{"sub":"ann"}', b'{"alg":"RS256"}'),
    "HMAC with a public key": signed('{"sub":"ann"}', key=PUBLIC),
    "kid a number": signed('{"sub":"ann"}', b'{"alg":"HS256","kid":5}'),
    "crit unknown": signed('{"sub":"ann"}', b'{"alg":"HS256","crit":["x"]}'),
    "b64 false": signed('{"sub":"ann"}', b'{"alg":"HS256","b64":false,"crit":["b64"]}'),
    "header a list": signed('{"sub":"ann"}', b"[]"),
    "header a text": signed('{"sub":"ann"}', b'"HS256"'),
    "header not JSON": signed('{"sub":"ann"}', b"\xff\xfe"),
    "header a bomb": signed('{"sub":"ann"}', b"[" * 3000),
    "claims a list": signed("[]"),
    "claims a text": signed('"ann"'),
    "claims null": signed("null"),
    "claims not JSON": signed("{"),
    "claims empty": signed(""),
    "claims not UTF-8": signed(b'{"sub":"\xff"}'),
    "claims a bomb of lists": signed('{"sub":"ann","x":' + "[" * 4000 + "}"),
    "claims a bomb of objects": signed('{"sub":' * 800),
    "claims a bomb that closes": signed('{"sub":"ann","x":' + "[" * 2400 + "]" * 2400 + "}"),
    "claims a huge number": signed('{"sub":"ann","exp":' + "9" * 4400 + "}"),
    "nbf ahead": token(sub="ann", nbf=NOW + DAY),
    "iat ahead": token(sub="ann", iat=NOW + DAY),
    "exp a list": signed('{"sub":"ann","exp":[]}'),
    "exp an object": signed('{"sub":"ann","exp":{}}'),
    "exp null": signed('{"sub":"ann","exp":null}'),
    "exp a word": signed('{"sub":"ann","exp":"never"}'),
    "exp infinite": signed('{"sub":"ann","exp":1e400}'),
    "exp Infinity": signed('{"sub":"ann","exp":Infinity}'),
    "exp NaN": signed('{"sub":"ann","exp":NaN}'),
    "nbf infinite": signed('{"sub":"ann","nbf":1e400}'),
    "iat infinite": signed('{"sub":"ann","iat":-1e400}'),
    "aud that nobody configured": token(sub="ann", aud="somebody"),
    "aud a list": token(sub="ann", aud=["somebody"]),
    "no subject": token(team_id="t"),
    "no claims": token(),
    "sub empty": token(sub=""),
    "sub empty, token_id fine": token(sub="", token_id="bob"),
    "sub blank": token(sub=" \t"),
    "sub a no-break space": token(sub="\xa0"),
    "sub with a line end": token(sub="ann\nbob"),
    "sub with a nul": token(sub="ann\0"),
    "sub with DEL": token(sub="ann\x7f"),
    "sub turns the line around": token(sub="ann\u202e"),
    "sub half a character": signed('{"sub":"\\ud800"}'),
    "sub null, token_id fine": signed('{"sub":null,"token_id":"bob"}'),
    "sub a number": signed('{"sub":5}'),
    "sub a list": signed('{"sub":["ann"]}'),
    "sub an object": signed('{"sub":{"a":1}}'),
    "sub true": signed('{"sub":true}'),
    "token_id a number": token(token_id=5),
    "token_id empty": token(token_id=""),
    "team_id a number": token(sub="ann", team_id=5),
    "team_id empty": token(sub="ann", team_id=""),
    "team_id blank": token(sub="ann", team_id=" "),
    "team_id a list": token(sub="ann", team_id=["t"]),
    "team_id with a nul": token(sub="ann", team_id="t\0"),
    "iss a number": signed('{"sub":"ann","iss":5}'),
    "iss empty": token(sub="ann", iss=""),
    "two dots too few": HEAD,
    "one dot too few": f"{HEAD}.{BODY}",
    "one dot too many": f"{FINE}.",
    "five parts": f"{FINE}.{HEAD}.{BODY}",
    "only dots": "..",
    "not base64": f"{HEAD}.!!!!.{MARK}",
    "standard base64": f"{HEAD}.+/+/.{MARK}",
    "a word": "canary",
    "not ASCII at all": "caf\xe9.\N{SNOWMAN}.x",
    "too long": token(sub="x" * 8192),
    "too long, and junk": "A" * 9000,
}

EXPIRED = {
    "a moment beyond the leeway": token(sub="ann", exp=NOW - 120),
    "long ago": token(sub="ann", exp=1),
    "zero": token(sub="ann", exp=0),
    "negative": token(sub="ann", exp=-1),
    "text": signed('{"sub":"ann","exp":"1"}'),
    "true is one": signed('{"sub":"ann","exp":true}'),
    "of no subject": token(exp=1),
}


@pytest.mark.parametrize(("text", "owner"), OWNERS.values(), ids=OWNERS)
async def test_a_token_that_verifies_says_who_is_asking(
    start: "Start", text: str, owner: tuple[str, str]
) -> None:
    got = await (await serve(start)).get("/p", bearer(text))
    assert got.status == 200
    assert json.loads(got.body)["owner"] == list(owner)
    assert json.loads(got.body)["anonymous"] is False


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
async def test_a_token_that_does_not_verify_is_refused(start: "Start", text: str) -> None:
    proxy = await serve(start)
    got = await proxy.get("/p", bearer(text))
    assert (got.status, got.headers["Backstory-Error"]) == (401, "invalid_token")
    challenge = got.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="backstory", error="invalid_token", error_desc')
    assert challenge.count('"') == 6
    said = f"{got.headers} {got.body!r}"
    parts = [part for part in text.split(".") if len(part) > 4]
    assert not any(part in said for part in parts), "the token is told nowhere"
    assert (await proxy.post("/v1/chat/completions", bearer(text))).status == 401


@pytest.mark.parametrize("text", EXPIRED.values(), ids=EXPIRED)
async def test_a_token_that_has_expired_is_said_to_have(start: "Start", text: str) -> None:
    got = await (await serve(start)).get("/p", bearer(text))
    assert (got.status, got.headers["Backstory-Error"]) == (401, "expired_token")
    assert 'error="invalid_token"' in got.headers["WWW-Authenticate"]
    assert "expired" in json.loads(got.body)["detail"]


async def test_what_is_too_long_is_no_token(start: "Start") -> None:
    proxy = await serve(start)
    for size in (8193, 15_000):
        got = await proxy.get("/p", bearer("A" * size))
        assert (got.status, got.headers["Backstory-Error"]) == (401, "invalid_token")
    beyond = await proxy.raw(
        b"GET /p HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + b"A" * 20_000 + b"\r\n\r\n"
    )
    assert beyond.startswith(b"HTTP/1.0 400 ")


@pytest.mark.parametrize("settings", [{"require_exp": True}, {"strict": True}])
async def test_tokens_without_an_end_may_be_refused(
    start: "Start", settings: dict[str, Any]
) -> None:
    proxy = await serve(start, **settings)
    got = await proxy.get("/p", bearer(FINE))
    assert (got.status, got.headers["Backstory-Error"]) == (401, "invalid_token")
    assert "exp" in json.loads(got.body)["detail"]
    assert (await proxy.get("/p", bearer(token(sub="ann", exp=NOW + DAY)))).status == 200


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -30), ("nbf", 30), ("iat", 30)])
async def test_clocks_may_be_a_little_apart(start: "Start", claim: str, seconds: int) -> None:
    text = signed(json.dumps({"sub": "ann", claim: int(time.time()) + seconds}))
    assert (await (await serve(start)).get("/p", bearer(text))).status == 200


async def test_the_leeway_is_a_setting(start: "Start") -> None:
    proxy = await serve(start, jwt_leeway_seconds=0.0)
    early = (token(sub="ann", nbf=NOW + DAY), token(sub="ann", iat=NOW + DAY))
    for text in (token(sub="ann", exp=NOW - 5), *early):
        assert (await proxy.get("/p", bearer(text))).status == 401
    wide = await serve(start, jwt_leeway_seconds=900.0)
    assert (
        await wide.get("/p", bearer(token(sub="ann", exp=int(time.time()) - 300)))
    ).status == 200


async def test_the_algorithms_are_a_setting(start: "Start") -> None:
    proxy = await serve(start, jwt_algorithms=("HS384", "HS512"))
    assert (await proxy.get("/p", bearer(FINE))).status == 401
    for algorithm in ("HS384", "HS512"):
        text = token(algorithm=algorithm, sub="ann")
        assert (await proxy.get("/p", bearer(text))).status == 200


async def test_a_short_secret_of_the_first_deployment_works(start: "Start") -> None:
    proxy = await serve(start, jwt_secret=Secret("short"))
    assert (await proxy.get("/p", bearer(signed('{"sub":"ann"}', key=b"short")))).status == 200
    assert (await proxy.get("/p", bearer(signed('{"sub":"ann"}', key=b"shor")))).status == 401


async def test_a_secret_is_the_bytes_that_were_typed(start: "Start") -> None:
    proxy = await serve(start, jwt_secret=Secret("\udcff\udcfe" * 20))
    text = signed('{"sub":"ann"}', key=b"\xff\xfe" * 20)
    assert (await proxy.get("/p", bearer(text))).status == 200


@pytest.mark.parametrize(
    ("claim", "conversation"),
    [
        ("c1", "c1"),
        ("new", "new"),
        ("~" * 256, "~" * 256),
        ("", None),
        ("a b", None),
        ("x" * 257, None),
        ("\N{SNOWMAN}", None),
        (5, None),
        (["c1"], None),
        (None, None),
    ],
)
async def test_a_token_may_name_a_conversation(
    start: "Start", claim: object, conversation: str | None
) -> None:
    got = await (await serve(start)).get("/p", bearer(token(sub="ann", conversation_id=claim)))
    assert json.loads(got.body)["conversation"] == conversation


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("backstory:admin read", ["backstory:admin", "read"]),
        ("", []),
        (["backstory:admin"], []),
        (None, []),
    ],
)
async def test_scopes_are_words_in_one_text(
    start: "Start", scope: object, scopes: list[str]
) -> None:
    got = await (await serve(start)).get("/p", bearer(token(sub="ann", scope=scope)))
    assert json.loads(got.body)["scopes"] == scopes

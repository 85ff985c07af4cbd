"""The session cookie: sealed, bound to owner and name, and no input makes it raise."""

import base64
from email.utils import parsedate_to_datetime
from http.cookies import Morsel, SimpleCookie

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from backstory.keys import Ring
from backstory.model import Owner
from backstory.session import MAX_COOKIE_BYTES, CookieSeal, CookieSession, CookieStorage, Ticket

ANN = Owner("acme", "ann")
NAME = "backstory"
DAY = 86400.0
NOW = 1_800_000_000.0
RING = Ring([b"root"])
SEAL = CookieSeal(RING, 30 * DAY)
COOKIE = SEAL.seal(Ticket("conv_1", NOW), ANN, NAME).encode()


def opened(value: bytes, owner: Owner = ANN, name: str = NAME, now: float = NOW) -> object:
    return SEAL.open(value, owner, name, now)


def test_a_ticket_comes_out_as_it_went_in() -> None:
    assert opened(COOKIE) == Ticket("conv_1", NOW)


def test_two_seals_of_one_ticket_differ() -> None:
    assert SEAL.seal(Ticket("conv_1", NOW), ANN, NAME).encode() != COOKIE


def test_a_cookie_shows_neither_conversation_nor_owner() -> None:
    value = SEAL.seal(Ticket("c" * 60, NOW), Owner("t" * 60, "s" * 60), NAME)
    plain = base64.urlsafe_b64decode(value.rpartition(".")[2] + "==")
    assert not any(letter * 3 in plain for letter in (b"c", b"t", b"s"))


def test_no_cookie_with_a_flipped_bit_opens() -> None:
    for bit in range(len(COOKIE) * 8):
        flipped = bytearray(COOKIE)
        flipped[bit // 8] ^= 1 << bit % 8
        assert opened(bytes(flipped)) in ("bad_cookie", "retired_key"), bit


def test_no_part_of_a_cookie_opens() -> None:
    for length in range(len(COOKIE)):
        assert opened(COOKIE[:length]) in ("bad_cookie", "retired_key")
        assert opened(COOKIE + COOKIE[: length + 1]) in ("bad_cookie", "retired_key")


@pytest.mark.parametrize(
    "junk", [b"=", b"==", b" ", b"\n", b"-", b"_", b"A", b"*", b".", b"\xff", b"\0"]
)
def test_a_cookie_has_one_spelling_only(junk: bytes) -> None:
    for value in (COOKIE + junk, junk + COOKIE, COOKIE[:20] + junk + COOKIE[20:]):
        assert opened(value) in ("bad_cookie", "retired_key")


GARBAGE = [
    b"",
    b".",
    b"..",
    b"...",
    b"v1..",
    b"v1.x.",
    b"v1.\xff.AAAA",
    b"v2" + COOKIE[2:],
    b"v1." + COOKIE[3:11] + b".",
    b"v1." + COOKIE[3:11] + b".A",
    b"v1." + COOKIE[3:11] + b".AAAA",
    b"v1." + COOKIE[3:11] + b"." + b"A" * 16,
    b"v1." + COOKIE[3:11] + b"." + b"A" * 900,
    b"v1." + COOKIE[3:11] + b"." + b"A" * 100_000,
    COOKIE * 2,
    COOKIE.upper(),
    b'"' + COOKIE + b'"',
    b"\xff",
    b"\x00" * 100,
    "конверсия".encode(),
    b"gAAAAABh",
    b"eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
]


@pytest.mark.parametrize("value", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_a_bad_cookie(value: bytes) -> None:
    assert opened(value) in ("bad_cookie", "retired_key")


@given(st.binary(max_size=1100))
def test_no_bytes_raise(value: bytes) -> None:
    assert opened(value) in ("bad_cookie", "retired_key")


@given(st.binary(max_size=700), st.sampled_from([b"v1", b"v2"]))
def test_no_ciphertext_raises(sealed: bytes, version: bytes) -> None:
    kid = COOKIE.split(b".")[1]
    text = base64.urlsafe_b64encode(sealed).rstrip(b"=")
    assert opened(b".".join((version, kid, text))) == "bad_cookie"


@pytest.mark.parametrize(
    "owner",
    [
        Owner("acme", "bob"),
        Owner("other", "ann"),
        Owner("acm", "eann"),
        Owner("ann", "acme"),
        Owner("", ""),
        Owner('acme", "ann', ""),
    ],
)
def test_it_opens_for_its_owner_only(owner: Owner) -> None:
    assert opened(COOKIE, owner) == "foreign_cookie"


def test_an_owner_may_have_any_name() -> None:
    owner = Owner("\N{SNOWMAN}", 'a"b\\c' * 300)
    value = SEAL.seal(Ticket("conv_1", NOW), owner, NAME).encode()
    assert opened(value, owner) == Ticket("conv_1", NOW)


def test_it_cannot_be_moved_to_the_other_name() -> None:
    assert opened(COOKIE, name="__Host-backstory") == "bad_cookie"


def test_another_purpose_of_the_same_secret_opens_nothing() -> None:
    ((kid, key),) = RING.keys("identity/v1").items()
    other = CookieSeal(Ring([key]), 30 * DAY)
    value = other.seal(Ticket("conv_1", NOW), ANN, NAME).split(".")
    assert opened(f"v1.{kid}.{value[2]}".encode()) == "bad_cookie"


def test_a_retired_key_is_said() -> None:
    assert CookieSeal(Ring([b"new"]), DAY).open(COOKIE, ANN, NAME, NOW) == "retired_key"


def test_an_old_key_opens_and_the_newest_seals() -> None:
    both = CookieSeal(Ring([b"new", b"root"]), 30 * DAY)
    assert both.open(COOKIE, ANN, NAME, NOW) == Ticket("conv_1", NOW)
    fresh = both.seal(Ticket("conv_2", NOW), ANN, NAME).encode()
    assert opened(fresh) == "retired_key"
    assert CookieSeal(Ring([b"new"]), 30 * DAY).open(fresh, ANN, NAME, NOW) == Ticket("conv_2", NOW)


@pytest.mark.parametrize(
    ("later", "valid"),
    [
        (0, True),
        (30 * DAY - 1, True),
        (30 * DAY, False),
        (40 * DAY, False),
        (-299, True),
        (-301, False),
    ],
)
def test_it_lasts_for_its_age_and_allows_for_a_clock_that_is_behind(
    later: float, valid: bool
) -> None:
    found = opened(COOKIE, now=NOW + later)
    assert found == (Ticket("conv_1", NOW) if valid else "expired_cookie")


@pytest.mark.parametrize("letter", ["a", "\\", '"', "~"])
def test_it_fits_whatever_the_name_of_the_conversation(letter: str) -> None:
    ticket = Ticket(letter * 256, NOW)
    value = SEAL.seal(ticket, ANN, "__Host-backstory").encode()
    assert len(value) < MAX_COOKIE_BYTES
    assert opened(value, name="__Host-backstory") == ticket


class Visit:
    """One request with these ``Cookie`` lines, and the cookie that its answer sets."""

    def __init__(
        self,
        *cookies: str,
        https: bool = False,
        owner: Owner = ANN,
        seal: CookieSeal = SEAL,
        now: float = NOW,
    ) -> None:
        lines = CIMultiDict[str]()
        for cookie in cookies:
            lines.add("Cookie", cookie)
        self.request = make_mocked_request("POST", "/", lines)
        self.storage = CookieStorage(seal, owner, https=https, clock=lambda: now)

    async def load(self) -> CookieSession:
        return await self.storage.load_session(self.request)

    async def save(self, session: CookieSession) -> "Morsel[str] | None":
        response = web.StreamResponse()
        await self.storage.save_session(self.request, response, session)
        lines = response.headers.getall("Set-Cookie", [])
        assert len(lines) <= 1
        return next(iter(SimpleCookie("".join(lines)).values()), None)


async def test_without_a_cookie_the_session_is_new_and_nothing_is_wrong() -> None:
    session = await Visit("a=1; other=2").load()
    assert (session.new, session.refusal, dict(session)) == (True, None, {})


@pytest.mark.parametrize("https", [True, False])
async def test_a_new_session_is_set_and_comes_back(https: bool) -> None:
    visit = Visit(https=https)
    session = await visit.load()
    session["conversation"] = "conv_9"
    cookie = await visit.save(session)
    assert cookie is not None
    assert cookie.key == ("__Host-backstory" if https else "backstory")
    assert bool(cookie["secure"]) is https
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert cookie["domain"] == ""
    assert cookie["max-age"] == str(30 * 86400)
    assert parsedate_to_datetime(cookie["expires"]).timestamp() == int(NOW + 30 * DAY)
    assert '"' not in cookie.OutputString()
    again = await Visit(f"a=1; {cookie.key}={cookie.value}", https=https).load()
    assert (again.new, again.refusal, again["conversation"]) == (False, None, "conv_9")
    other = await Visit(f"{cookie.key}={cookie.value}", https=not https).load()
    assert other.new


@pytest.mark.parametrize(
    ("later", "renewed"), [(0, False), (15 * DAY - 1, False), (15 * DAY, True)]
)
async def test_a_cookie_is_sent_again_only_when_half_expired(later: float, renewed: bool) -> None:
    visit = Visit(f"{NAME}={COOKIE.decode()}", now=NOW + later)
    cookie = await visit.save(await visit.load())
    assert (cookie is not None) is renewed
    if cookie is not None:
        assert opened(cookie.value.encode(), now=NOW + later) == Ticket("conv_1", NOW + later)


async def test_what_does_not_open_is_replaced_and_said() -> None:
    visit = Visit(f"{NAME}={COOKIE.decode()}", owner=Owner("acme", "bob"))
    session = await visit.load()
    assert (session.new, session.refusal) == (True, "foreign_cookie")
    session["conversation"] = "conv_2"
    cookie = await visit.save(session)
    assert cookie is not None
    assert opened(cookie.value.encode(), Owner("acme", "bob")) == Ticket("conv_2", NOW)


@pytest.mark.parametrize(
    "lines",
    [
        [f"{NAME}=junk; {NAME}={COOKIE.decode()}"],
        [f"{NAME}={COOKIE.decode()}; {NAME}=junk"],
        [f"{NAME}=junk", f"a=1; {NAME}={COOKIE.decode()}"],
        [f"{NAME}={COOKIE.decode()}", f"{NAME}=junk"],
        [f"{NAME}=\N{SNOWMAN};{NAME}={COOKIE.decode()}"],
    ],
)
async def test_of_several_cookies_the_one_that_opens_counts(lines: list[str]) -> None:
    session = await Visit(*lines).load()
    assert (session.new, session["conversation"]) == (False, "conv_1")


async def test_of_several_that_do_not_open_the_first_is_said() -> None:
    seal = CookieSeal(Ring([b"new"]), DAY)
    session = await Visit(f"{NAME}={COOKIE.decode()}; {NAME}=junk", seal=seal).load()
    assert session.refusal == "retired_key"

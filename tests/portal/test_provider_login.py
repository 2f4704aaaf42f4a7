"""A hospital's own OIDC provider as first factor: the detour, its forgeries, its outages (T29)."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

from mssmtp import providers as network
from mssmtp.codes import CodeRefused, CodeTooSoon
from mssmtp.config import StoreSettings
from mssmtp.config_notices import NoticeSettings
from mssmtp.config_tokens import ProviderSettings, check_first_factors
from mssmtp.demo.authority import Authority, Identity
from mssmtp.demo.provider import Client, Provider
from mssmtp.demo.web import https_context
from mssmtp.errors import ConfigError
from mssmtp.identity.detour import LIVES, DetourRefused, ProviderAway
from mssmtp.mail import AccountId, Address, PersonState, Structure, StructureId
from mssmtp.notices import Desk
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.portal import Portal, ProviderFirst
from mssmtp.provider_login import ProviderLogin, Started
from mssmtp.providers import HospitalProvider, Providers
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson
from tests.authority import A_DOMAIN
from tests.identity.fakes import Entropy

FINESS, OTHER_FINESS = "690000013", "380000018"
SECRET = "registration secret+/%"  # what RFC 6749 2.3.1 encodes
BACK = "https://127.0.0.1/retour/chu-g"
KEY, FRESH = (RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True) for _ in range(2))
REGISTERED = Client("mssmtp", SECRET)


class Clock(SystemClock):
    """The provider's own, that can be put forward."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()


class Hospital(Provider):
    """A real one, which a test may bend: what it says of itself, what its tokens are."""

    bent: Callable[[str], str] | None = None
    served_keys = 0
    refuses: web.Response | None = None

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.says: dict[str, object] = {}
        self.posted: list[str] = []

    def discovery(self) -> dict[str, object]:
        return {k: v for k, v in (super().discovery() | self.says).items() if v is not ...}

    async def _certs(self, request: web.Request) -> web.Response:
        self.served_keys += 1
        return await super()._certs(request)

    async def _token(self, request: web.Request) -> web.Response:
        self.posted.append((await request.read()).decode())
        if self.silent.is_set():
            await asyncio.sleep(60)
        if self.refuses is not None:
            return self.refuses
        answer = await super()._token(request)
        if self.bent is None or answer.status != 200:
            return answer
        given = json.loads(answer.text or "")
        return web.json_response(given | {"id_token": self.bent(given["id_token"])})


@dataclass
class Place:
    """A hospital's people here, and those of another structure."""

    store: Store
    desk: Desk
    home: Path

    def add(self, name: str, structure: str = FINESS, **changes: object) -> AccountId:
        usual = Address.parse(f"{name}@chu-g.example")
        found = self.store.read(lambda r: r.structure_by_number(structure)).result()
        new = NewPerson(
            usual, name, name, PersonState.CERTIFIED, structure=found.id if found else None
        )
        new = replace(new, **changes)  # type: ignore[arg-type]
        return self.store.write(lambda w: w.create_person(new).account).result()

    def codes(self) -> list[str]:
        found = self.store.read(lambda r: r.waiting_notices()).result()
        return [str(each.values["code"]) for each in found if each.kind == "code"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("provider-login") / "home"
    settings = StoreSettings(home=home, master_key_file=home / "master.key")
    clock = SystemClock()
    Store.create(settings, clock, SystemEntropy())
    store = Store(settings, clock, SystemEntropy())
    desk = Desk(NoticeSettings(relay_host="127.0.0.1", relay_tls="none"), (), clock)
    for number in (FINESS, OTHER_FINESS):
        new = Structure(StructureId(0), f"CHU {number}", finess=number)
        store.write(partial(Writing.create_structure, new=new)).result()
    yield Place(store, desk, home)
    assert store.check().problems == ()
    store.close()


@dataclass
class House:
    """The login at one worker, the provider it asks, and a browser."""

    place: Place
    hospital: Hospital
    providers: Providers
    login: ProviderLogin
    clock: Clock
    browser: httpx.AsyncClient

    async def start(self) -> Started:
        return await self.login.start("chu-g")

    async def there(self, started: Started, person: str) -> str:
        """Who logs in at the provider; the query that its redirect comes back with."""
        shown = await self.browser.get(started.url + "&" + urlencode({"login_hint": person}))
        assert shown.headers["location"].startswith(BACK)
        return urlsplit(shown.headers["location"]).query

    async def whole(self, person: str) -> str:
        started = await self.start()
        return await self.login.finish("chu-g", started.ticket, await self.there(started, person))

    async def refused(self, started: Started, query: str, name: str = "chu-g") -> str:
        before = len(self.place.codes())
        with pytest.raises(DetourRefused) as caught:
            await self.login.finish(name, started.ticket, query)
        assert len(self.place.codes()) == before
        return caught.value.why


def settings_of(hospital: Provider, directory: Path, **changes: object) -> ProviderSettings:
    secret = directory / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    return ProviderSettings.model_validate(
        {
            "name": "chu-g",
            "structure": FINESS,
            "usual_domains": ["chu-g.example"],
            "issuer": hospital.issuer,
            "anchors_file": directory / "anchors.pem",
            "client_id": REGISTERED.client_id,
            "client_secret_file": secret,
            "redirect_uri": BACK,
        }
        | changes
    )


@pytest.fixture(scope="module")
def tls(
    healthy: dict[str, Identity], authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The provider's side and ours."""
    files = healthy[A_DOMAIN].write(tmp_path_factory.mktemp("tls"), "provider")
    ours = ssl.create_default_context(cadata=authority.anchors_pem.decode())
    ours.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return https_context(files.certificate_file, files.key_file), ours


@pytest.fixture
async def house(
    place: Place, tls: tuple[ssl.SSLContext, ssl.SSLContext], tmp_path: Path
) -> AsyncIterator[House]:
    clock, people = Clock(), dict[str, dict[str, object]]()
    for name in ("anne", "luc", "max", "ida", "pia", "eve", "noe", "old", "two", "job", "new"):
        people[name] = {"email": f"{name}@chu-g.example", "email_verified": True}
    people["other"] = {"email": "other@chu-h.example", "email_verified": True}
    people["vague"] = {"email": "vague@chu-g.example", "email_verified": False}
    people["rpps"] = {"national": "899900000110"}
    hospital = Hospital(0, tls[0], (REGISTERED,), people, KEY)
    async with hospital:
        ours = settings_of(hospital, tmp_path)
        another = ours.model_copy(update={"name": "chu-h", "usual_domains": ("chu-h.example",)})
        providers = Providers([HospitalProvider(each, tls[1], clock) for each in (ours, another)])
        login = ProviderLogin(place.store, place.desk, providers, clock, SystemEntropy())
        async with httpx.AsyncClient(verify=tls[1], trust_env=False) as browser:
            yield House(place, hospital, providers, login, clock, browser)
        await providers.close()


# ---------------------------------------------------------------- there and back


@pytest.mark.requirement("SEED-09")
async def test_who_logs_in_at_the_hospital_has_a_code_by_mail_and_then_a_session(
    house: House, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    anne = place.add("anne")
    started = await house.start()
    asked = parse_qs(urlsplit(started.url).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [BACK]
    query = await house.there(started, "anne")
    caplog.clear()  # the browser's
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "authlib")  # the provider's side
    attempt = await house.login.finish("chu-g", started.ticket, query)
    portal = Portal(place.store, place.desk, house.clock, SystemEntropy())
    assert portal.finish(attempt, place.codes()[-1]).account == anne
    (sent,) = house.hospital.posted
    form = dict(parse_qsl(sent))
    secrets = [form["code"], form["code_verifier"], started.ticket, SECRET, attempt]
    secrets += [asked["state"][0], asked["nonce"][0], *house.hospital.tokens]
    octets = b"".join(f.read_bytes() for f in place.home.rglob("*") if f.is_file())
    for secret in secrets:
        assert secret not in caplog.text
        assert secret.encode() not in octets
    assert "client_secret" not in form  # it goes as Basic authentication, encoded


@pytest.mark.attack("ATT-21")
async def test_att_21_a_ticket_and_a_code_are_good_once_under_race(
    house: House, place: Place
) -> None:
    place.add("luc")
    started = await house.start()
    query = await house.there(started, "luc")
    given = dict(house.hospital.codes)
    before = len(place.codes())
    ends = [house.login.finish("chu-g", started.ticket, query) for _ in range(5)]
    outcomes = await asyncio.gather(*ends, return_exceptions=True)
    assert sum(isinstance(each, str) for each in outcomes) == 1
    assert len(place.codes()) == before + 1
    # A provider that takes a code twice: the ticket is spent all the same.
    house.hospital.codes.update(given)
    assert await house.refused(started, query) == "the ticket was used"


async def test_keys_are_fetched_once_and_again_when_a_token_names_another(
    house: House, place: Place
) -> None:
    for name in ("max", "ida"):
        place.add(name)
        await house.whole(name)
    assert house.hospital.served_keys == 1
    house.hospital.key = FRESH
    place.add("pia")
    await house.whole("pia")
    assert house.hospital.served_keys == 2


async def test_a_claim_of_the_settings_can_be_the_national_identifier(
    house: House, place: Place, tmp_path: Path
) -> None:
    place.add("rpps", national_id="899900000110")
    provider = house.providers.named("chu-g")
    provider.settings = settings_of(
        house.hospital, tmp_path, claim="national", claim_is="national-id"
    )
    provider.registration = provider.settings.registration
    await house.whole("rpps")
    started = await house.start()
    why = await house.refused(started, await house.there(started, "anne"))
    assert why == "nobody of this structure"


# ---------------------------------------------------------------- what does not come in


@pytest.mark.attack("ATT-20")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"state": "0" * 43}, "another state"),
        ({"state": None}, "another state"),
        ({"state": "é"}, "another state"),
        ({"iss": "https://elsewhere.example"}, "another issuer"),
        ({"iss": None}, "another issuer"),  # it says that it always names itself
        ({"code": None}, "without a code"),
        ({"code": "x" * 5_000}, "without a code"),
        ({"code": "never-given"}, "the code is not good"),
        ({"error": "access_denied"}, "refused there"),
        ({"junk": "x" * 9_000}, "too long"),
    ],
)
async def test_att_20_what_the_browser_brings_back_changed_is_refused(
    house: House, change: dict[str, str | None], why: str
) -> None:
    started = await house.start()
    fields: dict[str, str | None] = dict(parse_qsl(await house.there(started, "anne")))
    query = urlencode({k: v for k, v in (fields | change).items() if v is not None})
    assert await house.refused(started, query) == why
    if why != "the code is not good":
        assert house.hospital.posted == []  # the code went nowhere


@pytest.mark.attack("ATT-20")
async def test_att_20_a_ticket_is_of_one_browser_one_provider_and_ten_minutes(
    house: House,
) -> None:
    mine, theirs = await house.start(), await house.start()
    query = await house.there(theirs, "anne")
    assert await house.refused(mine, query) == "another state"
    assert await house.refused(theirs, query, "chu-h") == "a ticket for another provider"
    assert await house.refused(theirs, query, "chu-x") == "no such provider"
    provider, ends, secret, voucher = theirs.ticket.split(".")
    for forged in (
        f"{provider}.{int(ends) + 600}.{secret}.{voucher}",
        f"chu-h.{ends}.{secret}.{voucher}",
        f"{provider}.{ends}.{secret}.{'0' * 32}",
        f"{provider}.{ends}.{secret}.",
    ):
        assert await house.refused(replace(theirs, ticket=forged), query) == "not our ticket"
    for junk in ("", "a.b.c.d", "....", "é.1.x.y", "x" * 600, f"chu-g.{'9' * 400}.x.y"):
        why = await house.refused(replace(theirs, ticket=junk), query)
        assert why in ("no ticket", "not our ticket")
    twice = query + "&state=" + dict(parse_qsl(query))["state"]
    assert await house.refused(theirs, twice) == "a field twice"
    assert await house.refused(theirs, "&".join(f"a{n}=1" for n in range(40))) == "too many fields"
    house.clock.ahead = LIVES + timedelta(seconds=2)
    assert await house.refused(theirs, query) == "the ticket has ended"
    assert house.hospital.posted == []


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def bent(header: dict[str, object] | None = None, /, **changes: object) -> Callable[[str], str]:
    """The same id_token, signed by the same key, saying something else."""

    def bend(token: str) -> str:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        said = {k: v for k, v in (claims | changes).items() if v is not ...}
        named = {"alg": "RS256", "kid": KEY.kid} | (header or {})
        if named["alg"] == "none":
            return f"{part(named)}.{part(said)}.AA"
        return jwt.encode(named, said, KEY, ["RS256"])

    return bend


LATER = int((datetime.now().astimezone() + timedelta(days=1)).timestamp())


@pytest.mark.attack("ATT-20")
@pytest.mark.parametrize(
    ("bend", "why"),
    [
        (bent(nonce="another"), "another nonce"),
        (bent(nonce=...), "another nonce"),
        (bent(iss="https://elsewhere.example"), "another issuer"),
        (bent(aud=["other"]), "another audience"),
        (bent(aud=["mssmtp", "other"], azp="other"), "another authorized party"),
        (bent(exp=1), "ended, or not yet valid"),
        (bent(nbf=LATER), "not yet valid"),
        (bent({"alg": "none"}), "does not verify"),
        (bent({"kid": "unknown"}), "of an unknown key"),
        (bent(sub=...), "without subject"),
        (lambda token: token[:-4], "does not verify"),
    ],
)
async def test_att_20_an_id_token_that_is_not_for_us_now_and_here_is_refused(
    house: House, bend: Callable[[str], str], why: str
) -> None:
    house.hospital.bent = bend
    started = await house.start()
    assert await house.refused(started, await house.there(started, "anne")) == why


async def test_the_provider_speaks_for_active_people_of_its_structure_alone(
    house: House, place: Place
) -> None:
    place.add("eve", OTHER_FINESS)
    place.add("job", "000000000")
    suspended = place.add("old")
    place.store.write(lambda w: w.set_account_active(suspended, active=False)).result()
    place.add("new", state=PersonState.PRE_REGISTERED)
    for person, expected in (
        ("eve", "nobody of this structure"),
        ("job", "nobody of this structure"),
        ("two", "nobody of this structure"),
        ("old", "not active"),
        ("new", "not active"),
        ("other", "without an address of its domains"),
        ("vague", "without an address of its domains"),
        ("rpps", "without an address of its domains"),
    ):
        started = await house.start()
        assert await house.refused(started, await house.there(started, person)) == expected, person


async def test_an_address_that_the_hospital_gave_to_somebody_else_opens_nothing(
    house: House, place: Place
) -> None:
    noe = place.add("noe")
    house.hospital.bent = bent(sub="who only says so")
    unfinished = await house.whole("noe")
    portal = Portal(place.store, place.desk, house.clock, SystemEntropy())
    with pytest.raises(CodeRefused):
        portal.finish(unfinished, "000000")
    assert place.store.read(lambda r: r.bindings(account=noe)).result() == (), "no code came back"
    house.hospital.bent = None
    house.clock.ahead = timedelta(minutes=1)
    attempt = await house.whole("noe")
    house.clock.ahead = timedelta()
    assert portal.finish(attempt, place.codes()[-1]).account == noe
    with pytest.raises(CodeRefused):  # begun before, and the account is somebody's by now
        portal.finish(unfinished, place.codes()[-2])
    house.hospital.bent = bent(sub="somebody-else")
    started = await house.start()
    assert await house.refused(started, await house.there(started, "noe")) == "bound otherwise"
    house.hospital.bent = None
    with pytest.raises(CodeTooSoon):  # the same person as before
        await house.whole("noe")
    (binding,) = place.store.read(lambda r: r.bindings(account=noe)).result()
    place.store.write(lambda w: w.unbind(binding.id)).result()
    house.hospital.bent = bent(sub="somebody-else")
    with pytest.raises(CodeTooSoon):
        await house.whole("noe")


def test_a_password_of_ours_opens_nothing_where_the_hospital_logs_in(
    house: House, place: Place
) -> None:
    portal = Portal(place.store, place.desk, house.clock, Entropy(), providers=house.providers)
    for usual in ("anne@chu-g.example", "nobody@chu-g.example"):
        with pytest.raises(ProviderFirst, match="page de connexion"):
            portal.begin(usual, "Abcdef1")


# ---------------------------------------------------------------- outages


async def test_a_provider_that_gives_no_usable_answer_is_an_outage_and_nothing_waits(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started = await house.start()
    query = await house.there(started, "anne")
    for answer in (
        web.json_response({"error": "invalid_client"}, status=401),
        web.json_response({"error": "unauthorized_client"}, status=400),
        web.Response(status=500, text="<html>"),
        web.Response(status=302, headers={"Location": "https://elsewhere.example/"}),
        web.Response(text="not json"),
        web.json_response({"access_token": "x"}),
        web.json_response({"id_token": "x" * network.MAX_ANSWER_OCTETS}),
    ):
        house.hospital.refuses = answer
        with pytest.raises(ProviderAway) as caught:
            await house.login.finish("chu-g", started.ticket, query)
        assert (caught.value.reply.code, caught.value.imap) == (454, "UNAVAILABLE")
    monkeypatch.setattr(network, "WITHIN_S", 0.05)
    house.hospital.refuses = None
    house.hospital.silent.set()
    with pytest.raises(ProviderAway, match="no answer in time"):
        await house.login.finish("chu-g", started.ticket, query)
    with pytest.raises(ProviderAway, match="away a moment ago"):  # nobody waits again
        await house.login.start("chu-g")
    said = dict(parse_qsl(query)) | {"error": "server_error"}
    house.clock.ahead = timedelta(seconds=6)
    monkeypatch.setattr(network, "WITHIN_S", 5.0)
    with pytest.raises(ProviderAway):
        await house.login.finish("chu-g", started.ticket, urlencode(said))
    assert dict(parse_qsl(query))["code"] not in caplog.text
    assert started.ticket not in caplog.text


@pytest.mark.parametrize(
    "says",
    [
        {"issuer": "https://elsewhere.example"},
        {"token_endpoint": "http://elsewhere.example/token"},
        {"authorization_endpoint": "https://user:word@elsewhere.example/"},
        {"jwks_uri": ...},
    ],
)
async def test_a_configuration_that_cannot_be_trusted_is_an_outage(
    house: House, says: dict[str, object]
) -> None:
    house.hospital.says = says
    with pytest.raises(ProviderAway):
        await house.start()


async def test_a_provider_without_basic_authentication_has_the_secret_in_the_form(
    house: House, place: Place
) -> None:
    """RFC 6749 2.3.1; it is refused there, as this one takes Basic only."""
    house.hospital.says = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    started = await house.start()
    with pytest.raises(ProviderAway):
        await house.login.finish("chu-g", started.ticket, await house.there(started, "anne"))
    form = dict(parse_qsl(house.hospital.posted[0]))
    assert (form["client_id"], form["client_secret"]) == (REGISTERED.client_id, SECRET)


def test_a_secret_that_others_may_read_is_refused(house: House, tmp_path: Path) -> None:
    settings = settings_of(house.hospital, tmp_path)
    settings.client_secret_file.chmod(0o644)
    with pytest.raises(ConfigError, match="0600"):
        HospitalProvider(settings, ssl.create_default_context(), house.clock)


@pytest.mark.attack("ATT-20")
@pytest.mark.parametrize(
    "changes",
    [
        {"usual_domains": ("chu-h.example",), "name": "chu-h"},  # one address for two (RFC 9207 1)
        {"usual_domains": ("chu-h.example",), "redirect_uri": f"{BACK}-h"},
        {"name": "chu-h", "redirect_uri": f"{BACK}-h"},
    ],
)
def test_att_20_two_providers_share_neither_name_nor_people_nor_the_way_back(
    house: House, tmp_path: Path, changes: dict[str, object]
) -> None:
    ours = settings_of(house.hospital, tmp_path)
    with pytest.raises(ValueError, match="told twice"):
        check_first_factors([], [ours, ours.model_copy(update=changes)])
    check_first_factors([], [ours])

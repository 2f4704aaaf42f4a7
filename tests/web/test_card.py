"""A CPx card is linked on the holder's page after a code, and logs in from then on (SEED-12, L14).

Cards are certificates of an authority of their own, shown over real TLS; what it has revoked is
fetched over HTTP.
"""

from __future__ import annotations

import asyncio
import html
import re
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from OpenSSL import SSL

from mssmtp import suspending
from mssmtp.admin import Office
from mssmtp.card_login import CardReader
from mssmtp.config import Endpoint, Settings
from mssmtp.config_web import CardSettings
from mssmtp.demo.authority import (
    CLIENT_ONLY,
    EMAIL_ONLY,
    Authority,
    Identity,
    Make,
    Subject,
    card_name,
)
from mssmtp.demo.web import Site
from mssmtp.identity.guesses import Guesses
from mssmtp.linking import CARD_REFUSALS
from mssmtp.responder import Responder
from mssmtp.revocation import Revocation
from mssmtp.storage.suspensions import Suspension
from mssmtp.trust import Snapshot, Trust
from mssmtp.trust_feed import CardFeed
from mssmtp.web.opening import opened_for_cards
from mssmtp.web.texts import catalogue
from tests.authority import MakeAnswer, make_answer, shared_keys
from tests.handshakes import VERSIONS, asks
from tests.web.browser import Browser, Page
from tests.web.conftest import PASSWORD, PORTAL, Place

HEALTHY = Make(usages=CLIENT_ONLY)
ZOE, LUC, MAX, IDA, NOBODY = (f"8999000004{n}" for n in ("10", "28", "36", "44", "51"))
LINK, LOGIN = "compte/identites/carte", "carte/connexion"
CRLS = ("racine.crl", "personnes.crl")
T = TypeVar("T")


@dataclass
class House:
    """The pages, the port for cards, and the authority whose cards it takes."""

    place: Place
    authority: Authority
    feed: CardFeed
    published: Path
    cards: Path
    port: int
    known: set[str] = field(default_factory=set)

    def run(self, work: Coroutine[object, object, T]) -> T:
        """On the loop of the doors."""
        return asyncio.run_coroutine_threadsafe(work, self.place.loop).result()

    def publish(self) -> None:
        """Newer CRLs are there, and the server has fetched them."""
        now = self.place.clock.now()
        for name, der in zip(CRLS, self.authority.crls(this_update=now), strict=True):
            (self.published / name).write_bytes(der)
        self.place.clock.advance(2 * 86_400)
        self.run(self.feed.tick())

    def card(self, national_id: str, make: Make = HEALTHY) -> Identity:
        """Of a professional."""
        return card_of(self.authority, national_id, make)

    def read(
        self, url: str, card: Identity | None, version: ssl.TLSVersion | None = None
    ) -> httpx.Response:
        """The browser asks the port for cards; without a card it shows nothing."""
        context = ssl.create_default_context(cafile=str(self.place.anchors))
        if version is not None:
            context.maximum_version = version
        if card is not None:
            files = card.write(self.cards, f"{card.certificate.serial_number}")
            context.load_cert_chain(files.certificate_file, files.key_file)
        return httpx.get(url, verify=context, trust_env=False)

    def brought(self, away: Page, card: Identity | None) -> str:
        """The query that the browser is sent back with."""
        assert away.status == 303, away.text
        shown = self.read(away.headers["Location"], card)
        assert shown.headers["location"].startswith(f"{PORTAL}/carte/retour?")
        return urlsplit(shown.headers["location"]).query

    def back(self, browser: Browser, query: str) -> Page:
        """What the return leads to; a port of another name is another site."""
        held = browser.cookies
        browser.cookies = {k: v for k, v in held.items() if k == "__Host-detour"}
        shown = browser.ask("GET", f"carte/retour?{query}", headers={"Sec-Fetch-Site": "same-site"})
        browser.cookies = held
        found = re.search(r'content="0; url=([^"]*)"', shown.html)
        assert found is not None, shown.text
        return browser.get(html.unescape(found[1]))

    def there_and_back(self, browser: Browser, path: str, card: Identity | None) -> Page:
        return self.back(browser, self.brought(browser.ask("GET", path), card))

    def holder(self, name: str, national_id: str | None = None) -> Browser:
        """Somebody with an account, logged in a while ago."""
        browser, usual = self.place.browser(), f"{name}.carte@cabinet.example"
        if name not in self.known:
            self.place.person(usual, national_id=national_id)
            self.known.add(name)
        self.place.clock.advance(61)
        assert browser.log_in(usual, PASSWORD).path == "/compte"
        self.place.clock.advance(61)
        return browser

    def linked(self, browser: Browser, card: Identity) -> Page:
        """Whoever is logged in shows a card and takes the code from the mail."""
        asked = self.there_and_back(browser, LINK, card)
        assert asked.path == f"/{LINK}/code", asked.text
        return browser.submit(asked.path, {"code": self.place.code()})


def card_of(authority: Authority, national_id: str, make: Make) -> Identity:
    name = card_name(national_id, "TARTEMPION", "Zoé") if make.name is None else make.name
    changed = {each: getattr(make, each) for each in make.__dataclass_fields__}
    return authority.issue(Subject(national_id), Make(**changed | {"name": name}))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """Where the CRLs of cards are put, and the port that serves them."""
    folder = tmp_path_factory.mktemp("published")
    site = Site(folder, 0)
    yield folder, site.port
    site.close()


@pytest.fixture(scope="module")
def house(
    web_settings: Settings,
    place: Place,
    make_place: Callable[..., Place],
    tmp_path_factory: pytest.TempPathFactory,
    published: tuple[Path, int],
) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("cards")
    place.clock.advance(time.time() - place.clock.now().timestamp())
    authority = Authority(place.clock.now(), make_key=shared_keys(60))
    (directory / "cards.pem").write_bytes(authority.anchors_pem)
    folder, crl_port = published
    sock = socket.create_server(("127.0.0.1", 0))
    port = int(sock.getsockname()[1])
    cards = CardSettings(
        anchors_file=directory / "cards.pem",
        crl_urls=tuple(f"http://127.0.0.1:{crl_port}/{name}" for name in CRLS),
        url=f"https://localhost:{port}",
    )
    listen = web_settings.listen.model_copy(update={"card": Endpoint(port=port)})
    web = web_settings.web.model_copy(update={"cards": cards})
    settings = web_settings.model_copy(update={"listen": listen, "web": web})
    asking = make_place(settings)
    feed = CardFeed(settings, cards, place.clock, place.entropy)
    office = Office(place.store, settings, place.clock, place.entropy)
    reader = CardReader(place.store, feed.trust, None, place.clock)
    door = opened_for_cards(office, Guesses.alone(place.entropy), reader)
    found = House(asking, authority, feed, folder, directory / "cards", port)
    found.run(door.start(sock))
    found.publish()
    yield found
    found.run(door.stop(5.0))
    asking.stop()


@pytest.mark.requirement("SEED-12", "SEED-08")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_card_is_linked_after_a_code_and_logs_in_until_it_is_unlinked(
    house: House, version: ssl.TLSVersion
) -> None:
    holder, other, card = house.holder("zoe"), house.place.browser(), house.card(ZOE)
    assert "Lier ma carte CPx" in holder.get("compte/identites").text
    assert "Se connecter par carte CPx" in other.get("connexion").text
    refused = house.there_and_back(other, LOGIN, card)  # L14: linked to no account
    assert (refused.status, "liée à aucun compte" in refused.text) == (422, True)

    page = house.there_and_back(holder, LINK, card)
    assert page.path == f"/{LINK}/code"
    assert "__Host-detour" not in holder.cookies
    wrong = "000000" if house.place.code() != "000000" else "000001"
    assert holder.submit(page.path, {"code": wrong}).status == 422
    assert "Délier" not in holder.get("compte/identites").text
    done = holder.submit(page.path, {"code": house.place.code()})
    assert "Votre carte CPx est liée" in done.text

    mails = len(house.place.mailed("code"))
    away = other.ask("GET", LOGIN)
    shown = house.read(away.headers["Location"], card, version)
    assert house.back(other, urlsplit(shown.headers["location"]).query).path == "/compte"
    assert len(house.place.mailed("code")) == mails  # card and PIN are two factors
    assert "Connexion à ces pages par : carte CPx" in other.get("compte/activite").text
    english = {"page": "compte/activite", "langue": "en"}
    assert "by: CPx card" in other.submit("compte", english, to="langue").text
    assert "carte CPx" not in other.get("compte/identites").text
    number = holder.get("compte/identites").fields["numero"]
    assert holder.submit("compte/identites", {"numero": number}).status == 200
    assert other.get("compte").path.startswith("/connexion")  # what it had opened is closed
    assert holder.get("compte").path == "/compte"
    assert house.there_and_back(house.place.browser(), LOGIN, card).status == 422


@pytest.mark.requirement("SEED-12")
def test_a_card_of_another_professional_or_account_is_refused(house: House) -> None:
    browser, mails = house.holder("luc", LUC), len(house.place.mailed("code"))
    refused = house.there_and_back(browser, LINK, house.card(NOBODY))
    assert (refused.status, "autre professionnel" in refused.text) == (422, True)
    assert len(house.place.mailed("code")) == mails
    assert "est liée" in house.linked(browser, house.card(LUC)).text
    other = house.holder("eva")
    mails = len(house.place.mailed("code"))
    refused = house.there_and_back(other, LINK, house.card(LUC))
    assert (refused.status, "autre professionnel" in refused.text) == (422, True)
    assert len(house.place.mailed("code")) == mails


@pytest.mark.requirement("SEED-12", "OP-07", "OP-08")
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (None, "absente"),
        (Make(usages=EMAIL_ONLY), "etrangere"),
        (Make(usages=CLIENT_ONLY, digital_signature=False), "etrangere"),
        (Make(usages=CLIENT_ONLY, name=Subject("3760021832/000000018").name), "anonyme"),
        (Make(usages=CLIENT_ONLY, name=Subject("dpi.hopital-a.test").name), "anonyme"),
    ],
)
def test_what_is_no_card_for_logging_in_is_told_in_both_languages(
    house: House, make: Make | None, told: str
) -> None:
    card = None if make is None else house.card(NOBODY, make)
    refused_as(house, card, told)


def refused_as(house: House, card: Identity | None, told: str) -> None:
    """No session, and why on the page: French, then English."""
    refusal = CARD_REFUSALS[told]
    for language, text in (
        ("fr", refusal.smtp.text),
        ("en", catalogue("en")[f"errors.{refusal.__name__}"]),
    ):
        browser = house.place.browser()
        browser.headers["Accept-Language"] = language
        page = house.there_and_back(browser, LOGIN, card)
        assert page.status == (503 if refusal.smtp.is_temporary else 422)
        assert text in page.text
        assert "__Host-session" not in browser.cookies
        assert browser.get("compte").path.startswith("/connexion")


@pytest.mark.attack("ATT-25")
def test_att_25_a_card_that_is_not_in_force_opens_nothing(house: House) -> None:
    now, day = house.place.clock.now(), timedelta(days=1)
    past = Make(now - 9 * day, now - day, usages=CLIENT_ONLY)
    later = Make(now + day, now + 9 * day, usages=CLIENT_ONLY)
    for make in (past, later):
        refused_as(house, house.card(NOBODY, make), "expiree")


@pytest.mark.attack("ATT-25")
def test_att_25_a_card_of_another_authority_opens_nothing(
    house: House, authority: Authority
) -> None:
    holder = house.holder("mia")
    assert "est liée" in house.linked(holder, house.card(MAX)).text
    stranger = Authority(house.authority.now, make_key=shared_keys(70))
    for made in (stranger, authority):  # of nobody's, and of organisations (OP-07)
        refused_as(house, card_of(made, MAX, Make(usages=CLIENT_ONLY)), "etrangere")
    assert house.there_and_back(house.place.browser(), LOGIN, house.card(MAX)).path == "/compte"


@pytest.mark.attack("ATT-25")
def test_att_25_a_card_revoked_after_it_was_linked_logs_in_no_more(house: House) -> None:
    first, second = house.card(IDA), house.card(IDA)
    assert "est liée" in house.linked(house.holder("ida"), first).text
    assert house.there_and_back(house.place.browser(), LOGIN, first).path == "/compte"
    house.authority.revoke(first)
    house.publish()
    refused_as(house, first, "revoquee")
    # The identity is the professional's: the card that replaces it needs no new link.
    assert house.there_and_back(house.place.browser(), LOGIN, second).path == "/compte"


@pytest.mark.requirement("OP-79")
def test_a_card_whose_certificate_is_suspended_logs_in_no_more_and_what_it_opened_is_closed(
    house: House,
) -> None:
    first, second = house.card("899900000519"), house.card("899900000519")
    holder = house.holder("tim")
    assert "est liée" in house.linked(holder, first).text
    inside, other, late = (house.place.browser() for _ in range(3))
    assert house.there_and_back(inside, LOGIN, first).path == "/compte"
    assert house.there_and_back(other, LOGIN, second).path == "/compte"
    read_before = house.brought(late.ask("GET", LOGIN), first)
    sha256 = first.certificate.fingerprint(hashes.SHA256()).hex()

    new = Suspension("certificate", sha256, house.place.clock.now(), "operateur", "vol")
    house.place.store.write(lambda w: suspending.suspend(w, new)).result()
    assert inside.get("compte").path.startswith("/connexion")  # at its next request, not later
    refused_as(house, first, "suspendue")
    house.back(late, read_before)
    assert late.get("compte").path.startswith("/connexion")
    assert holder.get("compte").path == "/compte"  # a password and a code, not the card
    assert other.get("compte").path == "/compte"  # another card of the same holder

    house.place.store.write(lambda w: suspending.resume(w, "certificate", sha256)).result()
    assert house.there_and_back(inside, LOGIN, first).path == "/compte"


@pytest.mark.requirement("OP-09")
def test_without_a_crl_in_force_no_card_is_taken(house: House) -> None:
    kept = house.place.clock.now()
    try:
        house.place.clock.advance(8 * 86_400)
        refused_as(house, house.card(NOBODY), "inverifiable")
    finally:
        house.place.clock.at = kept


@pytest.mark.requirement("OP-08")
@pytest.mark.parametrize(
    ("status", "told"),
    [(ocsp.OCSPCertStatus.GOOD, "carte"), (ocsp.OCSPCertStatus.REVOKED, "refus")],
)
async def test_the_responder_is_asked_about_a_card_of_which_no_crl_speaks(
    house: House, status: ocsp.OCSPCertStatus, told: str
) -> None:
    place, card, now = house.place, house.card(NOBODY), house.place.clock.now()
    anchors = house.feed.trust.snapshot.anchors
    root, _ = house.authority.crls(this_update=now)
    trust = Trust(Snapshot(None, Revocation.of((root,), anchors), anchors))
    asked: list[str] = []

    async def post(url: str, question: bytes, max_octets: int) -> bytes:
        asked.append(url)
        extensions = ocsp.load_der_ocsp_request(question).extensions
        nonce = extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        make = MakeAnswer(status, this_update=now - timedelta(minutes=1), nonce=nonce)
        return make_answer(house.authority, card.certificate, make)

    pki = CardSettings(anchors_file=Path("unused.pem"), ocsp="ask", ocsp_url="http://ocsp.test").pki
    responder = Responder(pki, trust, post, place.clock, place.entropy)
    reader = CardReader(place.store, trust, responder, place.clock)
    query = urlencode({"etat": "a" * 43})
    assert parse_qs(reader.read(card.chain, query))["refus"] == ["inverifiable"]
    await reader.settle(card.chain)
    answer = parse_qs(reader.read(card.chain, query))
    assert (told in answer, asked) == (True, ["http://ocsp.test"])
    assert answer.get("refus", ["revoquee"]) == ["revoquee"]


@pytest.mark.attack("ATT-20")
def test_att_20_the_reading_of_a_card_is_of_the_browser_that_left_and_good_once(
    house: House,
) -> None:
    card, browser, eve = house.card("899900000469"), house.holder("ana"), house.holder("eve")
    away = browser.ask("GET", LINK)
    query, ticket = house.brought(away, card), browser.cookies["__Host-detour"]
    for other in (house.place.browser(), eve):
        mails = len(house.place.mailed("code"))
        assert "plus valable" in house.back(other, query).text  # without the ticket
        other.cookies["__Host-detour"] = ticket
        assert "plus valable" in house.back(other, query).text  # in no session or another one
        assert len(house.place.mailed("code")) == mails
    # What was read for one ticket is nothing to another of the same browser, whatever is said.
    told = {name: values[0] for name, values in parse_qs(query).items()}
    second = urlsplit(browser.ask("GET", LINK).headers["Location"]).query
    for mixed in (query, urlencode({**told, "etat": parse_qs(second)["etat"][0]})):
        assert "plus valable" in house.back(browser, mixed).text
    browser.cookies["__Host-detour"] = ticket
    assert house.back(browser, query).path == f"/{LINK}/code"
    house.place.clock.advance(61)
    mails = len(house.place.mailed("code"))
    for again in (query, house.brought(away, card)):
        browser.cookies["__Host-detour"] = ticket
        assert "plus valable" in house.back(browser, again).text
    assert len(house.place.mailed("code")) == mails


@pytest.mark.attack("ATT-20")
def test_att_20_a_login_by_card_cannot_be_played_again(house: House) -> None:
    card, browser = house.card("899900000477"), house.holder("noe")
    assert "est liée" in house.linked(browser, card).text
    fresh = house.place.browser()
    away = fresh.ask("GET", LOGIN)
    ticket, query = fresh.cookies["__Host-detour"], house.brought(away, card)
    assert house.back(fresh, query).path == "/compte"
    thief = house.place.browser()
    thief.cookies["__Host-detour"] = ticket
    assert "plus valable" in house.back(thief, query).text
    assert "__Host-session" not in thief.cookies
    late = house.place.browser()
    query = house.brought(late.ask("GET", LOGIN), card)
    house.place.clock.advance(61)
    assert "plus valable" in house.back(late, query).text


@pytest.mark.attack("ATT-20")
def test_att_20_a_word_of_the_port_cannot_be_made_up_or_turned(house: House) -> None:
    mine, his = house.card("899900000485"), "899900000493"
    assert "est liée" in house.linked(house.holder("kim"), house.card(his)).text
    browser = house.place.browser()
    away = browser.ask("GET", LOGIN)
    told = {name: values[0] for name, values in parse_qs(house.brought(away, mine)).items()}
    voucher = told["carte"].rpartition(".")[2]
    turned = told["carte"].replace("899900000485", his)
    ticket = browser.cookies["__Host-detour"]
    for word in (turned, turned.replace(voucher, "0" * 64), ticket, "", "a.1.b.c", "é" * 40):
        assert "plus valable" in house.back(browser, urlencode({**told, "carte": word})).text
    for query in ("", "etat=x&refus=revoquee", "refus=revoquee", "%FF=%FE&etat=1&etat=2"):
        assert "plus valable" in house.back(browser, query).text
    assert "__Host-session" not in browser.cookies
    assert house.back(browser, urlencode(told)).status == 422  # read well, and linked to nobody


@pytest.mark.attack("ATT-20")
def test_att_20_the_code_is_for_the_card_that_was_shown(house: House) -> None:
    browser = house.holder("job")
    page = house.there_and_back(browser, LINK, house.card("899900000501"))
    attempt, _, _ = browser.cookies["__Host-essai"].partition(".")
    code = house.place.code()
    for subject in (ZOE.encode().hex(), "zz", ""):
        browser.cookies["__Host-essai"] = f"{attempt}.{subject}"
        assert browser.submit(page.path, {"code": code}).status == 422
    assert "Délier" not in browser.get("compte/identites").text


@pytest.mark.requirement("CL-16", "OP-07")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_only_the_port_for_cards_asks_for_a_certificate(
    house: House, version: Literal["1.2", "1.3"]
) -> None:
    assert asks(house.port, "", version)
    assert not asks(urlsplit(house.place.url).port or 0, "", version)
    wanted = (house.authority.root, house.authority.intermediate)
    assert _named(house.port, version) == {each.subject.public_bytes() for each in wanted}
    assert not _is_resumed(house, version)


def _named(port: int, version: str) -> set[bytes]:
    """Whose certificates browsers are asked for; names in DER."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.setblocking(True)
        wire = SSL.Connection(context, raw)
        wire.set_connect_state()
        wire.do_handshake()
        return {each.der() for each in wire.get_client_ca_list()}


def _is_resumed(house: House, version: Literal["1.2", "1.3"]) -> bool:
    """Whether a second connection takes up the session of the first; each ends with its answer."""
    context = ssl.create_default_context(cafile=str(house.place.anchors))
    tls = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    context.minimum_version = context.maximum_version = tls
    session: ssl.SSLSession | None = None
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", house.port), timeout=20) as raw,
            context.wrap_socket(raw, server_hostname="localhost", session=session) as wire,
        ):
            wire.sendall(b"GET /carte HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while block := wire.recv(65_536):
                answer += block
            assert answer.startswith(b"HTTP/1.1 422 ")
            session, reused = wire.session, bool(wire.session_reused)
    return reused


def test_the_port_for_cards_has_no_other_page(house: House) -> None:
    base = f"https://localhost:{house.port}"
    assert house.read(f"{base}/", None).headers["location"] == f"{PORTAL}/"
    for path in ("connexion", "compte", "carte/retour", "carte/suite"):
        assert house.read(f"{base}/{path}", None).status_code == 404
    for query in ("", "?etat=x", f"?etat={'a' * 43}&etat={'b' * 43}", "?" + "a" * 5_000):
        assert house.read(f"{base}/carte{query}", house.card(ZOE)).status_code == 422
    context = ssl.create_default_context(cafile=str(house.place.anchors))
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.post(f"{base}/carte").status_code == 405
        misled = client.get(f"{base}/carte", headers={"Host": "portail.example"})
        assert (misled.status_code, misled.headers["connection"]) == (421, "close")


def test_where_no_card_is_taken_there_are_no_such_pages(place: Place, browser: Browser) -> None:
    for path in (LOGIN, "carte/retour", "carte/suite"):
        assert browser.get(path).status == 404
    assert "carte CPx" not in browser.get("connexion").text

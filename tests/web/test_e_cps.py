"""An e-CPS is linked on the holder's page after a code, and logs in from then on (SEED-12, L15)."""

from __future__ import annotations

import asyncio
import html
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from mssmtp.config import Settings
from mssmtp.config_tokens import PscSettings
from mssmtp.demo import provider as demo
from mssmtp.demo.authority import Identity
from mssmtp.demo.provider import Client, Provider
from mssmtp.demo.web import https_context
from tests.authority import A_DOMAIN
from tests.web.browser import Browser, Page
from tests.web.conftest import PASSWORD, Place

BACK = "https://127.0.0.1/psc/retour"
ZOE, LUC, NOBODY, OTHER = "899900000110", "899900000128", "899900000136", "899900000144"
LEA = "899900000219"
LINK = "compte/identites/e-cps"
CROSS = {"Sec-Fetch-Site": "cross-site"}


@dataclass
class House:
    """The door, the Pro Santé Connect it asks, and people who log in there."""

    place: Place
    context: ssl.SSLContext
    people: dict[str, dict[str, object]]
    """What the provider says more of somebody."""
    known: set[str] = field(default_factory=set)

    def there(self, away: Page, national_id: str) -> str:
        """Who logs in there; the query that its redirect comes back with."""
        assert away.status == 303, away.text
        url = away.headers["Location"] + "&" + urlencode({"login_hint": national_id})
        shown = httpx.get(url, verify=self.context, trust_env=False)
        assert shown.headers["location"].startswith(f"{BACK}?")
        return urlsplit(shown.headers["location"]).query

    def back(self, browser: Browser, query: str) -> Page:
        """What the return leads to. From another site the ticket alone is sent along."""
        held = browser.cookies
        browser.cookies = {k: v for k, v in held.items() if k == "__Host-detour"}
        shown = browser.ask("GET", f"psc/retour?{query}", headers=CROSS)
        browser.cookies = held
        found = re.search(r'content="0; url=([^"]*)"', shown.html)
        assert found is not None, shown.text
        return browser.get(html.unescape(found[1]))

    def holder(self, name: str) -> Browser:
        """Somebody with an account, logged in a while ago."""
        browser, usual = self.place.browser(), f"{name}.psc@cabinet.example"
        if name not in self.known:
            self.place.person(usual)
            self.known.add(name)
        self.place.clock.advance(61)
        assert browser.log_in(usual, PASSWORD).path == "/compte"
        self.place.clock.advance(61)
        return browser

    def shown(self, browser: Browser, national_id: str) -> Page:
        """Whoever is logged in shows an e-CPS to be linked."""
        return self.back(browser, self.there(browser.ask("GET", LINK), national_id))

    def linked(self, browser: Browser, national_id: str) -> Page:
        """And takes the code from the mail."""
        asked = self.shown(browser, national_id)
        assert asked.path == "/compte/identites/code", asked.text
        return browser.submit(asked.path, {"code": self.place.code()})


@pytest.fixture(scope="module")
def house(
    web_settings: Settings,
    place: Place,
    make_place: Callable[..., Place],
    healthy: dict[str, Identity],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("psc")
    secret = directory / "secret"
    secret.write_text("registration")
    secret.chmod(0o600)
    files = healthy[A_DOMAIN].write(directory, "provider")
    key = RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)
    people: dict[str, dict[str, object]] = {}
    provider = Provider(
        0,
        https_context(files.certificate_file, files.key_file),
        (Client("mssmtp", "registration"),),
        people,
        key,
    )

    asyncio.run_coroutine_threadsafe(provider.__aenter__(), place.loop).result()
    psc = PscSettings(
        issuer=provider.issuer,
        introspection_url=provider.introspection_url,
        client_id="mssmtp",
        client_secret_file=secret,
        anchors_file=web_settings.pki.anchors_file,
        redirect_uri=BACK,
    )
    asking = make_place(web_settings.model_copy(update={"psc": psc}))
    # The provider has the time of day, and its tokens outlive what the tests put it forward.
    asking.clock.advance(time.time() - asking.clock.now().timestamp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "TOKEN_LIVES_S", 86_400)
        yield House(asking, ssl.create_default_context(cafile=str(asking.anchors)), people)
    asking.stop()
    asyncio.run_coroutine_threadsafe(provider.__aexit__(), place.loop).result()


@pytest.mark.requirement("SEED-12")
def test_an_e_cps_is_linked_after_a_code_and_logs_in_until_it_is_unlinked(house: House) -> None:
    holder, other = house.holder("zoe"), house.place.browser()
    assert "Lier mon e-CPS" in holder.get("compte/identites").text
    assert "e-CPS" in other.get("connexion").text
    # L15: linked to no account.
    refused = house.back(other, house.there(other.ask("GET", "psc/connexion"), ZOE))
    assert (refused.status, "liée à aucun compte" in refused.text) == (422, True)
    assert "__Host-session" not in other.cookies

    away = holder.ask("GET", LINK)
    asked = parse_qs(urlsplit(away.headers["Location"]).query)
    assert (asked["acr_values"], asked["scope"]) == (["eidas1"], ["openid scope_all"])
    (kept,) = (each for each in holder.told if each.startswith("__Host-detour=psc"))
    assert "SameSite=Lax" in kept
    form = httpx.get(
        away.headers["Location"], verify=house.context, headers={"Accept": "text/html"}
    )
    assert 'name="login_hint"' in form.text  # the demo's own page, where no card is
    page = house.back(holder, house.there(away, ZOE))
    assert page.path == "/compte/identites/code"
    assert "__Host-detour" not in holder.cookies
    wrong = "000000" if house.place.code() != "000000" else "000001"
    refused = holder.submit(page.path, {"code": wrong})
    assert (refused.status, "Code incorrect" in refused.text) == (422, True)
    assert "Délier" not in holder.get("compte/identites").text
    done = holder.submit(page.path, {"code": house.place.code()})
    assert "Votre e-CPS est liée" in done.text
    assert "Délier" in done.text

    there = house.there(other.ask("GET", "psc/connexion"), ZOE)
    assert house.back(other, there).path == "/compte"
    number = holder.get("compte/identites").fields["numero"]
    assert holder.submit("compte/identites", {"numero": number}).status == 200
    assert other.get("compte").path.startswith("/connexion")  # what it had opened is closed
    fresh = house.place.browser()
    there = house.there(fresh.ask("GET", "psc/connexion"), ZOE)
    assert house.back(fresh, there).status == 422
    assert "__Host-session" not in fresh.cookies


@pytest.mark.requirement("SEED-12")
def test_an_e_cps_of_another_account_is_refused(house: House) -> None:
    assert "est liée" in house.linked(house.holder("luc"), LUC).text
    browser, before = house.holder("max"), len(house.place.mailed("code"))
    refused = house.shown(browser, LUC)
    assert (refused.status, "un autre compte" in refused.text) == (422, True)
    assert len(house.place.mailed("code")) == before


@pytest.mark.attack("ATT-20")
def test_att_20_a_return_is_of_the_session_that_left_and_is_good_once(house: House) -> None:
    browser = house.holder("ida")
    away = browser.ask("GET", LINK)
    query = house.there(away, OTHER)
    ticket, before = browser.cookies["__Host-detour"], len(house.place.mailed("code"))
    for other in (house.place.browser(), house.holder("eve")):
        before = len(house.place.mailed("code"))
        assert house.back(other, query).status == 422  # without the ticket
        other.cookies["__Host-detour"] = ticket
        assert house.back(other, query).status == 422  # with it, in no session or another one
        assert len(house.place.mailed("code")) == before
    assert house.back(browser, "code=x&state=<script>").status == 422
    assert house.back(browser, query).path == "/compte/identites/code"
    house.place.clock.advance(61)
    before = len(house.place.mailed("code"))
    for again in (query, house.there(away, OTHER)):  # the provider's code, and our ticket
        browser.cookies["__Host-detour"] = ticket
        assert house.back(browser, again).status == 422
    assert len(house.place.mailed("code")) == before


@pytest.mark.attack("ATT-20")
def test_att_20_the_code_is_for_the_e_cps_that_was_shown(house: House) -> None:
    browser = house.holder("job")
    page = house.shown(browser, NOBODY)
    attempt, _, _ = browser.cookies["__Host-essai"].partition(".")
    code = house.place.code()
    for subject in (ZOE.encode().hex(), "zz", ""):
        browser.cookies["__Host-essai"] = f"{attempt}.{subject}"
        assert browser.submit(page.path, {"code": code}).status == 422
    assert "Délier" not in browser.get("compte/identites").text


@pytest.mark.attack("ATT-20")
def test_att_20_an_e_cps_at_another_level_than_was_asked_for_opens_nothing(house: House) -> None:
    browser = house.holder("lea")
    assert "est liée" in house.linked(browser, LEA).text
    for told, path in (("eidas3", "/compte"), ("eidas0", "/psc/suite"), ("", "/psc/suite")):
        house.people[LEA] = {"acr": told}
        fresh = house.place.browser()
        page = house.back(fresh, house.there(fresh.ask("GET", "psc/connexion"), LEA))
        assert page.path.startswith(path), (told, page.text)
        assert ("__Host-session" in fresh.cookies) == (path == "/compte")


def test_where_no_browser_is_sent_there_are_no_such_pages(place: Place, browser: Browser) -> None:
    for path in ("psc/connexion", "psc/retour", "psc/suite"):
        assert browser.get(path).status == 404
    assert "e-CPS" not in browser.get("connexion").text

"""Login by a hospital's own provider: the browser's way there and back (T29, SEED-08)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mssmtp.config import Settings
from mssmtp.config_tokens import ProviderSettings
from mssmtp.identity.detour import DetourRefused
from mssmtp.provider_login import Started
from tests.web.browser import Browser
from tests.web.conftest import PASSWORD, PORTAL, Place

USUAL = "ada.fournisseur@cabinet.example"
THERE = "https://idp.chu-g.example/authorize?state=s"
TICKET = "chu-g.1767604800.c2VjcmV0.dm91Y2hlcg"


class Away:
    """A provider that is somewhere else: what it is asked, and the attempt it leads to."""

    def __init__(self, place: Place) -> None:
        self.place, self.asked = place, [("", "", "")]

    async def start(self, name: str) -> Started:
        return Started(THERE, TICKET)

    async def finish(self, name: str, ticket: str, query: str) -> str:
        self.asked.append((name, ticket, query))
        if ticket != TICKET or "code=right" not in query:
            raise DetourRefused("of another browser")
        return self.place.door.site.portal.begin(USUAL, PASSWORD, "")


@pytest.fixture(scope="module")
def hospital(
    web_settings: Settings,
    make_place: Callable[..., Place],
    tmp_path_factory: pytest.TempPathFactory,
) -> Place:
    secret = tmp_path_factory.mktemp("provider") / "secret"
    secret.write_text("registration")
    secret.chmod(0o600)
    provider = ProviderSettings(
        name="chu-g",
        structure="690000013",
        usual_domains=("chu-g.example",),
        issuer="https://idp.chu-g.example",
        anchors_file=web_settings.pki.anchors_file,
        client_id="mssmtp",
        client_secret_file=secret,
        redirect_uri=f"{PORTAL}/retour/chu-g",
    )
    place = make_place(web_settings.model_copy(update={"providers": (provider,)}))
    place.person(USUAL)
    place.door.site.providers = Away(place)  # type: ignore[assignment]
    return place


@pytest.mark.requirement("SEED-09")
def test_who_comes_back_from_the_provider_still_shows_a_code(hospital: Place) -> None:
    browser = hospital.browser()
    assert "chu-g" in browser.get("connexion").text
    away = browser.ask("GET", "connexion/etablissement/chu-g")
    assert (away.status, away.headers["Location"]) == (303, THERE)
    (kept,) = (each for each in browser.told if TICKET in each)
    assert "SameSite=Lax" in kept
    # From another site the ticket alone is sent along.
    before, browser.cookies = browser.cookies, {"__Host-detour": TICKET}
    back = browser.ask(
        "GET", "retour/chu-g?state=s&code=right", headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert back.status == 200
    assert 'content="0; url=/connexion/code"' in back.html
    assert "__Host-detour" not in browser.cookies
    browser.cookies = before | browser.cookies
    assert browser.get("compte").path.startswith("/connexion")
    shown = browser.get("connexion/code")
    done = browser.post("connexion/code", {"csrf": shown.fields["csrf"], "code": hospital.code()})
    assert done.path == "/compte"


@pytest.mark.attack("ATT-20")
def test_att_20_what_comes_back_without_its_ticket_opens_nothing(hospital: Place) -> None:
    browser = hospital.browser()
    for query, cookies in (
        ("code=right", {}),
        ("code=wrong", {"__Host-detour": TICKET}),
        ("error=<script>alert(1)</script>", {"__Host-detour": TICKET}),
    ):
        browser.cookies = dict(cookies)
        refused = browser.ask("GET", f"retour/chu-g?{query}")
        assert refused.status == 422
        assert "<script>alert" not in refused.html
        assert "__Host-essai" not in browser.cookies
    assert browser.get("retour/autre").status == 404
    assert browser.get("connexion/etablissement/autre").status == 404


def test_people_of_a_provider_are_sent_to_it(hospital: Place, browser: Browser) -> None:
    assert browser.get("connexion/etablissement/chu-g").status == 404

"""The links of service mail lead to pages: activation, and a new password (SEED-40, DEF-09)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from mssmtp.bulk.activation import Inviting
from mssmtp.mail import AccountId, Address, BalType, Category, Person, PersonState
from mssmtp.storage import Writing
from mssmtp.storage.people_values import NewPerson
from tests.authority import A_DOMAIN
from tests.web.browser import Browser, Page
from tests.web.conftest import PASSWORD, PORTAL, Place

NEW = "Nouveau1!"
CONDITIONS = ["takes_part", "strictly_needed", "informed"]


def invited(place: Place, usual: str, category: Category = Category.HEALTH_PROFESSIONAL) -> str:
    """Somebody who was loaded and told; the link of the mail."""

    def job(writing: Writing) -> Person:
        new = NewPerson(Address.parse(usual), "Exemple", "<b>Noé</b>", category=category)
        person = writing.create_person(new)
        local = usual.partition("@")[0]
        box = writing.create_bal(Address.parse(f"{local}@{A_DOMAIN}"), BalType.MED)
        writing.give_box(person.account, box.id)
        inviting = Inviting(place.door.site.desk, place.entropy, timedelta(days=30))
        inviting.invite(writing, person, "Clinique <i>A</i>")
        return person

    place.store.write(job).result()
    return place.mailed("activation")[-1]["link"]


def secret(link: str, page: str) -> str:
    """What stands behind the # of a link to `page`, which no server sees."""
    start, sign, token = link.partition("#")
    assert (start, sign) == (f"{PORTAL}/{page}", "#")
    return token


def open_link(browser: Browser, token: str) -> Page:
    """As the script does it, or a hand."""
    return browser.submit("activation", {"token": token})


def choose(
    browser: Browser, shown: Page, password: str = NEW, again: str = NEW, **more: object
) -> Page:
    filled = {"csrf": shown.fields["csrf"], "token": shown.fields["token"]}
    return browser.post(
        "activation/mot-de-passe",
        {**filled, "password": password, "again": again, **more},  # type: ignore[dict-item]
    )


def person_of(place: Place, usual: str) -> Person:
    found = place.store.read(lambda r: r.person(Address.parse(usual))).result()
    assert found is not None
    return found


@pytest.mark.requirement("SEED-40", "DEF-11")
def test_who_was_loaded_chooses_a_password_by_the_link_and_is_certified(
    place: Place, browser: Browser
) -> None:
    usual = "noe.lien@cabinet.example"
    token = secret(invited(place, usual), "activation")
    assert "fragment-" in browser.get("activation").html
    shown = open_link(browser, token)
    assert usual in shown.text
    assert "<b>Noé</b>" not in shown.html
    weak = choose(browser, shown, "abcdef1", "abcdef1")
    assert weak.status == 422
    assert 'aria-invalid="true"' in weak.html
    assert "abcdef1" not in weak.html
    assert choose(browser, weak, NEW, NEW + "x").status == 422
    assert person_of(place, usual).state is PersonState.PRE_REGISTERED
    done = choose(browser, weak)
    assert done.path == "/connexion"
    assert "activé" in done.text
    assert person_of(place, usual).state is PersonState.CERTIFIED
    assert browser.log_in(usual, NEW).path == "/compte"
    again = place.browser()
    assert "a déjà servi" in open_link(again, token).text


@pytest.mark.requirement("SEED-31")
def test_who_is_no_health_professional_affirms_three_conditions_first(
    place: Place, browser: Browser
) -> None:
    usual = "aide@cabinet.example"
    shown = open_link(browser, secret(invited(place, usual, Category.OTHER), "activation"))
    refused = choose(browser, shown, attests=CONDITIONS[:2])
    assert refused.status == 422
    assert "trois conditions" in refused.text
    assert person_of(place, usual).state is PersonState.PRE_REGISTERED
    assert choose(browser, refused, attests=CONDITIONS).path == "/connexion"
    kept = place.store.read(lambda r: r.records("person", person_of(place, usual).id)).result()
    assert "attestation" in kept


@pytest.mark.attack("ATT-21")
def test_att_21_of_many_who_come_with_one_link_one_finalises(
    place: Place, browser: Browser
) -> None:
    token = secret(invited(place, "course.lien@cabinet.example"), "activation")
    filled = {"csrf": open_link(browser, token).fields["csrf"], "token": token}
    sent = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}

    def come(number: int) -> int:
        password = f"Nouveau{number}!"
        data = {**filled, "password": password, "again": password}
        return browser.ask("POST", "activation/mot-de-passe", data, sent).status

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(come, range(4))) == [303, 422, 422, 422]


@pytest.mark.attack("ATT-21")
def test_att_21_a_worn_out_link_and_one_that_never_was_are_answered_alike(
    place: Place, browser: Browser
) -> None:
    link = invited(place, "tard@cabinet.example")
    place.clock.advance(timedelta(days=31).total_seconds())
    seen = {
        open_link(browser, token).html.replace(token, "X")
        for token in (secret(link, "activation"), "jamais-vu", "x" * 64)
    }
    assert len(seen) == 1


# ---------------------------------------------------------------- a forgotten password

ADA = "ada.oubli@cabinet.example"


@pytest.fixture(scope="module")
def ada(place: Place) -> AccountId:
    return place.person(ADA)


def asked(place: Place, browser: Browser, usual: str = ADA) -> Page:
    place.clock.advance(301)
    return browser.submit("mot-de-passe/oublie", {"usual": usual})


def half_way(place: Place, browser: Browser) -> dict[str, str]:
    """The link was opened and a code mailed; the fields of the page that asks for it."""
    asked(place, browser)
    token = secret(place.mailed("reset")[-1]["link"], "mot-de-passe")
    shown = browser.submit("mot-de-passe", {"token": token})
    return {name: shown.fields[name] for name in ("csrf", "token", "attempt")}


@pytest.mark.requirement("DEF-09", "SEED-13")
def test_l22_a_forgotten_password_needs_the_link_and_a_code(
    place: Place, browser: Browser, ada: AccountId
) -> None:
    inside = place.browser()
    inside.log_in(ADA, PASSWORD)
    hidden = half_way(place, browser)
    new = {**hidden, "password": NEW, "again": NEW}
    assert browser.post("mot-de-passe/nouveau", {**new, "code": "000000"}).status == 422
    code = place.code()
    weak = browser.post(
        "mot-de-passe/nouveau", {**hidden, "code": code, "password": "x", "again": "x"}
    )
    assert weak.status == 422
    assert "moins de 7" in weak.text
    done = browser.post("mot-de-passe/nouveau", {**new, "code": code})
    assert (done.path, "remplacé" in done.text) == ("/connexion", True)
    # Sessions of the password before are over, and the link was good once.
    assert inside.get("compte").path.startswith("/connexion")
    assert browser.post("mot-de-passe/nouveau", {**new, "code": code}).status == 422
    place.clock.advance(61)
    assert browser.log_in(ADA, NEW).path == "/compte"
    place.store.write(lambda w: None).result()


@pytest.mark.requirement("DEF-09")
def test_l22_a_link_ends_after_an_hour(place: Place, browser: Browser, ada: AccountId) -> None:
    asked(place, browser)
    token = secret(place.mailed("reset")[-1]["link"], "mot-de-passe")
    place.clock.advance(3601)
    shown = browser.submit("mot-de-passe", {"token": token})
    assert shown.status == 422
    assert "a expiré" in shown.text


@pytest.mark.attack("ATT-21")
def test_att_21_who_asks_for_a_link_hears_the_same_of_every_address(
    place: Place, browser: Browser, ada: AccountId
) -> None:
    before = len(place.mailed("reset"))
    seen = {
        asked(place, browser, usual).html
        for usual in (ADA, "personne@cabinet.example", "pas une adresse", "'; --@x.example")
    }
    assert len(seen) == 1
    assert len(place.mailed("reset")) == before + 1

"""Registering with a browser, and the link that confirms an address (SEED-33 to SEED-36)."""

from __future__ import annotations

import pytest

from mssmtp.mail import Address, Domain, PersonState
from mssmtp.notices.inviting import Inviting
from tests.authority import A_DOMAIN
from tests.web.browser import CSRF, Browser, Page
from tests.web.conftest import Place

PASSWORD = "Bonjour-7"
CONDITIONS = ["takes_part", "strictly_needed", "informed"]
SAID = {"profession": "psychomotricienne", "address": "1 rue", "postcode": "34000", "town": "X"}


def asked(browser: Browser, usual: str, last_name: str = "Marteau") -> Page:
    given = {"usual": usual, "last_name": last_name, "first_name": "Lucie"}
    return browser.submit("inscription", given)


def token(place: Place, kind: str = "registration") -> str:
    link = place.mailed(kind)[-1]["link"]
    assert link.startswith("https://portail.hopital-a.test/confirmation#")
    return link.partition("#")[2]


def opened(browser: Browser, secret: str) -> Page:
    return browser.submit("confirmation", {"token": secret})


def filled(browser: Browser, secret: str, **more: str | list[str]) -> Page:
    shown = opened(browser, secret)
    given: dict[str, str | list[str]] = {"last_name": "Marteau", "first_name": "Lucie"}
    given |= {"password": PASSWORD, "again": PASSWORD, "condition": CONDITIONS}
    given |= {CSRF: shown.fields[CSRF], "token": secret, "step": "2"}
    return browser.post("confirmation", given | more)


@pytest.mark.requirement("SEED-33", "SEED-34", "SEED-36", "SEED-08")
def test_who_registers_confirms_chooses_a_password_logs_in_and_asks_to_be_certified(
    place: Place, browser: Browser
) -> None:
    usual = "lucie@poste.example"
    assert "inscription" in browser.get("connexion").html
    assert "Un e-mail vient de partir" in asked(browser, usual).text
    form = opened(browser, token(place))
    assert (form.fields["last_name"], form.fields["first_name"]) == ("Marteau", "Lucie")
    assert place.store.read(lambda r: r.person(Address.parse(usual))).result() is None
    assert "adresse est confirmée" in filled(browser, token(place)).text
    place.clock.advance(1)
    assert browser.log_in(usual, PASSWORD).status == 200
    shown = browser.get("compte/certification")
    assert "organisme régional" in shown.text
    assert browser.submit("compte/certification", SAID | {"number": "1"}).status == 422
    told = browser.submit("compte/certification", SAID | {"number": "10000000009"})
    assert "attend depuis" in told.text
    person = place.store.read(lambda r: r.person(Address.parse(usual))).result()
    assert person is not None
    assert (person.state, person.national_id) == (PersonState.NOT_CERTIFIED, None)
    waiting = place.store.read(lambda r: r.pending_persons()).result()
    assert person.id in [each.person.id for each in waiting]


@pytest.mark.attack("ATT-21")
def test_att_21_the_page_is_the_same_for_an_address_that_is_known(
    place: Place, browser: Browser
) -> None:
    place.person("connue@cabinet.example")
    pages = [asked(browser, each) for each in ("connue@cabinet.example", "neuve@poste.example")]
    known, unknown = (each.html.replace(each.fields[CSRF], "") for each in pages)
    assert known == unknown
    assert [each.status for each in pages] == [200, 200]
    assert place.mailed("registered")[-1]["link"].startswith("https://portail.hopital-a.test")


@pytest.mark.requirement("SEED-35", "DEF-09")
def test_the_link_of_an_invitation_is_opened_by_the_same_page_once(
    place: Place, browser: Browser
) -> None:
    usual = Address.parse("invitee@poste.example")
    inviting = Inviting(place.door.site.desk, place.clock, place.entropy)
    place.store.write(lambda w: inviting.mail_link(w, usual, None)).result()
    secret = token(place, "invitation")
    assert filled(browser, secret).path.startswith("/connexion")
    person = place.store.read(lambda r: r.person(usual)).result()
    assert person is not None
    box = place.store.read(lambda r: r.box_of(person.account)).result()
    assert box is not None
    # The settings name domains that structures share elsewhere: nothing would arrive there.
    assert box.address.domain == Domain(A_DOMAIN)
    for again in (opened(browser, secret), opened(browser, "x" * 22), opened(browser, "")):
        assert again.status == 422
        assert "plus valable" in again.text
        assert PASSWORD not in again.html


def test_what_is_wrong_in_the_form_is_said_and_spends_nothing(
    place: Place, browser: Browser
) -> None:
    asked(browser, "fautes@poste.example")
    secret = token(place)
    for wrong in ({"again": "Autre-8"}, {"condition": CONDITIONS[:2]}, {"last_name": "x" * 101}):
        shown = filled(browser, secret, **wrong)
        assert shown.status == 422, wrong
        assert PASSWORD not in shown.html
        assert shown.fields["step"] == "2"
    assert filled(browser, secret).status == 200


@pytest.mark.attack("ATT-37")
def test_att_37_names_are_text(place: Place, browser: Browser) -> None:
    name = '<script>alert(1)</script>{{7*7}}"'
    asked(browser, "injectee@poste.example", name)
    shown = opened(browser, token(place))
    assert "<script>alert" not in shown.html
    assert "49" not in shown.fields["last_name"]
    assert shown.fields["last_name"] == name
    for bad in ("a\r\nBcc: x@y.example", "\u202etxt", "\x00"):
        assert asked(browser, "injectee@poste.example", bad).status in (200, 422)


def test_registering_is_in_english_too(place: Place, browser: Browser) -> None:
    browser.headers["Accept-Language"] = "en"
    assert "Get the link" in browser.get("inscription").text
    shown = browser.submit("inscription", {"usual": "rien", "last_name": "a", "first_name": "b"})
    assert (shown.status, "Give your usual e-mail" in shown.text) == (422, True)


def test_no_form_is_taken_from_elsewhere(place: Place, browser: Browser) -> None:
    before = len(place.mailed("registration"))
    given = {"usual": "croisee@poste.example", "last_name": "a", "first_name": "b"}
    assert browser.post("inscription", given).status == 403
    evil = {"Origin": "https://mechant.example", "Sec-Fetch-Site": "cross-site"}
    csrf = browser.get("inscription").fields[CSRF]
    assert browser.post("inscription", given | {CSRF: csrf}, headers=evil).status == 403
    assert len(place.mailed("registration")) == before
    assert browser.get("compte/certification").path.startswith("/connexion")

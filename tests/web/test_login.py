"""Logging in with a browser: two factors, one answer for all who are not let in (SEED-09)."""

from __future__ import annotations

import pytest

from mssmtp.mail import PersonState
from tests.web.browser import Browser
from tests.web.conftest import PASSWORD, Place

ADA = "ada.login@cabinet.example"


@pytest.fixture(scope="module", autouse=True)
def _people(place: Place) -> None:
    place.person(ADA)
    place.person("pas-encore@cabinet.example", state=PersonState.PRE_REGISTERED)
    stopped = place.person("suspendu@cabinet.example")
    place.store.write(lambda w: w.set_account_active(stopped, active=False)).result()


@pytest.fixture(autouse=True)
def _a_minute_later(place: Place) -> None:
    """One code a minute and account (DEF-03)."""
    place.clock.advance(61)


def half_way(browser: Browser) -> dict[str, str]:
    """The password was right; the fields of the page that asks for the code."""
    asked = browser.submit("connexion", {"usual": ADA, "password": PASSWORD})
    assert asked.path == "/connexion/code"
    return {"csrf": asked.fields["csrf"]}


@pytest.mark.requirement("SEED-09", "SEED-10")
def test_address_password_and_code_open_the_account(place: Place, browser: Browser) -> None:
    shown = browser.log_in(ADA, PASSWORD)
    assert (shown.status, shown.path) == (200, "/compte")
    assert ADA in shown.text
    assert place.mailed("code")[-1]["code"].isdecimal()


@pytest.mark.requirement("SEED-09")
def test_l10_no_page_of_the_account_opens_without_the_code(place: Place, browser: Browser) -> None:
    hidden = half_way(browser)
    assert browser.get("compte").path.startswith("/connexion?vers=compte")
    for code in ("", "0", "abcdef", place.code() + "1"):
        refused = browser.post("connexion/code", {**hidden, "code": code})
        assert refused.status == 422
        assert "Code incorrect" in refused.text
    assert browser.get("compte").path.startswith("/connexion")
    assert browser.post("connexion/code", {**hidden, "code": place.code()}).path == "/compte"


@pytest.mark.attack("ATT-21")
def test_att_21_a_code_is_of_the_browser_that_asked_and_good_once(
    place: Place, browser: Browser
) -> None:
    """L12."""
    hidden = half_way(browser)
    code = place.code()
    other = place.browser()
    elsewhere = other.get("connexion").fields["csrf"]
    assert other.post("connexion/code", {"csrf": elsewhere, "code": code}).status == 422
    assert "__Host-session" not in other.cookies
    attempt = browser.cookies["__Host-essai"]
    assert browser.post("connexion/code", {**hidden, "code": code}).path == "/compte"
    browser.cookies = {"__Host-essai": attempt}
    again = browser.get("connexion").fields["csrf"]
    assert browser.post("connexion/code", {"csrf": again, "code": code}).status == 422


@pytest.mark.requirement("SEED-09")
def test_l11_l13_a_code_ends_after_600_seconds_and_after_five_wrong_ones(
    place: Place, browser: Browser
) -> None:
    hidden = half_way(browser)
    place.clock.advance(601)
    assert browser.post("connexion/code", {**hidden, "code": place.code()}).status == 422
    hidden = half_way(browser)
    right = place.code()
    for wrong in ["x", "y", "z", "t", "u"]:
        browser.post("connexion/code", {**hidden, "code": wrong})
    assert browser.post("connexion/code", {**hidden, "code": right}).status == 422


@pytest.mark.attack("ATT-21")
def test_att_21_unknown_wrong_suspended_and_not_activated_are_shown_one_page(
    place: Place, browser: Browser
) -> None:
    seen = set()
    mailed = len(place.mailed("code"))
    for usual, password in (
        (ADA, "Faux-mot1"),
        ("personne@cabinet.example", PASSWORD),
        ("suspendu@cabinet.example", PASSWORD),
        ("pas-encore@cabinet.example", PASSWORD),
    ):
        shown = browser.submit("connexion", {"usual": usual, "password": password})
        page = shown.html.replace(usual, "X")
        told = {name for name in shown.headers if name.lower() not in ("date", "content-length")}
        seen.add((shown.status, page, tuple(sorted(told))))
        assert password not in shown.html
    assert len(seen) == 1
    assert len(place.mailed("code")) == mailed


@pytest.mark.attack("ATT-22")
def test_att_22_what_is_typed_is_looked_up_and_shown_as_text(
    place: Place, browser: Browser
) -> None:
    for usual in (
        "' OR 1=1 --@cabinet.example",
        '"><script>alert(1)</script>@cabinet.example',
        "*)(mail=*@cabinet.example",
        "{{ 7*7 }}@cabinet.example",
        "ada\r\nBcc: x@cabinet.example",
        "\x00",
        "é" * 4000,
    ):
        shown = browser.submit("connexion", {"usual": usual, "password": PASSWORD})
        assert shown.status in (422, 429)
        assert "<script>alert" not in shown.html
        assert "49@cabinet" not in shown.html


def test_l09_a_login_that_is_no_address_has_its_own_text(browser: Browser) -> None:
    shown = browser.submit("connexion", {"usual": "zoe", "password": PASSWORD})
    assert shown.status == 422
    assert "adresse e-mail habituelle" in shown.text


def test_the_page_that_was_asked_for_comes_after_the_login_and_no_other(browser: Browser) -> None:
    asked = browser.get("compte")
    assert asked.path == "/connexion?vers=compte"
    assert browser.log_in(ADA, PASSWORD, "connexion?vers=compte").path == "/compte"


@pytest.mark.attack("ATT-38")
@pytest.mark.parametrize(
    "place_asked",
    [
        "//evil.example/x",
        "https://evil.example",
        "\\\\evil.example",
        "compte\r\nX: y",
        "../x",
        "%2f",
    ],
)
def test_nobody_is_sent_to_another_site(place: Place, browser: Browser, place_asked: str) -> None:
    fields = browser.get("connexion").fields
    filled = {"csrf": fields["csrf"], "usual": ADA, "password": PASSWORD, "vers": place_asked}
    half = browser.post("connexion", filled)
    filled = {"csrf": half.fields["csrf"], "code": place.code(), "vers": place_asked}
    assert browser.post("connexion/code", filled).path == "/compte"


@pytest.mark.requirement("SEED-07")
def test_the_language_is_chosen_on_the_login_page_and_stays(browser: Browser) -> None:
    shown = browser.get("connexion")
    assert '<html lang="fr">' in shown.html
    chosen = {"csrf": shown.fields["csrf"], "langue": "en", "page": "connexion"}
    english = browser.post("langue", chosen)
    assert english.path == "/connexion"
    assert '<html lang="en">' in english.html
    assert "Usual e-mail address" in english.text
    refused = browser.submit("connexion", {"usual": "zoe", "password": "x"})
    assert "You log in with your usual e-mail address." in refused.text
    assert "My account" in browser.log_in(ADA, PASSWORD).text
    # Without a choice the browser's own preference counts.
    browser.cookies.clear()
    assert "Log in" in browser.get("connexion", {"Accept-Language": "en-GB, fr;q=0.5"}).text

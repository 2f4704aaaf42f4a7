"""A session ends when it should, at the next request, in every worker (ATT-18, L22)."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mssmtp.identity import portal_password
from mssmtp.mail import AccountId
from mssmtp.web import sessions
from tests.web.browser import Browser
from tests.web.conftest import PASSWORD, Place

COOKIE = "__Host-session"


@pytest.fixture
def ada(place: Place, browser: Browser, request: pytest.FixtureRequest) -> AccountId:
    """Somebody who is logged in, and nobody's before."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name)[-40:].strip("-")
    usual = f"{name}@cabinet.example"
    account = place.person(usual)
    assert browser.log_in(usual, PASSWORD).path == "/compte"
    return account


def is_in(browser: Browser) -> bool:
    return browser.get("compte").path == "/compte"


def test_logging_out_ends_it_for_who_kept_its_cookie(browser: Browser, ada: AccountId) -> None:
    kept = browser.cookies[COOKIE]
    left = browser.submit("compte", {}, to="deconnexion")
    assert "déconnecté" in left.text
    assert COOKIE not in browser.cookies
    browser.cookies[COOKIE] = kept
    assert not is_in(browser)


def test_silence_ends_it_and_activity_keeps_it_until_its_length(
    place: Place, browser: Browser, ada: AccountId
) -> None:
    settings, begun = place.settings.web, place.clock.now()
    for _ in range(20):
        place.clock.advance(settings.session_idle.total_seconds() - 60)
        if not is_in(browser):
            break
        place.store.write(lambda w: None).result()  # what was noted is committed
    lasted = place.clock.now() - begun
    assert settings.session_length <= lasted < settings.session_length + settings.session_idle


def test_half_an_hour_of_silence_is_enough(place: Place, browser: Browser, ada: AccountId) -> None:
    place.clock.advance(place.settings.web.session_idle.total_seconds() + 1)
    shown = browser.get("compte")
    assert shown.path.startswith("/connexion")
    assert "session est terminée" in shown.text


@pytest.mark.attack("ATT-18")
@pytest.mark.parametrize("what", ["suspended", "password", "ended"])
def test_att_18_it_ends_at_the_next_request_when_its_ground_is_gone(
    place: Place, browser: Browser, ada: AccountId, what: str
) -> None:
    place.clock.advance(1)
    if what == "suspended":
        place.store.write(lambda w: w.set_account_active(ada, active=False)).result()
    elif what == "password":
        made = portal_password.hashed("Nouveau1!", place.entropy)
        place.store.write(lambda w: w.set_portal_password(ada, made)).result()
    else:
        (known,) = place.store.read(lambda r: sessions.listed(r, ada)).result()
        place.store.write(lambda w: sessions.end_all(w, known)).result()
    assert not is_in(browser)


def test_it_is_known_to_every_worker_and_listed_without_its_token(
    place: Place,
    browser: Browser,
    ada: AccountId,
    make_place: Callable[..., Place],
) -> None:
    second = make_place(place.settings)
    other = second.browser()
    other.cookies = dict(browser.cookies)
    assert is_in(other)
    (known,) = place.store.read(lambda r: sessions.listed(r, ada)).result()
    assert known.agent.startswith("python-httpx")
    assert known.address == "127.0.0.1"
    assert known.form_key == ""
    stranger = replace(known, login=replace(known.login, account=AccountId(0)))
    assert not place.store.write(lambda w: sessions.end_one(w, stranger, known.id)).result()
    assert place.store.write(lambda w: sessions.end_one(w, known, known.id)).result()
    assert not is_in(browser)


@pytest.mark.attack("ATT-18")
def test_att_18_a_token_chosen_before_the_login_opens_nothing_after_it(place: Place) -> None:
    """Session fixation: what somebody else has put into the browser is never taken up."""
    usual = "fixation@cabinet.example"
    place.person(usual)
    browser = place.browser()
    planted = "A" * 32
    browser.cookies = {COOKIE: planted, "__Host-avant": planted}
    browser.log_in(usual, PASSWORD)
    assert browser.cookies[COOKIE] != planted
    assert "__Host-avant" not in browser.cookies
    thief = place.browser()
    thief.cookies = {COOKIE: planted}
    assert not is_in(thief)
    # Another login in the same browser ends the session before.
    before = browser.cookies.pop(COOKIE)
    place.clock.advance(61)
    browser.log_in(usual, PASSWORD)
    assert browser.cookies[COOKIE] != before


def test_neither_token_nor_cookie_is_in_the_store(
    place: Place, browser: Browser, ada: AccountId
) -> None:
    token = browser.cookies[COOKIE].encode()
    home = place.settings.store.home
    octets = b"".join(f.read_bytes() for f in home.rglob("*") if f.is_file())
    assert token not in octets
    assert b"python-httpx" not in octets


def test_a_link_in_a_mail_opens_the_account_of_who_is_logged_in(
    browser: Browser, ada: AccountId
) -> None:
    """From another site strict cookies stay behind; a page of ours asks again, and has them."""
    kept, browser.cookies = browser.cookies, {}
    shown = browser.get("compte", {"Sec-Fetch-Site": "cross-site"})
    assert shown.status == 200
    assert 'content="0; url=/compte"' in shown.html
    browser.cookies = kept
    assert is_in(browser)


@pytest.mark.attack("ATT-21")
def test_att_21_one_code_opens_one_session_under_race(place: Place) -> None:
    usual = "course@cabinet.example"
    account = place.person(usual)
    browser = place.browser()
    asked = browser.submit("connexion", {"usual": usual, "password": PASSWORD})
    filled = {"csrf": asked.fields["csrf"], "code": place.code()}
    sent = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    with ThreadPoolExecutor(6) as threads:
        answers = list(
            threads.map(
                lambda _: browser.ask("POST", "connexion/code", filled, sent).status, range(6)
            )
        )
    # Who comes after the one that got in finds the session of before gone with its form.
    assert answers.count(303) == 1
    assert set(answers) <= {303, 403, 422}
    assert len(place.store.read(lambda r: sessions.listed(r, account)).result()) == 1

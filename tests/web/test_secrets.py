"""What people type and are given in the pages is in no file, no log and no trace (ATT-39)."""

from __future__ import annotations

import logging
import re

import pytest

from mssmtp.identity import app_password
from mssmtp.mail import Address
from tests.canary.finder import secrets_under
from tests.web.browser import CSRF, Browser
from tests.web.conftest import QUICK, Place
from tests.web.test_registering import asked, filled, opened, token

USUAL = "secrete@poste.example"
PASSWORD, WRONG, OTHER = "Bonjour-7", "Faux-Secret-4711", "Nouveau-Secret-8"


@pytest.fixture
def secrets(
    place: Place,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> dict[str, str]:
    """What went over the wire while somebody registers, logs in, mistypes, gets a password for a
    device, forgets her own and ends, by what it is."""
    monkeypatch.setattr(app_password, "COST", QUICK)
    caplog.set_level(logging.DEBUG)
    asked(browser, USUAL)
    found = {"the password": PASSWORD, "a wrong password": WRONG, "the next password": OTHER}
    found["the link"] = token(place)
    opened(browser, found["the link"])
    filled(browser, found["the link"])
    place.clock.advance(61)
    browser.submit("connexion", {"usual": USUAL, "password": WRONG})
    browser.submit("connexion", {"usual": WRONG, "password": PASSWORD})
    found["the form"] = browser.get("connexion").fields[CSRF]
    browser.log_in(USUAL, PASSWORD)
    found |= {f"the cookie {name}": value for name, value in browser.cookies.items()}
    made = browser.submit("compte/appareils", {"nom": "Poste", "service": "both"})
    shown = re.search(r'class="secret">([a-z2-9-]+)<', made.html)
    assert shown is not None
    found |= {"as it is shown": shown[1], "of a device": shown[1].replace("-", "")}
    place.clock.advance(301)
    browser.submit("mot-de-passe/oublie", {"usual": USUAL})
    found["the link to another"] = place.mailed("reset")[-1]["link"].partition("#")[2]
    again = browser.submit("mot-de-passe", {"token": found["the link to another"]})
    hidden = {name: again.fields[name] for name in (CSRF, "token", "attempt")}
    given = {**hidden, "password": OTHER, "again": OTHER, "code": place.code()}
    assert "remplacé" in browser.post("mot-de-passe/nouveau", given).text
    return found | {"the attempt": hidden["attempt"]}


@pytest.mark.requirement("OP-72", "DEF-03", "DEF-09")
@pytest.mark.attack("ATT-39")
def test_att_39_no_password_link_cookie_or_code_is_found_in_any_file_log_or_trace(
    place: Place, secrets: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert all(len(secret) >= 8 for secret in secrets.values())
    assert len(secrets) >= 9
    account = place.store.read(lambda r: r.account(USUAL)).result()
    assert account is not None
    traces = place.store.read(lambda r: r.traces(account=account.id)).result()
    assert traces
    assert place.store.read(lambda r: r.person(Address.parse(USUAL))).result() is not None
    told = "".join(f"{each.author}{each.request}{each.answer}" for each in traces)
    # The browser of this test tells what it sends, at that level.
    written = (*caplog.get_records("setup"), *caplog.records)
    lines = [each for each in written if not each.name.startswith(("httpx", "httpcore"))]
    assert lines
    told += "".join(str(vars(each)) for each in lines)
    assert [what for what, secret in secrets.items() if secret in told] == []
    assert secrets_under(secrets, place.settings.store.home) == {}
    # Six digits stand anywhere by chance; of one code that were kept, all would be.
    codes = {str(number): each["code"] for number, each in enumerate(place.mailed("code"))}
    assert len(codes) >= 2
    assert secrets_under(codes, place.settings.store.home).keys() != codes.keys()

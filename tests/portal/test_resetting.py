"""A forgotten portal password: one answer for all, a link for an hour, and a code (DEF-09, L22)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from mssmtp.admin import answer
from mssmtp.admin.operation import Office
from mssmtp.codes import CodeRefused, CodesGuessed, CodeTooSoon
from mssmtp.config_notices import NoticeSettings
from mssmtp.identity import WeakPassword
from mssmtp.mail import Actor, Address, AdminLevel, PersonState
from mssmtp.notices import Desk, NoticesDown
from mssmtp.portal import Portal, PortalRefused
from mssmtp.resetting import LinkRefused, Resetting, Shown
from mssmtp.storage import Store
from tests.admin.conftest import office
from tests.identity.fakes import Clock, Entropy
from tests.portal.test_portal import NEW, PASSWORD, USUAL, add, choose, mailed

__all__ = ["office"]


def _nobody(_: Address) -> bool:
    return False


@pytest.fixture
def resetting(store: Store, desk: Desk, clock: Clock) -> Resetting:
    choose(store, add(store))
    return made(store, desk, clock)


def made(
    store: Store, desk: Desk, clock: Clock, elsewhere: Callable[[Address], bool] = _nobody
) -> Resetting:
    return Resetting(store, desk, clock, Entropy(b"resets"), elsewhere)


def links(store: Store) -> list[str]:
    """Secrets of the links that wait to be mailed."""
    found = store.read(lambda r: r.waiting_notices()).result()
    return [str(each.values["link"]).partition("#")[2] for each in found if each.kind == "reset"]


def begun(resetting: Resetting, store: Store) -> tuple[str, Shown]:
    resetting.ask(USUAL.upper())
    token = links(store)[-1]
    attempt = resetting.open(token)
    return token, Shown(attempt, mailed(store)[-1], NEW, NEW)


@pytest.mark.requirement("DEF-09")
def test_l22_a_link_for_an_hour_and_a_code_replace_the_password_once(
    resetting: Resetting, store: Store, desk: Desk, clock: Clock
) -> None:
    token, shown = begun(resetting, store)
    clock.advance(9 * 60)
    resetting.finish(token, shown)
    portal = Portal(store, desk, clock, Entropy(b"portal"))
    with pytest.raises(PortalRefused):
        portal.begin(USUAL, PASSWORD)
    assert portal.begin(USUAL, NEW)
    for attempt in (lambda: resetting.finish(token, shown), lambda: resetting.open(token)):
        with pytest.raises(LinkRefused):
            attempt()
    told = store.read(lambda r: r.waiting_notices()).result()
    assert [each.values["device"] for each in told if each.kind == "device"] == ["portail"]
    account = store.read(lambda r: r.person(Address.parse(USUAL))).result()
    assert account is not None
    traces = store.read(lambda r: r.traces(account=account.account)).result()
    said = [each.request for each in traces]
    assert said == ["portail, mot de passe", "mot de passe remplacé", "lien demandé"]


@pytest.mark.attack("ATT-14")
def test_att_14_who_tries_at_the_login_keeps_nobody_from_another_password(
    resetting: Resetting, store: Store, desk: Desk, clock: Clock
) -> None:
    """A code a minute, asked for with a stolen password, left none for its holder's reset."""
    portal = Portal(store, desk, clock, Entropy(b"portal"))
    resetting.ask(USUAL)
    for _ in range(3):
        clock.advance(60)
        attempt = portal.begin(USUAL, PASSWORD)
        for _ in range(5):
            with pytest.raises(CodeRefused):
                portal.finish(attempt, "no code")
    with pytest.raises((CodeTooSoon, CodesGuessed)):
        portal.begin(USUAL, PASSWORD)
    token = links(store)[-1]
    resetting.finish(token, Shown(resetting.open(token), mailed(store)[-1], NEW, NEW))
    clock.advance(60)
    attempt = portal.begin(USUAL, NEW)  # what was guessed before is over
    assert portal.finish(attempt, mailed(store)[-1])


def test_every_question_waits_for_the_disk_whoever_is_asked_for(
    resetting: Resetting, store: Store
) -> None:
    """What changes nothing is answered without: milliseconds sooner, which tells who is known."""
    with closing(sqlite3.connect(store._home / "store.db")) as behind:
        for asked in (USUAL, USUAL, "nobody@poste.example", "nobody@poste.example", "no address"):
            before = behind.execute("PRAGMA data_version").fetchone()
            resetting.ask(asked)
            assert behind.execute("PRAGMA data_version").fetchone() != before, asked
    assert len(links(store)) == 1


@pytest.mark.attack("ATT-18")
def test_att_18_sessions_end_with_the_password_they_were_opened_by(
    resetting: Resetting, store: Store, desk: Desk, clock: Clock
) -> None:
    portal = Portal(store, desk, clock, Entropy(b"portal"))
    login = portal.finish(portal.begin(USUAL, PASSWORD), mailed(store)[-1])
    clock.advance(120)
    assert portal.is_current(login)
    resetting.finish(*begun(resetting, store))
    assert not portal.is_current(login)
    clock.advance(120)
    again = portal.finish(portal.begin(USUAL, NEW), mailed(store)[-1])
    assert portal.is_current(again)
    store.write(lambda w: w.set_account_active(again.account, active=False)).result()
    assert not portal.is_current(again)


@pytest.mark.requirement("DEF-09")
def test_l22_after_an_hour_or_without_its_code_nothing_is_replaced(
    resetting: Resetting, store: Store, clock: Clock
) -> None:
    token, shown = begun(resetting, store)
    for code in ("", "000000" if shown.code != "000000" else "111111"):
        with pytest.raises(CodeRefused):
            resetting.finish(token, Shown(shown.attempt, code, NEW, NEW))
    with pytest.raises(CodeRefused):
        resetting.finish(token, Shown("autre", shown.code, NEW, NEW))
    with pytest.raises(WeakPassword):
        resetting.finish(token, Shown(shown.attempt, shown.code, NEW, PASSWORD))
    clock.advance(3_600)
    assert resetting.open(token), "the last second"
    clock.advance(1)
    for refused in (lambda: resetting.open(token), lambda: resetting.finish(token, shown)):
        with pytest.raises(LinkRefused):
            refused()


@pytest.mark.attack("ATT-21")
def test_att_21_of_two_who_come_with_one_link_and_code_one_chooses(
    resetting: Resetting, store: Store
) -> None:
    token, shown = begun(resetting, store)

    def tried(password: str) -> bool:
        try:
            resetting.finish(token, Shown(shown.attempt, shown.code, password, password))
        except (LinkRefused, CodeRefused):
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(tried, (NEW, PASSWORD))) == [False, True]


@pytest.mark.attack("ATT-21")
def test_att_21_whether_an_account_exists_is_not_told_and_nobody_is_flooded(
    resetting: Resetting, store: Store, clock: Clock, desk: Desk
) -> None:
    add(store, "luc@cabinet.example", PersonState.PRE_REGISTERED)
    stopped = add(store, "max@cabinet.example")
    store.write(lambda w: w.set_account_active(stopped, active=False)).result()
    for asked in ("personne@cabinet.example", "luc@cabinet.example", "max@cabinet.example", "rien"):
        resetting.ask(asked)
    assert links(store) == []
    for _ in range(5):
        resetting.ask(USUAL)
    (first,) = links(store)
    clock.advance(301)
    resetting.ask(USUAL)
    assert len(links(store)) == 2
    assert resetting.open(first), "whoever asks again does not end the holder's link"
    down = made(store, Desk(NoticeSettings(), (), clock), clock)
    for asked in (USUAL, "personne@cabinet.example"):
        with pytest.raises(NoticesDown):
            down.ask(asked)


def test_whose_password_a_hospital_knows_gets_no_link(
    resetting: Resetting, store: Store, desk: Desk, clock: Clock
) -> None:
    made(store, desk, clock, lambda usual: usual.domain == "cabinet.example").ask(USUAL)
    assert links(store) == []


def test_no_link_code_or_password_lies_in_clear_on_the_disk(
    resetting: Resetting, store: Store, tmp_path: Path
) -> None:
    token, shown = begun(resetting, store)
    resetting.finish(token, shown)
    octets = b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())
    for secret in (token, shown.attempt, NEW):
        assert secret.encode() not in octets


def test_the_portal_asks_by_operations_that_answer_everybody_alike(office: Office) -> None:
    actor = Actor(AdminLevel.OPERATOR, "portail")

    def asked(operation: str, **given: str) -> tuple[int, str]:
        said = answer(office, actor, f"person.reset.{operation}", json.dumps(given).encode())
        return said.status, said.body.decode()

    address = "personne@cabinet.example"
    status, told = asked("ask", usual_address=address)
    assert status == 503  # no relay is configured here: told to everybody
    assert address not in told
    assert asked("open", token="rien")[0] == 409
    given = {"attempt": "a", "code": "123456", "password": NEW, "again": NEW}
    assert asked("finish", token="rien", **given)[0] == 409
    traces = office.store.read(lambda r: r.traces()).result()
    assert not any(address in each.request for each in traces)
    assert asked("finish", token="rien", **(given | {"again": PASSWORD}))[0] == 400

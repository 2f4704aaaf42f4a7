"""What is queued, and when nobody is told (DEF-04)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from mssmtp.config_notices import NoticeSettings
from mssmtp.errors import MailError
from mssmtp.mail import AccountId, Address, Domain, Person, PersonId, PersonState
from mssmtp.notices import Desk, Kind, NoticesDown
from mssmtp.notices.kinds import TRAITS
from mssmtp.notices.templates import BadNotice
from mssmtp.storage import RELAY_STUCK, Notice, Store, Writing
from mssmtp.storage.notices import AWAITED
from tests.storage.support import SteppingClock

SERVED = (Domain("hopital-a.test"),)
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ZOE = Address.parse("zoe@poste.example")


@pytest.fixture
def desk(clock: SteppingClock) -> Desk:
    return Desk(NoticeSettings(relay_host="relais.example"), SERVED, clock)


@pytest.fixture(autouse=True)
def empty(store: Store) -> None:
    """Nothing of the tests before waits."""
    for each in waiting(store):
        done = partial(Writing.notice_done, id=each.id, now=_LONG_AGO, outcome="sent")
        store.write(done).result()


def waiting(store: Store) -> tuple[Notice, ...]:
    return store.read(lambda r: r.waiting_notices()).result()


def test_a_person_is_told_at_the_usual_address_in_their_language(store: Store, desk: Desk) -> None:
    person = Person(
        PersonId(7), AccountId(3), PersonState.CERTIFIED, ZOE, "Tartempion", "Zoé", language="en"
    )
    store.write(lambda w: desk.tell(w, Kind.CODE, person, {"code": "259956"})).result()
    (notice,) = waiting(store)
    assert (notice.to, notice.language, notice.kind) == (ZOE, "en", "code")
    assert notice.values == {"code": "259956"}
    assert notice.expires_at - notice.at == timedelta(minutes=10)


def test_what_is_undone_is_not_told(store: Store, desk: Desk) -> None:
    def job(writing: Writing) -> None:
        desk.tell(writing, Kind.CODE, ZOE, {"code": "259956"})
        raise MailError

    with pytest.raises(MailError):
        store.write(job).result()
    assert waiting(store) == ()


def test_without_a_relay_codes_are_refused_and_the_rest_is_left_out(
    store: Store, clock: SteppingClock
) -> None:
    desk = Desk(NoticeSettings(), SERVED, clock)
    with pytest.raises(NoticesDown) as refused:
        store.write(lambda w: desk.tell(w, Kind.CODE, ZOE, {"code": "1"})).result()
    assert (refused.value.smtp.code, refused.value.imap) == (454, "UNAVAILABLE")
    store.write(lambda w: desk.tell(w, Kind.CERTIFIED, ZOE, {"box": "b"})).result()
    assert waiting(store) == ()


def test_a_relay_that_is_down_is_said_and_other_notices_wait(
    store: Store, desk: Desk, clock: SteppingClock
) -> None:
    store.write(lambda w: desk.tell(w, Kind.CERTIFIED, ZOE, {"box": "b"})).result()
    (notice,) = waiting(store)
    soon = clock.now() + timedelta(seconds=30)
    store.write(lambda w: w.notice_later(notice.id, soon, RELAY_STUCK, attempted=False)).result()
    with pytest.raises(NoticesDown):
        store.read(desk.require).result()
    with pytest.raises(NoticesDown):
        store.write(lambda w: desk.tell(w, Kind.CODE, ZOE, {"code": "1"})).result()
    store.write(lambda w: desk.tell(w, Kind.CERTIFIED, ZOE, {"box": "c"})).result()
    assert len(waiting(store)) == 2
    store.write(lambda w: w.relay_works()).result()
    store.read(desk.require).result()


@pytest.mark.attack("ATT-44")
def test_att_44_a_notice_never_goes_to_a_box_of_ours(store: Store, desk: Desk) -> None:
    inside = Address.parse("zoe@HOPITAL-A.test")
    store.write(lambda w: desk.tell(w, Kind.CERTIFIED, inside, {"box": "b"})).result()
    assert waiting(store) == ()


@pytest.mark.requirement("SEED-42", "CL-31")
@pytest.mark.parametrize("has_pages", [True, False])
def test_who_hears_of_a_device_is_led_to_where_it_is_revoked(
    store: Store, clock: SteppingClock, has_pages: bool
) -> None:
    """A door answers browsers, or none does: then no link leads nowhere."""
    settings = NoticeSettings(relay_host="relais.example", portal_url="https://portail.example/p")
    desk = Desk(settings, SERVED, clock, has_pages=has_pages)
    values = {"device": "Poste", "event": "Créé.", "time": "1/3"}
    store.write(lambda w: desk.tell(w, Kind.DEVICE, ZOE, values)).result()
    (notice,) = waiting(store)
    expected = "https://portail.example/p/compte/appareils" if has_pages else ""
    assert notice.values == values | {"link": expected}


def test_values_of_another_kind_are_our_bug(store: Store, desk: Desk) -> None:
    with pytest.raises(BadNotice):
        store.write(lambda w: desk.tell(w, Kind.CODE, ZOE, {"body": "x"})).result()


def test_the_store_knows_which_kinds_are_awaited() -> None:
    assert set(AWAITED) == {kind.value for kind, traits in TRAITS.items() if traits.is_awaited}


def test_what_has_left_keeps_no_address_and_is_forgotten(
    store: Store, desk: Desk, clock: SteppingClock
) -> None:
    store.write(lambda w: desk.tell(w, Kind.CODE, ZOE, {"code": "259956"})).result()
    (notice,) = waiting(store)
    store.write(lambda w: w.notice_done(notice.id, clock.now(), "sent")).result()
    row = store.read(lambda r: r._all("SELECT sealed, outcome FROM notices")).result()[-1]
    assert row == (None, "sent")
    assert store.read(lambda r: r.noticed_since(ZOE, "code", notice.at)).result() >= 1
    clock.advance(timedelta(days=8))
    store.write(lambda w: w.prune(clock.now())).result()
    assert store.read(lambda r: r._all("SELECT id FROM notices")).result() == []

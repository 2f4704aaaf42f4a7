"""Links that confirm an address: unguessable, once, for 48 hours (DEF-09)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mssmtp.config_notices import NoticeSettings
from mssmtp.errors import MailError
from mssmtp.mail import Address, Domain, PersonState
from mssmtp.notices import Desk
from mssmtp.notices.inviting import TOKEN_OCTETS, Inviting
from mssmtp.outside import SystemEntropy
from mssmtp.people import invited
from mssmtp.storage import Store
from tests.notices.people import usual
from tests.storage.support import SteppingClock

DOMAIN = Domain("hopital-a.test")
SENDER = Address.parse("zoe@hopital-a.test")


@pytest.fixture
def inviting(clock: SteppingClock) -> Inviting:
    settings = NoticeSettings(relay_host="relais.example")
    return Inviting(Desk(settings, (DOMAIN,), clock), clock, SystemEntropy())


def mailed(store: Store, inviting: Inviting, to: Address) -> str | None:
    """The token of a link that was mailed; None: there was one already."""
    if not store.write(lambda w: inviting.mail_link(w, to, SENDER)).result():
        return None
    last = store.read(lambda r: r.waiting_notices()).result()[-1]
    assert last.to == to
    return str(last.values["link"]).rpartition("#")[2]


def confirm(store: Store, token: str) -> invited.Confirmed:
    return store.write(lambda w: invited.confirm(w, token, ("Marley", "Bob"), DOMAIN)).result()


@pytest.mark.requirement("DEF-09")
def test_a_link_serves_once_and_for_48_hours(
    store: Store, inviting: Inviting, clock: SteppingClock
) -> None:
    token = mailed(store, inviting, usual("bob"))
    assert token is not None
    assert len(token) * 6 >= TOKEN_OCTETS * 8 >= 128
    for wrong in ("", token[:-1], token + "A", "x" * len(token)):
        with pytest.raises(invited.ConfirmationRefused):
            confirm(store, wrong)
    clock.advance(timedelta(hours=48))
    with pytest.raises(invited.ConfirmationRefused):
        confirm(store, token)
    second = mailed(store, inviting, usual("bob"))
    assert second is not None
    clock.advance(timedelta(hours=47, minutes=59))
    done = confirm(store, second)
    assert done.person.usual_address == usual("bob")
    assert done.person.state is PersonState.NOT_CERTIFIED
    with pytest.raises(invited.ConfirmationRefused):
        confirm(store, second)


@pytest.mark.attack("ATT-44")
def test_att_44_a_second_link_waits_until_the_first_has_ended(
    store: Store, inviting: Inviting, clock: SteppingClock
) -> None:
    assert mailed(store, inviting, usual("alma")) is not None
    assert mailed(store, inviting, usual("alma")) is None
    clock.advance(timedelta(hours=49))
    assert mailed(store, inviting, usual("alma")) is not None


@pytest.mark.attack("ATT-21")
def test_att_21_of_two_who_open_a_link_at_once_one_is_let_in(
    store: Store, inviting: Inviting
) -> None:
    token = mailed(store, inviting, usual("cora"))
    assert token is not None
    both = [
        store.write(lambda w: invited.confirm(w, token, ("Un", "Deux"), DOMAIN)) for _ in range(2)
    ]
    refused = 0
    for each in both:
        try:
            each.result()
        except MailError:
            refused += 1
    assert refused == 1


def test_somebody_who_has_an_account_keeps_it(store: Store, inviting: Inviting) -> None:
    first, second = (mailed(store, inviting, usual("dora")), None)
    assert first is not None
    before = confirm(store, first)
    store._vault.clock.advance(timedelta(hours=49))  # type: ignore[attr-defined]
    second = mailed(store, inviting, usual("dora"))
    assert second is not None
    again = confirm(store, second)
    assert (again.person.id, again.box.id) == (before.person.id, before.box.id)

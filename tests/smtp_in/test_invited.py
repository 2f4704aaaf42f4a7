"""A letter to a usual address that nobody has registered: it waits here, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mssmtp.config_notices import NoticeSettings
from mssmtp.invitations import return_ended
from mssmtp.mail import (
    Address,
    Bal,
    BalId,
    BalType,
    Domain,
    EnvelopeId,
    PersonState,
    Structure,
    StructureId,
)
from mssmtp.people import invited
from mssmtp.smtp_reports import Reports
from mssmtp.storage import Store, Writing
from tests.smtp_in.fakes import ZOE
from tests.smtp_in.rig import Wire
from tests.smtp_in.test_with_store import OWN, Whole, inbox, log_in, send, store, whole

__all__ = ["store", "whole"]

BOB = Address.parse("bob@ailleurs.example")
DOMAIN = Domain("hopital-a.test")
NAMES = ("Marley", "Bob")


@pytest.fixture
def inviting(whole: Whole) -> Whole:
    """With a relay for service mail."""
    notices = NoticeSettings(relay_host="relais.example", portal_url="https://portail.example")
    whole.settings = whole.settings.model_copy(update={"notices": notices})
    return whole


def choose(store: Store, invites: str) -> None:
    """What the structure of Zoé's box lets be done."""

    def job(writing: Writing) -> None:
        structure = writing.create_structure(
            Structure(StructureId(0), "CH Valmont", "130000011", invites=invites)  # type: ignore[arg-type]
        )
        box = writing.bal(ZOE)
        assert box is not None
        writing.set_bal_structure(box.id, structure.id)

    store.write(job).result()


async def written(inviting: Whole, subject: bytes = b"x") -> str:
    """The reply to RCPT of a stranger, or to the letter."""
    async with inviting.submission() as (_, port), await log_in(inviting, port) as wire:
        return await _say(wire, OWN.replace(b"Subject: x", b"Subject: " + subject))


async def _say(wire: Wire, letter: bytes) -> str:
    assert (await wire.say(f"MAIL FROM:<{ZOE}>")).startswith("250 ")
    reply = await wire.say(f"RCPT TO:<{BOB}>")
    if not reply.startswith("250 "):
        return reply
    await wire.say("RSET")
    return await send(wire, [BOB], letter + b"corps-du-message\r\n", ZOE)


def token_mailed(store: Store) -> str:
    (notice,) = store.read(lambda r: r.waiting_notices()).result()
    assert (notice.kind, notice.to) == ("invitation", BOB)
    link = str(notice.values["link"])
    assert link.startswith("https://portail.example/confirmation#")
    return link.rpartition("#")[2]


@pytest.mark.requirement("SEED-35", "DEF-09", "OP-13")
async def test_a_letter_waits_sealed_and_is_opened_by_who_confirms_the_address(
    inviting: Whole, store: Store
) -> None:
    choose(store, "all")
    reply = await written(inviting, b"canari-titre")
    assert reply.startswith("250 2.0.0")
    envelope = EnvelopeId(reply.split()[-1])
    later = datetime.now(UTC) + timedelta(days=3)
    assert store.write(lambda w: w.lease(later, 10, "w")).result() == (), "no way out (DEF-04)"
    token = token_mailed(store)
    (notice,) = store.read(lambda r: r.waiting_notices()).result()
    assert "canari-titre" not in str(notice.values)
    assert store.check(deep=True).problems == ()
    done = store.write(lambda w: invited.confirm(w, token, NAMES, DOMAIN)).result()
    assert done.letters == 1
    assert (done.person.state, done.box.type) == (PersonState.NOT_CERTIFIED, BalType.INT)
    assert done.box.usual_address == BOB
    (octets,) = inbox(store, done.box.address)
    assert octets.endswith(b"corps-du-message\r\n")
    steps = store.read(lambda r: r.journey(envelope)).result()
    assert [(step.recipient, step.kind) for step in steps] == [(str(BOB), "remise")]
    assert store.read(lambda r: r.has_written(done.box.id, ZOE)).result(), "may be answered"
    # SEED-37: the answer goes to that sender alone; a usual address known is its box (SEED-29).
    assert store.read(lambda r: r.bal_by_usual(BOB)).result() == done.box
    with pytest.raises(invited.ConfirmationRefused):
        store.write(lambda w: invited.confirm(w, token, NAMES, DOMAIN)).result()


@pytest.mark.requirement("DEF-09", "OP-13")
@pytest.mark.parametrize("invites", ["portal", "off"])
async def test_without_invitation_by_smtp_a_stranger_is_refused(
    inviting: Whole, store: Store, invites: str
) -> None:
    choose(store, invites)
    assert (await written(inviting)).startswith("550 5.7.1 ")
    assert store.read(lambda r: r.waiting_notices()).result() == ()


async def test_without_a_relay_nobody_is_invited(whole: Whole, store: Store) -> None:
    choose(store, "all")
    assert (await written(whole)).startswith("550 5.7.1 ")


@pytest.mark.requirement("DEF-09")
async def test_what_nobody_opens_in_thirty_days_comes_back(inviting: Whole, store: Store) -> None:
    choose(store, "all")
    await written(inviting)
    services = inviting.services
    reports = Reports(inviting.settings.operator, store, services.clock, services.serves)
    now = datetime.now(UTC)
    assert await return_ended(store, reports, now + timedelta(days=29)) == 0
    assert await return_ended(store, reports, now + timedelta(days=31)) == 1
    (octets,) = inbox(store, ZOE)
    assert b"Subject: Undelivered Mail Returned to Sender" in octets
    assert f"Final-Recipient: rfc822; {BOB}".encode() in octets
    assert b"corps-du-message" not in octets
    done = store.write(lambda w: invited.confirm(w, token_mailed(store), NAMES, DOMAIN)).result()
    assert done.letters == 0
    assert inbox(store, done.box.address) == []


@pytest.mark.attack("ATT-44")
async def test_att_44_a_hundred_letters_to_a_stranger_are_one_mail_to_him(
    inviting: Whole, store: Store
) -> None:
    choose(store, "all")
    for _ in range(3):
        assert (await written(inviting)).startswith("250 ")
    assert len(store.read(lambda r: r.waiting_notices()).result()) == 1
    done = store.write(lambda w: invited.confirm(w, token_mailed(store), NAMES, DOMAIN)).result()
    assert done.letters == 3


async def test_letters_of_a_box_that_is_destroyed_wait_for_nobody(
    inviting: Whole, store: Store
) -> None:
    choose(store, "all")
    await written(inviting)
    zoe = store.read(lambda r: r.bal(ZOE)).result()
    assert isinstance(zoe, Bal)
    store.shred_bal(BalId(zoe.id), "départ")
    assert store.read(lambda r: r.invited(BOB)).result() == ()

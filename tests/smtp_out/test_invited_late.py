"""A letter that waited for its address meets script and absence of the box it comes into."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mssmtp.mail import Address, Bal, Door, Envelope, Recipient
from mssmtp.people.invited import open_waiting
from mssmtp.storage import Transfer, Writing
from tests.smtp_out.test_relay import LETTER, LUC, ZOE, World, identities, world
from tests.smtp_out.test_relay_store import RETURN_PATH, Home, home, reacting, relay_has_delivered

__all__ = ["home", "identities", "world"]

USUAL = Address.parse("eva@ailleurs.example")


def waits(home: Home, eva: Bal) -> Envelope:
    """From Zoé, to a peer's box and to an address that nobody had registered."""
    to_her = LETTER.replace(b"From: zoe", f"From: <{ZOE}>\r\nTo: <{eva.address}>".encode())
    stranger = Recipient(USUAL)
    envelope = Envelope(home.store.new_envelope_id(), ZOE, (LUC, stranger), home.clock.now())
    letter = home.store.seal(RETURN_PATH + to_her)

    def job(writing: Writing) -> None:
        writing.accept(
            envelope,
            letter,
            local=(),
            queued=(LUC,),
            invited=(stranger,),
            skip=len(RETURN_PATH),
            owner=home.zoe.id,
            transfer=Transfer("in", Door.SUBMISSION, "127.0.0.1", "accept", "250 ok"),
            facts=b"{}",
        )
        writing.hold(envelope.id)

    home.store.write(job).result(10)
    return envelope


@pytest.mark.requirement("SEED-35", "DEF-13", "SEED-44")
async def test_a_letter_that_waited_for_its_address_meets_script_and_absence(
    world: World, home: Home
) -> None:
    eva = reacting(world, home)
    envelope = waits(home, eva)
    home.clock.advance(timedelta(days=29))  # the queue counts from the day it is bound for a box

    def job(writing: Writing) -> int:
        box = writing.bal_by_id(eva.id)
        assert box is not None
        return open_waiting(writing, USUAL, box)

    assert home.store.write(job).result(10) == 1
    assert home.store.check(deep=True).problems == ()
    assert home.store.read(lambda r: r.invited(USUAL)).result(10) == ()
    async with world.relaying():
        await relay_has_delivered(home, 1)
    found = home.store.read(lambda r: {each.name: each for each in r.mailboxes(eva.id)}).result(10)
    assert (found["Plus tard"].messages, found["INBOX"].messages) == (1, 0)
    inbox = home.store.read(lambda r: r.mailbox(home.zoe.id, "INBOX")).result(10)
    assert inbox is not None
    assert inbox.messages == 1  # the answer of the absence
    steps = home.store.read(lambda r: r.journey(envelope.id)).result(10)
    assert [(step.recipient, step.kind) for step in steps if step.recipient == str(eva.address)]
    assert home.store.read(lambda r: r.has_written(eva.id, ZOE)).result(10), "may be answered"

"""The copy in Sent, from the submission door to the store (CL-80, GEN-16, R18)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mssmtp.mail import Address, EnvelopeId
from mssmtp.storage import DELIVERED, Mailbox, Store
from tests.authority import A_DOMAIN, A_SUBJECT, unsigned_whitelist
from tests.smtp_in.fakes import PAUL, PEER, URGENCES, ZOE
from tests.smtp_in.rig import Rig, Wire, greeted, logged_in
from tests.smtp_in.test_with_store import OWN, Whole, log_in, send, store, whole

__all__ = ["store", "whole"]

BODY = b"\xc9l\xe9ments\r\n"


def box(store: Store, address: Address, name: str = "Sent") -> Mailbox:
    bal = store.read(lambda r: r.bal(address)).result()
    assert bal is not None
    found = store.read(lambda r: r.mailbox(bal.id, name)).result()
    assert found is not None
    return found


@pytest.mark.requirement("CL-80")
async def test_what_is_submitted_stands_in_sent_seen_and_octet_for_octet(
    whole: Whole, store: Store
) -> None:
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        assert (await send(wire, [PAUL], OWN + BODY, ZOE)).startswith("250 ")
    sent = box(store, ZOE)
    (row,) = store.read(lambda r: r.messages(sent.id)).result()
    assert row.flags == {"\\Seen", DELIVERED}
    octets = store.read(lambda r: r.body(sent.id, row.uid)).result()
    assert octets.endswith(OWN + BODY)
    delivered = box(store, PAUL, "INBOX")
    assert octets == store.read(lambda r: r.body(delivered.id, row.uid)).result()


@pytest.mark.requirement("CL-80")
async def test_a_letter_whose_network_is_lost_is_whole_or_not_there_and_filed_once(
    whole: Whole, store: Store
) -> None:
    """R18: cut in the middle of the data, then before the 250 was read, then sent again."""
    message = OWN + BODY
    async with whole.submission() as (_, port):
        for ending in (b"", b".\r\n"):
            wire = await log_in(whole, port)
            await begin(wire)
            wire.send(message + ending)
            await wire.writer.drain()
            if ending:
                await wire.reply()
            wire.writer.transport.abort()
        async with await log_in(whole, port) as wire:
            assert (await send(wire, [PAUL], message, ZOE)).startswith("250 ")
    assert box(store, ZOE).messages == 1
    assert box(store, PAUL, "INBOX").messages == 2  # GEN-16: delivery is never de-duplicated


async def begin(wire: Wire) -> None:
    assert (await wire.say(f"MAIL FROM:<{ZOE}>")).startswith("250 ")
    assert (await wire.say(f"RCPT TO:<{PAUL}>")).startswith("250 ")
    assert (await wire.say("DATA")).startswith("354 ")


@pytest.mark.requirement("CL-80")
async def test_a_box_that_wants_no_copy_gets_none_and_a_refused_letter_leaves_none(
    whole: Whole, store: Store
) -> None:
    foreign = OWN.replace(b"zoe.tartempion", b"quelquun.dautre")
    async with whole.submission() as (_, port):
        async with await log_in(whole, port) as wire:
            assert (await send(wire, [PAUL], foreign + BODY, ZOE)).startswith("55")
        zoe = store.read(lambda r: r.bal(ZOE)).result()
        assert zoe is not None
        store.write(lambda w: w.set_sent_copy(zoe.id, on=False)).result()
        async with await log_in(whole, port) as wire:
            assert (await send(wire, [PAUL], OWN + BODY, ZOE)).startswith("250 ")
    assert box(store, ZOE).messages == 0


@pytest.mark.requirement("CL-80")
async def test_the_copy_is_in_the_box_that_wrote_and_a_peer_s_letter_is_filed_nowhere(
    rig: Rig,
) -> None:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        own = OWN.replace(b"zoe.tartempion", b"urgences")
        assert (await send(wire, [PAUL], own + BODY, URGENCES)).startswith("250 ")
    ((bal, _, flags),) = rig.store.filed
    assert bal == rig.store.bals[URGENCES].id
    assert flags == {"\\Seen", DELIVERED}
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        theirs = b"From: <anne.tournesol@cabinet-b.test>\r\n\r\n"
        assert (await send(wire, [ZOE], theirs + BODY, PEER)).startswith("250 ")
    assert len(rig.store.filed) == 1


@pytest.mark.requirement("APX-04")
async def test_a_rewrite_is_in_the_trace_the_proof_and_the_copy_of_the_sender(
    whole: Whole, store: Store
) -> None:
    """What was typed and what was used, in all that stays of the letter."""
    typed, used = "prenom.NOM@medical69.apicrypt.test", "prenom.NOM@interop.apicrypt.test"
    listed = unsigned_whitelist(
        whole.authority,
        (A_DOMAIN, A_SUBJECT.text),
        ("interop.apicrypt.test", "CN=mx.interop.apicrypt.test"),
    )
    whole.trust.swap(replace(whole.trust.snapshot, whitelist=listed))
    message = OWN.replace(b"Subject:", f"To: <{typed}>\r\nSubject:".encode()) + b"corps\r\n"
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        reply = await send(wire, [Address.parse(typed), PAUL], message, ZOE)
    assert reply.startswith("250 2.0.0")
    envelope = EnvelopeId(reply.split()[-1])
    (hop,), events = store.read(lambda r: (r.transfers(envelope), r.events(envelope))).result()
    assert hop.recipients == (used, str(PAUL))
    assert hop.typed == ((typed, used),)
    (sealing,) = (each for each in events if each.kind == "scellement")
    assert [line[1:] for line in sealing.opened if line[1] != "sender"] == [
        ("recipient", typed),
        ("rewritten", used),
        ("recipient", str(PAUL)),
    ]
    sent = box(store, ZOE)
    (row,) = store.read(lambda r: r.messages(sent.id)).result()
    assert store.read(lambda r: r.body(sent.id, row.uid)).result().endswith(message)

"""NOTIFY=SUCCESS for a box of ours: `delivered`, in the commit of the letter (RFC 3461 5.2.3)."""

from __future__ import annotations

import pytest

from mssmtp.mail import Address
from mssmtp.storage import Store
from tests.smtp_in.fakes import PAUL, PEER, ZOE
from tests.smtp_in.rig import Wire, greeted
from tests.smtp_in.test_with_store import HEADER, OWN, Whole, inbox, log_in, store, whole

__all__ = ["store", "whole"]


async def wish(wire: Wire, sender: str, recipients: dict[Address, str], message: bytes) -> str:
    """One letter with a parameter for each recipient; the last reply."""
    assert (await wire.say(f"MAIL FROM:{sender}")).startswith("250 ")
    for recipient, wishes in recipients.items():
        reply = await wire.say(f"RCPT TO:<{recipient}> {wishes}".strip())
        assert reply.startswith("250 "), reply
    assert (await wire.say("DATA")).startswith("354 ")
    wire.send(message + b".\r\n")
    return await wire.reply()


@pytest.mark.requirement("CL-61")
async def test_a_sender_of_ours_has_the_report_in_his_box(whole: Whole, store: Store) -> None:
    sender = f"<{ZOE}> RET=FULL ENVID=QQ+2B1"
    wishes = {PAUL: "NOTIFY=SUCCESS ORCPT=rfc822;Paul@hopital-a.test", ZOE: "NOTIFY=FAILURE"}
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        assert (await wish(wire, sender, wishes, OWN + b"corps\r\n")).startswith("250 2.0.0")
    report = next(each for each in inbox(store, ZOE) if b"report-type" in each)
    assert report.startswith(b"Return-Path: <>\r\n")
    assert b"Original-Envelope-Id: QQ+1" in report
    assert f"Final-Recipient: rfc822; {PAUL}\r\n".encode() in report
    assert b"Original-Recipient: rfc822; Paul@hopital-a.test\r\n" in report
    assert b"Action: delivered\r\nStatus: 2.0.0\r\n" in report
    assert report.count(b"Final-Recipient:") == 1
    assert b"text/rfc822-headers" in report, "RFC 3461 4.3: only failures return the whole"
    assert b"Message-ID: <1@x.test>" in report


@pytest.mark.requirement("CL-61")
async def test_another_operators_sender_gets_the_report_by_the_queue(
    whole: Whole, store: Store
) -> None:
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        reply = await wish(wire, f"<{PEER}>", {ZOE: "NOTIFY=SUCCESS", PAUL: ""}, HEADER + b"x\r\n")
        assert reply.startswith("250 2.0.0")
    (entry,) = store.read(lambda r: r.queue()).result()
    assert (entry.sender, entry.recipient.address) == (None, PEER)
    octets = store.read(lambda r: r.letter_octets(entry.envelope, entry.skip)).result()
    assert b"Action: delivered" in octets
    assert str(ZOE).encode() in octets
    assert str(PAUL).encode() not in octets


@pytest.mark.attack("ATT-44")
@pytest.mark.requirement("CL-61", "OP-19")
async def test_att_44_a_null_sender_is_never_reported_to(whole: Whole, store: Store) -> None:
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        reply = await wish(wire, "<>", {ZOE: "NOTIFY=SUCCESS"}, HEADER + b"x\r\n")
        assert reply.startswith("250 2.0.0")
    assert store.read(lambda r: r.queue()).result() == ()
    assert len(inbox(store, ZOE)) == 1

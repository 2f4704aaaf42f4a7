"""The operator door over loopback TLS, with real trust and policy (OP-01 to OP-15)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import aiosmtplib
import pytest

from mssmtp.demo.authority import EMAIL_ONLY, Authority, Make, Subject
from mssmtp.revocation import Revocation
from tests.authority import B_SUBJECT, shared_keys
from tests.smtp_in.fakes import PAUL, PEER, ZOE
from tests.smtp_in.rig import Rig, Wire, greeted


def _ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


MESSAGE = (
    b"From: Anne <anne.tournesol@cabinet-b.test>\r\n"
    b"To: <zoe.tartempion@hopital-a.test>\r\n"
    b"Subject: essai\r\n"
    b"\r\n"
    b"Bonjour.\r\n"
)


@pytest.mark.requirement("OP-01", "OP-02", "OP-10", "SEED-01", "OP-63", "CL-56")
async def test_a_listed_operator_delivers_octet_for_octet(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await wire.say(f"MAIL FROM:<{PEER}> SIZE=300 BODY=8BITMIME")).startswith(
            "250 2.1.0"
        )
        assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith("250 2.1.5")
        assert (await wire.say("DATA")).startswith("354 ")
        reply = await wire.say(MESSAGE + b".\r\n")
        assert reply.startswith("250 2.0.0")
        assert (await wire.say("QUIT")).startswith("221 2.0.0")
    (kept,) = rig.store.kept
    assert kept.message == MESSAGE
    assert kept.envelope.sender == PEER
    assert [one.recipient.address for one in kept.local] == [ZOE]
    assert kept.queued == ()
    assert kept.envelope.id in reply
    trace = kept.octets[: -len(MESSAGE)]
    assert trace.startswith(b"Return-Path: <anne.tournesol@cabinet-b.test>\r\nReceived: from ")
    assert b" with ESMTPS id " + kept.envelope.id.encode() in trace
    assert b"Message-ID" not in trace
    assert b"Date:" not in trace
    assert kept.transfer.peer_dn is not None
    assert kept.transfer.peer_dn.startswith("CN=mx.cabinet-b.test")
    assert kept.transfer.tls_version == "TLSv1.3"


@pytest.mark.requirement("OP-03", "OP-01")
async def test_mail_before_starttls_is_530(rig: Rig) -> None:
    async with rig.operators() as (_, port), await Wire.connect(port) as wire:
        await wire.reply()
        greeting = await wire.say("EHLO mx.cabinet-b.test")
        assert "STARTTLS" in greeting
        assert "AUTH" not in greeting
        assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("530 5.7.0")
        assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith("530 5.7.0")
        assert (await wire.say("DATA")).startswith("530 5.7.0")


@pytest.mark.requirement("OP-67")
async def test_ehlo_announces_only_what_works(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port) as wire:
        lines = (await wire.say("EHLO x")).splitlines()
        assert [line[4:] for line in lines] == [
            "mx.hopital-a.test",
            "SIZE 62914560",
            "PIPELINING",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "LIMITS RCPTMAX=100",
            "DSN",
            "REQUIRETLS",
            "DELIVERBY",
            "MT-PRIORITY",
        ]
        assert (await wire.say("AUTH PLAIN")).startswith("502 5.5.1")


@pytest.mark.attack
@pytest.mark.requirement("OP-10")
async def test_no_certificate_is_554_5_7_0(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port) as wire:
        assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("554 5.7.0")
    assert rig.store.kept == []


BAD = {
    "revoked": (Make(), "554 5.7.5"),
    "expired": (Make(not_before=_ago(400), not_after=_ago(1)), "554 5.7.5"),
    "not yet valid": (Make(not_before=_ago(-1), not_after=_ago(-400)), "554 5.7.5"),
    "e-mail only": (Make(usages=EMAIL_ONLY), "554 5.7.5"),
    "other CA": (Make(), "554 5.7.5"),
    "not listed": (Make(), "554 5.7.1"),
}


@pytest.mark.attack
@pytest.mark.requirement("OP-10", "OP-01")
@pytest.mark.parametrize("fault", BAD)
async def test_each_bad_certificate_is_answered_and_delivers_nothing(rig: Rig, fault: str) -> None:
    make, expected = BAD[fault]
    authority = rig.authority
    if fault == "other CA":
        authority = Authority(rig.authority.now, make_key=shared_keys(40))
    subject = Subject("mx.hors-liste.example", "1", "X") if fault == "not listed" else B_SUBJECT
    identity = authority.issue(subject, make)
    if fault == "revoked":
        authority.revoke(identity)
        anchors = rig.trust.snapshot.anchors
        fresh = Revocation.of(authority.crls(), anchors)
        rig.trust.swap(replace(rig.trust.snapshot, revocation=fresh))
    async with rig.operators() as (_, port):
        async with await greeted(rig, port, identity) as wire:
            assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith(expected)
            assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith("503")
            assert (await wire.say("DATA")).startswith("503")
        async with await greeted(rig, port, rig.b) as wire:  # the next honest one is served
            assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")
    assert rig.store.kept == []


@pytest.mark.attack
@pytest.mark.requirement("OP-10", "OP-13")
async def test_each_wrong_sender_is_told_why(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await wire.say("MAIL FROM:<x@hors-liste.example>")).startswith("550 5.7.1")
        assert (await wire.say(f"MAIL FROM:<{ZOE}>")).startswith("550 5.7.1")
        assert (await wire.say("MAIL FROM:<x@cabinet-b.test.>")).startswith("501 5.1.7")
        assert (await wire.say("MAIL FROM:<X@CABINET-B.TEST>")).startswith("250 ")


async def test_a_null_sender_of_a_listed_peer_passes(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await wire.say("MAIL FROM:<>")).startswith("250 ")
        assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith("250 ")


async def test_a_certificate_is_judged_again_at_each_mail(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")
        await wire.say("RSET")
        snapshot = rig.trust.snapshot
        rig.trust.swap(replace(snapshot, whitelist=None))
        assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("451 4.7.5")


@pytest.mark.requirement("OP-13")
async def test_unknown_and_foreign_recipients_are_refused_at_rcpt(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await wire.say(f"MAIL FROM:<{PEER}>")
        assert (await wire.say("RCPT TO:<nobody@hopital-a.test>")).startswith("550 5.1.1")
        assert (await wire.say("RCPT TO:<x@ordinaire.example>")).startswith("550 5.7.1")
        assert (await wire.say("RCPT TO:<x@cabinet-b.test>")).startswith("550 5.7.1")
        assert (await wire.say("DATA")).startswith("554 5.5.1")


@pytest.mark.attack
@pytest.mark.requirement("OP-15")
async def test_att_42_a_foreign_from_is_refused_and_traced(rig: Rig) -> None:
    forged = MESSAGE.replace(b"anne.tournesol@cabinet-b.test", b"zoe.tartempion@hopital-a.test")
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await wire.say(f"MAIL FROM:<{PEER}>")
        await wire.say(f"RCPT TO:<{ZOE}>")
        await wire.say("DATA")
        assert (await wire.say(forged + b".\r\n")).startswith("550 5.7.1")
    assert rig.store.kept == []
    assert rig.store.letters == []
    assert len(rig.store.rejected) == 1


@pytest.mark.requirement("SEED-54")
async def test_pipelined_commands_are_answered_in_order_in_one_batch(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        commands = f"MAIL FROM:<{PEER}>\r\nRCPT TO:<{ZOE}>\r\nRCPT TO:<no@hopital-a.test>\r\n"
        wire.send((commands + f"RCPT TO:<{PAUL}>\r\nDATA\r\n").encode())
        codes = [(await wire.reply())[:9] for _ in range(5)]
        assert codes == ["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "354 Messa"]
        wire.send(MESSAGE + b".\r\nRSET\r\nQUIT\r\n")
        codes = [(await wire.reply())[:9] for _ in range(3)]
        assert codes == ["250 2.0.0", "250 2.0.0", "221 2.0.0"]
    (kept,) = rig.store.kept
    assert len(kept.local) == 2


@pytest.mark.requirement("SEED-54")
async def test_the_hundred_and_first_recipient_is_452(rig: Rig) -> None:
    rig.limit(recipients=2)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await wire.say(f"MAIL FROM:<{PEER}>")
        assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith("250")
        assert (await wire.say(f"RCPT TO:<{PAUL}>")).startswith("250")
        assert (await wire.say("RCPT TO:<urgences@hopital-a.test>")).startswith("452 4.5.3")


@pytest.mark.attack
@pytest.mark.requirement("DEF-02")
async def test_att_02_octets_behind_starttls_close_the_connection(rig: Rig) -> None:
    async with rig.operators() as (_, port), await Wire.connect(port) as wire:
        await wire.reply()
        await wire.say("EHLO x")
        wire.send(b"STARTTLS\r\nMAIL FROM:<x@cabinet-b.test>\r\n")
        assert await wire.is_closed()
    assert rig.store.kept == []


@pytest.mark.requirement("OP-04")
async def test_what_was_said_in_clear_is_forgotten_after_starttls(rig: Rig) -> None:
    async with rig.operators() as (_, port), await Wire.connect(port) as wire:
        await wire.reply()
        await wire.say("EHLO before")
        await wire.start_tls(rig.client(rig.b))
        assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("503 5.5.1")
        await wire.say("EHLO after")
        assert (await wire.say("STARTTLS")).startswith("503 5.5.1")


async def test_aiosmtplib_delivers(rig: Rig) -> None:
    context = rig.client(rig.b)
    async with rig.operators() as (_, port):
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=port, start_tls=True, tls_context=context
        )
        async with client:
            _, text = await client.sendmail(str(PEER), [str(ZOE), str(PAUL)], MESSAGE)
    assert rig.store.kept[0].message == MESSAGE
    assert "enveloppe" in text


@pytest.mark.attack
async def test_d11_a_store_that_is_behind_is_told_before_the_message_is_sent(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        rig.store.is_behind = True
        await wire.say(f"MAIL FROM:<{PEER}>")
        await wire.say(f"RCPT TO:<{ZOE}>")
        assert (await wire.say("DATA")).startswith("451 4.3.2")
        rig.store.is_behind = False
        assert (await wire.say("DATA")).startswith("354 "), "the transaction is still open"
        assert (await wire.say(MESSAGE + b".\r\n")).startswith("250 2.0.0")

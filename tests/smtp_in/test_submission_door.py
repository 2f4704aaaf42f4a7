"""Submission on 587 and 465: login, sender binding, completion of headers (OP-81, CL-04, OP-86)."""

from __future__ import annotations

import asyncio
import base64
import smtplib
from dataclasses import replace

import pytest

from mssmtp.mail import Address
from mssmtp.trust import Snapshot
from tests.authority import A_DOMAIN, A_SUBJECT, unsigned_whitelist
from tests.smtp_in.fakes import PASSWORD, PAUL, USUAL, ZOE
from tests.smtp_in.rig import Rig, Wire, greeted, logged_in

MESSAGE = (
    b"From: Zo\xc3\xa9 <zoe.tartempion@hopital-a.test>\r\n"
    b"To: <paul.marelle@hopital-a.test>\r\n"
    b"Subject: essai\r\n"
    b"\r\n"
    b"Bonjour.\r\n"
)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def send(wire: Wire, recipients: list[str], message: bytes = MESSAGE) -> str:
    assert (await wire.say(f"MAIL FROM:<{ZOE}>")).startswith("250 2.1.0")
    for recipient in recipients:
        assert (await wire.say(f"RCPT TO:<{recipient}>")).startswith("250 2.1.5")
    assert (await wire.say("DATA")).startswith("354 ")
    return await wire.say(message + b".\r\n")


@pytest.mark.requirement("OP-81")
async def test_auth_is_offered_under_tls_only(rig: Rig) -> None:
    async with rig.submission() as (_, port), await Wire.connect(port) as wire:
        await wire.reply()
        assert "AUTH" not in await wire.say("EHLO dummy.faircode.eu")
        refused = await wire.say(f"AUTH PLAIN {b64(chr(0) + str(ZOE) + chr(0) + PASSWORD)}")
        assert refused.startswith("538 5.7.11")
        assert (await wire.say(f"MAIL FROM:<{ZOE}>")).startswith("530 5.7.0")
        await wire.start_tls(rig.client(None))
        greeting = await wire.say("EHLO dummy")
        assert "250 AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN" in greeting
        assert (await wire.say(f"MAIL FROM:<{ZOE}>")).startswith("530 5.7.0")
    assert rig.logins.asked == []


@pytest.mark.requirement("CL-04")
async def test_465_is_encrypted_from_the_first_octet(rig: Rig) -> None:
    async with (
        rig.submission(implicit_tls=True) as (_, port),
        await Wire.connect(port, rig.client(None)) as wire,
    ):
        assert (await wire.reply()).startswith("220 ")
        greeting = await wire.say("EHLO x")
        assert "STARTTLS" not in greeting
        assert "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN" in greeting
        assert (await wire.say("STARTTLS")).startswith("502 5.5.1")
        assert (await wire.say(f"AUTH PLAIN {b64(chr(0) + str(ZOE) + chr(0) + PASSWORD)}")) == (
            "235 2.7.0 Authentification reussie"
        )


@pytest.mark.requirement("CL-31")
async def test_every_form_of_auth_logs_in(rig: Rig) -> None:
    plain = b64(f"\0{ZOE}\0{PASSWORD}")
    dialogs = {
        "plain inline": [(f"AUTH PLAIN {plain}", "235 2.7.0")],
        "plain asked": [("AUTH PLAIN", "334 "), (plain, "235 2.7.0")],
        "login asked": [
            ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
            (b64(str(ZOE)), "334 UGFzc3dvcmQ6"),
            (b64(PASSWORD), "235 2.7.0"),
        ],
        "login inline (CLD-03, MAC-01)": [
            (f"AUTH LOGIN {b64(str(ZOE))}", "334 UGFzc3dvcmQ6"),
            (b64(PASSWORD), "235 2.7.0"),
        ],
        "lower case": [(f"auth plain {plain}", "235 2.7.0")],
    }
    async with rig.submission() as (_, port):
        for name, dialog in dialogs.items():
            async with await greeted(rig, port) as wire:
                for line, expected in dialog:
                    assert (await wire.say(line)).startswith(expected), name
                assert (await wire.say("AUTH LOGIN")).startswith("503 5.5.1"), name


# GEN-17
async def test_a_wrong_password_is_535_and_the_connection_stays_open(rig: Rig) -> None:
    wrong = b64(f"\0{ZOE}\0wrong")
    async with rig.submission() as (_, port), await greeted(rig, port) as wire:
        for _ in range(4):
            assert (await wire.say(f"AUTH PLAIN {wrong}")).startswith("535 5.7.8")
        assert (await wire.say("NOOP")).startswith("250 ")
        assert (await wire.say(f"AUTH PLAIN {wrong}")).startswith("535 5.7.8")
        assert (await wire.reply()).startswith("421 4.7.0")
        assert await wire.is_closed()


@pytest.mark.attack
async def test_att_14_a_slow_bad_login_and_broken_ones_disturb_no_other(rig: Rig) -> None:
    rig.logins.slow_login = "attacker"
    good = f"AUTH PLAIN {b64(chr(0) + str(ZOE) + chr(0) + PASSWORD)}"
    async with rig.submission() as (_, port), await greeted(rig, port) as attacker:
        try:
            attacker.send(f"AUTH PLAIN {b64(chr(0) + 'attacker' + chr(0) + 'x')}")
            for line in ("AUTH PLAIN %%%", "AUTH LOGIN =", "AUTH CRAM-MD5", "AUTH PLAIN AA BB"):
                async with await greeted(rig, port) as bad:
                    assert (await bad.say(line)).startswith("50")
            for _ in range(30):
                async with await greeted(rig, port) as honest:
                    assert (await honest.say(good)).startswith("235 ")
        finally:
            rig.logins.slow_is_over.set()
        assert (await attacker.reply()).startswith("535 5.7.8")


@pytest.mark.attack
async def test_att_13_auth_cut_at_each_octet_leaves_the_door_open(rig: Rig) -> None:
    dialog = f"AUTH LOGIN\r\n{b64(str(ZOE))}\r\n{b64(PASSWORD)}\r\n".encode()
    async with rig.submission(implicit_tls=True) as (door, port):
        context = rig.client(None)
        for cut in range(0, len(dialog), 3):
            wire = await Wire.connect(port, context)
            await wire.reply()
            await wire.say("EHLO x")
            wire.send(dialog[:cut])
            await wire.writer.drain()
            await wire.close()
        async with await Wire.connect(port, context) as wire:
            await wire.reply()
            await wire.say("EHLO x")
            assert (await wire.say("AUTH LOGIN")).startswith("334 ")
            assert (await wire.say("*")).startswith("501 5.7.0")
            assert (await wire.say("AUTH LOGIN")).startswith("334 ")
            assert (await wire.say("")).startswith("501 5.5.2")
            assert (await wire.say("")).startswith("500 5.5.2")
            assert (await wire.say("NOOP")).startswith("250 ")


@pytest.mark.requirement("OP-86", "CL-56")
async def test_a_letter_is_completed_and_delivered_here(rig: Rig) -> None:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await send(wire, [str(PAUL)])).startswith("250 2.0.0")
    (kept,) = rig.store.kept
    assert [one.recipient.address for one in kept.local] == [PAUL]
    trace = kept.octets[: -len(MESSAGE)]
    assert kept.octets.endswith(MESSAGE)
    assert f"Message-ID: <{kept.envelope.id}@hopital-a.test>\r\n".encode() in trace
    assert b"\r\nDate: " in trace
    assert b"with ESMTPSA id" in trace
    assert b"127.0.0.1" not in trace
    assert b"zoe.tartempion" not in trace[kept.skip :]
    assert kept.octets[: kept.skip] == f"Return-Path: <{ZOE}>\r\n".encode()
    assert kept.owner == 1


@pytest.mark.requirement("SEED-01")
async def test_remote_recipients_are_queued_in_the_same_acceptance(rig: Rig) -> None:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await send(wire, [str(PAUL), "anne.tournesol@cabinet-b.test"])
    (kept,) = rig.store.kept
    assert len(kept.local) == 1
    assert [str(one.address) for one in kept.queued] == ["anne.tournesol@cabinet-b.test"]


@pytest.mark.requirement("OP-13", "SEED-29")
async def test_a_usual_address_resolves_to_its_box(rig: Rig) -> None:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        reply = await wire.say(f"RCPT TO:<{USUAL}>")
        assert reply.startswith("250 2.1.5")
        assert str(PAUL) in reply
        await wire.say("DATA")
        await wire.say(MESSAGE + b".\r\n")
    (kept,) = rig.store.kept
    assert kept.queued == ()
    (delivery,) = kept.local
    assert delivery.recipient.address == PAUL
    assert delivery.recipient.typed == USUAL


@pytest.mark.requirement("APX-03", "APX-04", "SEED-57")
async def test_an_apicrypt_recipient_is_rewritten_and_named(rig: Rig) -> None:
    typed, used = "prenom.NOM@medical69.apicrypt.test", "prenom.NOM@interop.apicrypt.test"
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        # The interop domain is not in the list yet: refused, and for that domain.
        refused = await wire.say(f"RCPT TO:<{typed}>")
        assert refused.startswith("550 5.7.1")
        assert "interop.apicrypt.test" in refused
        rig.trust.swap(_also_listed(rig, "interop.apicrypt.test"))
        reply = await wire.say(f"RCPT TO:<{typed}>")
        assert reply.startswith("250 2.1.5")
        assert used in reply
        assert (await wire.say(f"RCPT TO:<{used}>")).startswith("250 ")
        await wire.say("DATA")
        assert (await wire.say(MESSAGE + b".\r\n")).startswith("250 2.0.0")
    (kept,) = rig.store.kept
    (queued,) = kept.queued
    assert str(queued.address) == used
    assert str(queued.typed) == typed
    assert queued.orcpt == f"rfc822;{typed}"


@pytest.mark.requirement("OP-86")
async def test_another_sender_or_from_is_553(rig: Rig) -> None:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await wire.say(f"MAIL FROM:<{PAUL}>")).startswith("553 5.7.1")
        assert (await wire.say("MAIL FROM:<urgences@hopital-a.test>")).startswith("250 ")
        await wire.say("RSET")
        forged = MESSAGE.replace(b"zoe.tartempion@", b"paul.marelle@", 1)
        assert (await send(wire, [str(PAUL)], forged)).startswith("553 5.7.1")
        sender = b"Sender: <paul.marelle@hopital-a.test>\r\n" + MESSAGE
        assert (await send(wire, [str(PAUL)], sender)).startswith("553 5.7.1")
        assert (await send(wire, [str(PAUL)], b"Subject: x\r\n\r\nx\r\n")).startswith("553 5.7.1")
    assert rig.store.kept == []
    assert rig.store.letters == []
    assert len(rig.store.rejected) == 3


@pytest.mark.requirement("SEED-54", "DEF-18")
async def test_patients_come_back_as_a_report_when_the_letter_is_too_big_for_them(
    rig: Rig,
) -> None:
    rig.limit(patient_octets=2_000)
    rig.trust.swap(_also_listed(rig, "patient.test"))
    patient = "199019999999979@patient.test"
    big = MESSAGE + b"x" * 70 + b"\r\n" * 1_000
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        await wire.say(f"RCPT TO:<{PAUL}>")
        assert (await wire.say(f"RCPT TO:<{patient}>")).startswith("250 2.1.5")
        await wire.say("DATA")
        assert (await wire.say(big + b".\r\n")).startswith("250 2.0.0")
        await wire.say(f"MAIL FROM:<{ZOE}>")
        await wire.say(f"RCPT TO:<{patient}>")
        await wire.say("DATA")
        assert (await wire.say(big + b".\r\n")).startswith("552 5.3.4")
    letter, report = rig.store.kept
    assert [one.recipient.address for one in letter.local] == [PAUL]
    assert letter.queued == ()
    assert report.envelope.sender is None
    assert [one.recipient.address for one in report.local] == [ZOE]
    assert b"Subject: Undelivered Mail Returned to Sender" in report.octets
    assert b"Status: 5.3.4" in report.octets


def _also_listed(rig: Rig, domain: str) -> Snapshot:
    listed = unsigned_whitelist(
        rig.authority, (A_DOMAIN, A_SUBJECT.text), (domain, f"CN=mx.{domain}")
    )
    return replace(rig.trust.snapshot, whitelist=listed)


@pytest.mark.attack
@pytest.mark.requirement("OP-86")
async def test_att_18_a_revoked_password_ends_an_open_session(rig: Rig) -> None:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await send(wire, [str(PAUL)])).startswith("250 2.0.0")
        rig.logins.revoked = True
        assert (await wire.say(f"MAIL FROM:<{ZOE}>")).startswith("530 5.7.0")


async def test_smtplib_sends_with_a_login(rig: Rig) -> None:
    def program(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.starttls(context=rig.client(None))
            client.login(str(ZOE), PASSWORD)
            client.sendmail(str(ZOE), [str(PAUL)], MESSAGE, ["BODY=8BITMIME"])

    async with rig.submission() as (_, port):
        await asyncio.to_thread(program, port)
    assert rig.store.kept[0].octets.endswith(MESSAGE)
    assert rig.store.kept[0].envelope.sender == Address.parse(str(ZOE))


def with_attachments(*sizes: int) -> bytes:
    """A letter of ours with attachments of these decoded sizes."""
    parts = b"".join(
        b"--b1\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment; filename=compte-rendu.pdf\r\n\r\n"
        + base64.encodebytes(b"x" * size).replace(b"\n", b"\r\n")
        for size in sizes
    )
    head = MESSAGE.partition(b"\r\n\r\n")[0]
    return (
        head
        + b"\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n"
        + parts
        + b"--b1--\r\n"
    )


@pytest.mark.requirement("SEED-55", "SEED-56")
async def test_attachments_are_held_to_their_limits_at_the_value_and_one_more(rig: Rig) -> None:
    rig.limit(attachment_octets=1_000, attachments_octets=1_500)
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await send(wire, [str(PAUL)], with_attachments(1_000, 500))).startswith("250 ")
        one = await send(wire, [str(PAUL)], with_attachments(1_001))
        assert one.startswith("552 5.3.4")
        assert "compte-rendu.pdf" in one
        assert (await send(wire, [str(PAUL)], with_attachments(1_000, 501))).startswith("552 5.3.4")
    assert len(rig.store.kept) == 1

"""Reports that come in are delivered as they are, and told to the ledger of the letter."""

from __future__ import annotations

import pytest

from mssmtp import dsn, metrics
from mssmtp.mail import Address, EnvelopeId, Recipient
from mssmtp.storage import Store
from tests.dsn.test_dsn import report
from tests.smtp_in.fakes import PAUL, PEER, ZOE
from tests.smtp_in.rig import greeted
from tests.smtp_in.test_delivered_reports import wish
from tests.smtp_in.test_with_store import OWN, Whole, inbox, log_in, store, whole

__all__ = ["store", "whole"]


async def submitted(whole: Whole, *recipients: Address) -> EnvelopeId:
    """A letter of Zoé's."""
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        sender = f"<{ZOE}> ENVID=QQ+2B1"
        reply = await wish(wire, sender, dict.fromkeys(recipients, ""), OWN + b"corps\r\n")
    return EnvelopeId(reply.split()[-1])


async def brought(whole: Whole, octets: bytes) -> bytes:
    """A report of the other operator for Zoé; what is in her box then."""
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        assert (await wish(wire, "<>", {ZOE: ""}, octets)).startswith("250 2.0.0")
    assert whole.real is not None
    return inbox(whole.real, ZOE)[-1]


def failed(about: Address, envid: str = "QQ+2B1") -> bytes:
    """As cabinet-b.test writes it."""
    status = dsn.RecipientStatus(Recipient(about), "5.2.1", "550 5.2.1 boite fermee")
    octets = dsn.failure(report(status, original=OWN, envid=envid))
    return octets.replace(b"MAILER-DAEMON@hopital-a.test", b"MAILER-DAEMON@cabinet-b.test")


def steps(store: Store, envelope: EnvelopeId) -> list[tuple[str, str, str]]:
    found = store.read(lambda r: r.journey(envelope)).result()
    return [(one.recipient, one.kind, one.cause) for one in found]


def counted(*labels: str) -> float:
    return float(metrics.receipts.labels(*labels)._value.get())


@pytest.mark.requirement("CL-61", "SEED-79")
async def test_a_peers_report_is_told_to_the_letter_and_delivered_unchanged(
    whole: Whole, store: Store
) -> None:
    envelope = await submitted(whole, PEER)
    before = counted("dsn", "failed", "closed", "yes")
    octets = failed(PEER)
    assert (await brought(whole, octets)).endswith(octets)
    assert steps(store, envelope) == [(str(PEER), "rejet", "closed")]
    assert counted("dsn", "failed", "closed", "yes") == before + 1
    await brought(whole, octets)
    assert len(steps(store, envelope)) == 1, "told twice, written once"


@pytest.mark.requirement("CL-61")
async def test_without_envid_the_returned_message_id_names_the_letter(
    whole: Whole, store: Store
) -> None:
    envelope = await submitted(whole, PEER)
    await brought(whole, failed(PEER, "inconnu"))
    assert steps(store, envelope) == [(str(PEER), "rejet", "closed")]


@pytest.mark.attack("ATT-44")
async def test_att_44_an_operator_speaks_only_of_its_own_domains(
    whole: Whole, store: Store
) -> None:
    envelope = await submitted(whole, PEER, PAUL)
    octets = failed(PAUL)
    assert (await brought(whole, octets)).endswith(octets), "it is mail all the same"
    assert [kind for _, kind, _ in steps(store, envelope)] == ["remise"]


@pytest.mark.requirement("CL-64", "CL-63", "OP-64")
async def test_a_reading_receipt_between_two_boxes_of_ours(whole: Whole, store: Store) -> None:
    envelope = await submitted(whole, ZOE)
    octets = receipt(ZOE)
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        assert (await wish(wire, "<>", {ZOE: ""}, octets)).startswith("250 2.0.0")
    assert inbox(store, ZOE)[-1].endswith(octets)
    assert steps(store, envelope) == [(str(ZOE), "remise", ""), (str(ZOE), "lu", "")]


@pytest.mark.attack("ATT-42", "ATT-44")
async def test_att_42_nobody_says_for_another_that_he_has_read(whole: Whole, store: Store) -> None:
    """Zoé writes to herself a receipt in Paul's name, and a report of failure."""
    envelope = await submitted(whole, PAUL)
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        for octets in (receipt(PAUL), failed(PAUL).replace(b"MAILER-DAEMON@cabinet-b.test",
                                                          str(ZOE).encode())):  # fmt: skip
            assert (await wish(wire, "<>", {ZOE: ""}, octets)).startswith("250 2.0.0")
    assert [kind for _, kind, _ in steps(store, envelope)] == ["remise"]


def receipt(reader: Address) -> bytes:
    return (
        f"From: <{ZOE}>\r\nTo: <{ZOE}>\r\nSubject: lu\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=m\r\n\r\n"
        "--m\r\n\r\nLu.\r\n--m\r\nContent-Type: message/disposition-notification\r\n\r\n"
        f"Final-Recipient: rfc822; {reader}\r\nOriginal-Message-ID: <1@x.test>\r\n"
        "Disposition: manual-action/MDN-sent-manually; displayed\r\n\r\n--m--\r\n"
    ).encode()

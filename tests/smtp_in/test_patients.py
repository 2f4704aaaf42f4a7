"""Letters to patients: from software, with a box to answer to, and a receipt (OP-91, OP-92)."""

from __future__ import annotations

import base64

import pytest

from mssmtp.mail import Address, Domain, EnvelopeId
from mssmtp.storage import Store
from tests.authority import B_DOMAIN
from tests.smtp_in.fakes import PASSWORD, PAUL, ZOE
from tests.smtp_in.rig import APP_BOX, Rig, greeted
from tests.smtp_in.test_delivered_reports import wish
from tests.smtp_in.test_receipts_at_the_doors import receipt, steps
from tests.smtp_in.test_with_store import OWN, Whole, inbox, log_in, store, whole

__all__ = ["store", "whole"]

PATIENT = Address.parse(f"199019999999979@{B_DOMAIN}")
"""Cabinet B plays the operator of the patients."""
RESULT = (
    f"From: =?utf-8?Q?R=C3=A9sultats?= <{APP_BOX}>\r\nTo: <{PATIENT}>, <{PAUL}>\r\n"
    f"Reply-To: <{ZOE}>\r\nDisposition-Notification-To: <{ZOE}>\r\n"
    "Subject: =?utf-8?B?UsOpc3VsdGF0cw==?=\r\nMessage-ID: <7@labo.test>\r\n"
    "Date: Mon, 5 Jan 2026 09:00:00 +0100\r\nX-MSS-NIL: 1.0\r\n\r\nVos resultats.\r\n"
).encode()


def of_patients(rig: Rig) -> None:
    policy = rig.settings.policy.model_copy(update={"patient_domains": (Domain(B_DOMAIN),)})
    rig.settings = rig.settings.model_copy(update={"policy": policy})


@pytest.mark.requirement("OP-91", "OP-94", "SEED-86", "SEED-80")
async def test_software_sends_a_result_and_the_patient_answers_the_human_box(rig: Rig) -> None:
    """An APP box writes to a patient and a professional at once; Reply-To says who reads."""
    of_patients(rig)
    login = base64.b64encode(f"\0scanner-radio\0{PASSWORD}".encode()).decode()
    async with rig.appliances() as (_, port), await greeted(rig, port) as wire:
        assert (await wire.say(f"AUTH PLAIN {login}")).startswith("235")
        told = await wish(wire, f"<{APP_BOX}>", {PATIENT: "", PAUL: ""}, RESULT)
    assert told.startswith("250 2.0.0")
    (kept,) = rig.store.kept
    assert kept.octets.endswith(RESULT), "not one octet of it is touched, Reply-To neither"
    assert [str(one.address) for one in kept.queued] == [str(PATIENT)]
    assert [one.recipient.address for one in kept.local] == [PAUL]
    answer = (
        f"From: <{PATIENT}>\r\nTo: <{ZOE}>\r\nIn-Reply-To: <7@labo.test>\r\n\r\nMerci.\r\n"
    ).encode()
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        told = await wish(wire, f"<{PATIENT}>", {ZOE: ""}, answer)
    assert told.startswith("250 2.0.0")
    assert [one.recipient.address for one in rig.store.kept[-1].local] == [ZOE]


@pytest.mark.requirement("OP-92", "SEED-80")
async def test_a_receipt_is_asked_of_a_patient_and_told_to_the_letter(
    whole: Whole, store: Store
) -> None:
    of_patients(whole)
    asking = f"Disposition-Notification-To: <{ZOE}>\r\n".encode() + OWN + b"corps\r\n"
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        told = await wish(wire, f"<{ZOE}>", {PATIENT: ""}, asking)
    envelope = EnvelopeId(told.split()[-1])
    assert steps(store, envelope) == []
    read = receipt(PATIENT).replace(f"From: <{ZOE}>".encode(), f"From: <{PATIENT}>".encode())
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        assert (await wish(wire, "<>", {ZOE: ""}, read)).startswith("250 2.0.0")
    assert steps(store, envelope) == [(str(PATIENT), "lu", "")]
    assert inbox(store, ZOE)[-1].endswith(read)

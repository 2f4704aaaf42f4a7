"""Sizes over the wire: each limit at its value and one octet more."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Sequence
from email.message import EmailMessage

import pytest

from tests.end_to_end.mail import (
    NAME_CANARY,
    Letter,
    Said,
    arrival,
    attachment,
    letter,
    mailbox,
    peer,
    say,
    submission,
    submit,
)
from tests.space import Account, RunningSpace

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

MEBI = 1_048_576
SIZE = 62_914_560
PATIENT_OCTETS = 26_214_400


@pytest.fixture(scope="module")
def ten() -> bytes:
    """An attachment of exactly the limit."""
    return attachment(10 * MEBI)


def sent_by_a(space: RunningSpace, sent: Letter, to: Sequence[Account]) -> Said:
    return submit(space, space.a, space.a.doctor(0), to, sent.octets)


# ---------------------------------------------------------------- attachments


@pytest.mark.requirement("SEED-55")
def test_an_attachment_one_octet_above_10_mebioctets_is_refused_by_name(
    space: RunningSpace, ten: bytes
) -> None:
    to = space.b.doctor(0)
    sent = letter(space.a.doctor(0), [to], attachments=[b"court", ten + b"x"])
    reply = sent_by_a(space, sent, [to]).data
    assert reply.startswith("552 5.3.4 "), reply
    assert f"{NAME_CANARY}-2.pdf" in reply
    assert "depasse 10 Mio" in reply or "depasse 10 Mo" in reply
    assert "reduisez-la ou decoupez-la" in reply


@pytest.mark.requirement("SEED-55", "SEED-56", "OP-66")
def test_four_attachments_of_exactly_10_mebioctets_cross(space: RunningSpace, ten: bytes) -> None:
    """10 MiB each and 40 MiB together, both at their value."""
    to = space.b.doctor(0)
    sent = letter(space.a.doctor(0), [to], attachments=[ten] * 4)
    assert 57_395_742 <= len(sent.octets) <= SIZE
    assert sent_by_a(space, sent, [to]).data.startswith("250 2.0.0")
    arrival(space, space.b, to, sent.message_id).below_trace(sent.octets)


@pytest.mark.requirement("SEED-56")
def test_one_octet_above_40_mebioctets_together_is_refused(space: RunningSpace, ten: bytes) -> None:
    to = space.b.doctor(0)
    sent = letter(space.a.doctor(0), [to], attachments=[*[ten] * 4, b"x"])
    reply = sent_by_a(space, sent, [to]).data
    assert reply.startswith("552 5.3.4 Les pieces jointes depassent ensemble 40 M"), reply
    assert "plusieurs envois" in reply


@pytest.mark.requirement("SEED-56")
def test_five_attachments_of_9_mebioctets_are_refused_as_a_total(space: RunningSpace) -> None:
    to, nine = space.b.doctor(0), attachment(9 * MEBI)
    sent = letter(space.a.doctor(0), [to], attachments=[nine] * 5)
    reply = sent_by_a(space, sent, [to]).data
    assert reply.startswith("552 5.3.4 "), reply
    assert "plusieurs envois" in reply


# ---------------------------------------------------------------- SIZE


@pytest.mark.requirement("OP-66")
def test_a_size_announced_too_big_is_refused_at_mail_on_every_door(space: RunningSpace) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(0)
    for tls in (False, True):
        with submission(space, space.a, sender, tls=tls) as client:
            assert client.esmtp_features["size"] == str(SIZE)
            said = say(client, sender, [to], b"", [f"SIZE={SIZE + 1}"])
            assert said.mail.startswith("552 5.3.4 ")
            assert client.mail(sender.address, [f"SIZE={SIZE}"])[0] == 250
    with peer(space, space.b, space.guest) as client:
        assert client.esmtp_features["size"] == str(SIZE)
        said = say(client, "x@guest.test", [to], b"", [f"SIZE={SIZE + 1}"])
        assert said.mail.startswith("552 5.3.4 ")
        assert client.mail("x@guest.test", [f"SIZE={SIZE}"])[0] == 250


@pytest.mark.requirement("OP-66")
def test_the_operator_door_holds_to_size_alone(space: RunningSpace, ten: bytes) -> None:
    to = space.b.doctor(0)
    sent = letter("labo@guest.test", [to], attachments=[ten + b"x"])
    with peer(space, space.b, space.guest) as client:
        assert say(client, "labo@guest.test", [to], sent.octets).data.startswith("250 2.0.0")
    arrival(space, space.b, to, sent.message_id).below_trace(sent.octets)


# ---------------------------------------------------------------- patients


def of_size(sender: Account, to: Sequence[Account], octets: int) -> Letter:
    """A letter of exactly so many octets, filled up behind its last boundary."""
    small = letter(sender, to, attachments=[attachment(9 * MEBI)] * 2)
    line = b"-" * 76 + b"\r\n"
    lines, rest = divmod(octets - len(small.octets) - 2, len(line))
    return Letter(small.octets + line * lines + b"-" * rest + b"\r\n", small.message_id)


@pytest.mark.requirement("DEF-18", "SEED-77", "OP-95")
def test_a_message_to_a_patient_passes_at_25_mebioctets_and_not_above(
    space: RunningSpace,
) -> None:
    sender, patient = space.a.doctor(0), space.patients.accounts[0]
    sent = of_size(sender, [patient], PATIENT_OCTETS)
    assert len(sent.octets) == PATIENT_OCTETS
    assert sent_by_a(space, sent, [patient]).data.startswith("250 2.0.0")
    received = arrival(space, space.patients, patient, sent.message_id)
    received.below_trace(sent.octets)

    above = of_size(sender, [patient], PATIENT_OCTETS + 1)
    reply = sent_by_a(space, above, [patient]).data
    assert reply.startswith("552 5.3.4 "), reply
    assert patient.address not in reply


@pytest.mark.requirement("DEF-18", "SEED-77", "OP-19")
def test_above_it_the_others_receive_and_each_patient_comes_back_as_a_report(
    space: RunningSpace,
) -> None:
    sender, other, here = space.a.doctor(0), space.b.doctor(1), space.a.doctor(1)
    patients = space.patients.accounts[1:3]
    to = [other, patients[0], here, patients[1]]
    sent = of_size(sender, to, PATIENT_OCTETS + 1)
    envelope = sent_by_a(space, sent, to).envelope
    arrival(space, space.b, other, sent.message_id).below_trace(sent.octets)
    arrival(space, space.a, here, sent.message_id).below_trace(sent.octets)

    with mailbox(space, space.a, sender) as client:  # written in the commit of the letter
        (uid,) = client.search(["SUBJECT", "Undelivered", "TEXT", sent.message_id])
        octets = client.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"]
    message = email.message_from_bytes(octets, EmailMessage, policy=email.policy.default)
    assert message["Subject"] == "Undelivered Mail Returned to Sender"
    assert f"Original-Envelope-Id: {envelope}\r\n".encode() in octets
    _, status, _ = message.iter_parts()
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    fields = [dict(b.items()) for b in blocks[1:] if isinstance(b, EmailMessage)]
    assert [(f["Final-Recipient"], f["Status"]) for f in fields] == [
        (f"rfc822; {patient}", "5.3.4") for patient in patients
    ]
    for patient in patients:
        with mailbox(space, space.patients, patient) as client:
            assert client.search(["HEADER", "Message-ID", sent.message_id]) == []

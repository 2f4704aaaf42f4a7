"""A letter crosses two operators: sent and read by clients that are not ours."""

from __future__ import annotations

import email
import email.policy
import hashlib
import imaplib
import re
from email.message import EmailMessage

import aiosmtplib
import pytest
from imapclient import IMAPClient

from mssmtp.demo.letter import found_in_clear
from mssmtp.mail import EnvelopeId
from mssmtp.storage import TransferTrace
from tests.end_to_end.mail import (
    NAME_CANARY,
    TIMEOUT_S,
    Letter,
    arrival,
    attachment,
    letter,
    mailbox,
    message_id,
    peer,
    say,
    submission,
    submit,
)
from tests.space import Account, Operator, RunningSpace

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

MEBI = 1_048_576
TRACE_AT_B = re.compile(
    rb"Return-Path: <zoe\.tartempion@hopital-a\.test>\r\n"
    rb"Received: from mx\.hopital-a\.test \(\[127\.0\.0\.1\]\)\r\n"
    rb"\tby mx\.cabinet-b\.test with ESMTPS id [0-9A-Z]{26}\r\n"
    rb"\t\(version=TLSv1\.3 cipher=\w+\);\r\n\t[^\r\n]+\r\n"
    rb"Received: from localhost\r\n"
    rb"\tby mx\.hopital-a\.test with ESMTPSA id [0-9A-Z]{26}\r\n"
    rb"\t\(version=TLSv1\.3 cipher=\w+\);\r\n\t[^\r\n]+\r\n"
)


# ---------------------------------------------------------------- clients


@pytest.mark.requirement("SEED-01", "OP-81", "OP-01")
async def test_a_letter_of_aiosmtplib_is_read_by_imapclient(space: RunningSpace) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(0)
    sent = letter(sender, [to], attachments=[attachment(100_000)])
    errors, reply = await aiosmtplib.send(
        sent.octets,
        sender=sender.address,
        recipients=[to.address],
        hostname="localhost",
        port=space.a.submission,
        start_tls=True,
        tls_context=space.user_context(),
        username=sender.address,
        password=sender.password,
        timeout=TIMEOUT_S,
    )
    assert (errors, reply[:5]) == ({}, "2.0.0")
    received = arrival(space, space.b, to, sent.message_id)
    assert TRACE_AT_B.fullmatch(received.below_trace(sent.octets))


@pytest.mark.requirement("SEED-01", "CL-04")
def test_a_letter_of_smtplib_on_465_is_read_by_imaplib(space: RunningSpace) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(0)
    sent = letter(sender, [to], attachments=[attachment(300_000)])
    with submission(space, space.a, sender, tls=True) as client:
        assert say(client, sender, [to], sent.octets).data.startswith("250 2.0.0")
    uid = arrival(space, space.b, to, sent.message_id).uid
    context = space.user_context()
    with imaplib.IMAP4("localhost", space.b.imap, TIMEOUT_S) as reader:
        reader.starttls(context)
        reader.login(to.address, to.password)
        reader.select("INBOX", readonly=True)
        kind, answer = reader.uid("FETCH", str(uid), "(BODY.PEEK[])")
    assert kind == "OK"
    assert answer[0][1].endswith(sent.octets)


@pytest.mark.requirement("OP-81", "CL-04")
def test_no_login_is_offered_before_tls(space: RunningSpace) -> None:
    with imaplib.IMAP4("localhost", space.b.imap, TIMEOUT_S) as reader:
        assert "LOGINDISABLED" in reader.capabilities
        assert not [c for c in reader.capabilities if c.startswith("AUTH=")]
        with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
            reader.login(space.b.doctor(0).address, space.b.doctor(0).password)
    with IMAPClient("localhost", space.b.imap, ssl=False, timeout=TIMEOUT_S) as client:
        client.starttls(space.user_context())
        assert b"AUTH=PLAIN" in client.capabilities()


# ---------------------------------------------------------------- recipients


@pytest.mark.requirement("SEED-54")
def test_recipients_in_to_and_cc_at_two_operators_and_here_all_receive(
    space: RunningSpace,
) -> None:
    sender = space.a.doctor(0)
    to: list[tuple[Operator, Account]] = [
        (space.b, space.b.doctor(1)),
        (space.a, space.a.doctor(1)),
        (space.apicrypt, space.apicrypt.doctor(0)),
    ]
    cc = [(space.b, space.b.doctor(2)), (space.a, space.a.doctor(2))]
    sent = letter(sender, [one for _, one in to], cc=[one for _, one in cc])
    said = submit(space, space.a, sender, [one for _, one in to + cc], sent.octets)
    assert said.data.startswith("250 2.0.0"), said
    for operator, account in to + cc:
        received = arrival(space, operator, account, sent.message_id)
        received.below_trace(sent.octets)
        with mailbox(space, operator, account) as client:
            assert len(client.search(["HEADER", "Message-ID", sent.message_id])) == 1


def test_a_recipient_named_twice_receives_once(space: RunningSpace) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(1)
    sent = letter(sender, [to])
    again = to.address.upper()
    assert submit(space, space.a, sender, [to, again], sent.octets).data.startswith("250")
    last = letter(sender, [to])
    assert submit(space, space.a, sender, [to], last.octets).data.startswith("250")
    arrival(space, space.b, to, last.message_id)
    with mailbox(space, space.b, to) as client:
        assert len(client.search(["HEADER", "Message-ID", sent.message_id])) == 1


# ---------------------------------------------------------------- octets


@pytest.mark.requirement("SEED-55")
def test_an_attachment_of_9_9_mebioctets_crosses_byte_for_byte(space: RunningSpace) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(0)
    content = attachment(int(9.9 * MEBI))
    sent = letter(sender, [to], attachments=[content])
    assert submit(space, space.a, sender, [to], sent.octets).data.startswith("250 2.0.0")
    received = arrival(space, space.b, to, sent.message_id)
    received.below_trace(sent.octets)
    message = email.message_from_bytes(received.octets, policy=email.policy.default)
    (part,) = message.iter_attachments()
    assert part.get_filename() == f"{NAME_CANARY}-1.pdf"
    got = part.get_payload(decode=True)
    assert isinstance(got, bytes)
    assert hashlib.sha256(got).digest() == hashlib.sha256(content).digest()


def report(sender: object, to: object, parts: int) -> Letter:
    """A receipt as national profiles use it: multipart/report with two to four parts."""
    identifier = message_id()
    kinds = [
        ("text/plain; charset=utf-8", "Votre message a été affiché."),
        (
            "message/disposition-notification",
            f"Final-Recipient: rfc822; {sender}\nDisposition: manual-action/"
            "MDN-sent-manually; displayed",
        ),
        ("text/rfc822-headers", "Subject: essai\nX-Ordre:  gardé   tel quel\t"),
        ("application/octet-stream; name=preuve.bin", "YQ=="),
    ]
    body = "".join(f"--r\nContent-Type: {kind}\n\n{text}\n" for kind, text in kinds[:parts])
    text = (
        f"from: {sender}\nTO: {to}\nSubject: =?utf-8?q?Accus=C3=A9?=\nMessage-ID: {identifier}\n"
        "Date: Mon, 5 Jan 2026 9:15:00 GMT\nMIME-Version: 1.0\nContent-Type: multipart/report;\n"
        "   report-type=disposition-notification;\n\tboundary=r\n\n"
        f"préambule\n{body}--r--\népilogue\n"
    )
    return Letter(text.replace("\n", "\r\n").encode(), identifier)


@pytest.mark.requirement("OP-64", "OP-63")
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_a_multipart_report_is_delivered_unmodified(space: RunningSpace, parts: int) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(0)
    sent = report(sender, to, parts)
    assert submit(space, space.a, sender, [to], sent.octets).data.startswith("250 2.0.0")
    arrival(space, space.b, to, sent.message_id).below_trace(sent.octets)


@pytest.mark.requirement("OP-64")
def test_a_report_with_the_null_reverse_path_is_delivered(space: RunningSpace) -> None:
    to = space.b.doctor(0)
    sent = report("mailer-daemon@guest.test", to, 3)
    with peer(space, space.b, space.guest) as client:
        assert say(client, "", [to], sent.octets).data.startswith("250 2.0.0")
    received = arrival(space, space.b, to, sent.message_id)
    assert received.below_trace(sent.octets).startswith(b"Return-Path: <>\r\n")


@pytest.mark.requirement("CL-56")
def test_message_id_and_date_are_added_at_submission_when_missing(space: RunningSpace) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(0)
    mark = message_id()
    bare = f"From: {sender}\r\nTo: {to}\r\nX-Marque: {mark}\r\n\r\nBonjour\r\n".encode()
    assert submit(space, space.a, sender, [to], bare).data.startswith("250 2.0.0")
    added = arrival(space, space.b, to, mark, "X-Marque").below_trace(bare)
    message = email.message_from_bytes(added, EmailMessage, policy=email.policy.default)
    assert re.fullmatch(r"<\S+@hopital-a\.test>", str(message["Message-ID"]))
    assert message["Date"].datetime.tzinfo is not None


@pytest.mark.requirement("CL-56")
def test_nothing_is_added_at_the_operator_door(space: RunningSpace) -> None:
    sender, to = "max.dupontel@guest.test", space.b.doctor(0)
    mark = message_id("guest.test")
    bare = f"From: {sender}\r\nTo: {to}\r\nX-Marque: {mark}\r\n\r\nBonjour\r\n".encode()
    with peer(space, space.b, space.guest) as client:
        assert say(client, sender, [to], bare).data.startswith("250 2.0.0")
    added = arrival(space, space.b, to, mark, "X-Marque").below_trace(bare)
    fields = re.findall(rb"^([A-Za-z-]+):", added, re.MULTILINE)
    assert fields == [b"Return-Path", b"Received"]


UGLY = {
    "undeclared 8-bit": ("Subject: R\xe9sultats\r\n", "H\xe9moglobine : 14 g\r\n\xff\xfe\x80"),
    "long lines": (f"X-Long: {'a' * 5000}\r\n", "b" * 20_000),
    "unterminated multipart": (
        'Content-Type: multipart/mixed; boundary="fin"\r\n',
        "--fin\r\nContent-Type: text/plain\r\n\r\ntexte\r\n--fin\r\nContent-Type: image/png",
    ),
    "broken base64": (
        "Content-Type: application/hprim; name*0=a; name*0=b\r\n"
        "Content-Transfer-Encoding: base64\r\n",
        "@@@@pas du base64====\r\nYQ",
    ),
    "field without colon": ("pas de deux-points ici\r\nSubject : espace\r\n", ".\r\n..\r\n.x"),
    "dots": ("Subject: points\r\n", ".\r\n..\r\n...\r\n. \r\n\t."),
}


@pytest.mark.requirement("OP-63")
@pytest.mark.parametrize("kind", UGLY)
def test_imperfect_mail_is_kept_octet_for_octet_on_both_doors(
    space: RunningSpace, kind: str
) -> None:
    to, mark = space.b.doctor(0), message_id()
    header, body = UGLY[kind]
    ugly = f"X-Marque: {mark}\r\n{header}\r\n{body}\r\n".encode("latin-1")
    with peer(space, space.b, space.guest) as client:
        sent = b"From: labo@guest.test\r\n" + ugly
        assert say(client, "labo@guest.test", [to], sent).data.startswith("250 2.0.0")
        arrival(space, space.b, to, mark, "X-Marque").below_trace(sent)
    sender = space.a.doctor(0)
    with submission(space, space.a, sender) as client:
        sent = f"From: {sender}\r\nMessage-ID: {mark}\r\nDate: hier\r\n".encode() + ugly
        assert say(client, sender, [to], sent).data.startswith("250 2.0.0")
        arrival(space, space.b, to, mark).below_trace(sent)


def test_the_control_of_octet_identity_sees_one_changed_octet(space: RunningSpace) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(0)
    sent = letter(sender, [to])
    assert submit(space, space.a, sender, [to], sent.octets).data.startswith("250 2.0.0")
    received = arrival(space, space.b, to, sent.message_id)
    with pytest.raises(AssertionError, match="octet for octet"):
        received.below_trace(sent.octets.replace(b"Cher", b"cher"))


# ---------------------------------------------------------------- evidence


def hops(operator: Operator, envelope: str) -> tuple[TransferTrace, ...]:
    with operator.store() as store:
        return store.read(lambda r: r.transfers(EnvelopeId(envelope))).result()


@pytest.mark.requirement("OP-74", "SEED-66")
def test_each_hop_is_traced_with_every_field_and_sealed_addresses(space: RunningSpace) -> None:
    sender, to = space.a.doctor(3), space.b.doctor(3)
    sent = letter(sender, [to], attachments=[attachment(1_000)])
    marked = sent.octets.replace(b"Date:", b"X-MSS-MES: FIN\r\nDate:", 1)
    queue_id = submit(space, space.a, sender, [to], marked).envelope
    received = arrival(space, space.b, to, sent.message_id)
    at_b = re.findall(rb" id ([0-9A-Z]{26})", received.octets)[0].decode()
    (inside,) = hops(space.b, at_b)
    into, out = hops(space.a, queue_id)
    for hop in (into, out, inside):
        assert (str(hop.sender), hop.recipients) == (sender.address, (to.address,))
        assert hop.message_id == sent.message_id
        assert dict(hop.headers)["x-mss-mes"] == "FIN"
        assert hop.size_octets >= len(marked)
        assert hop.transfer.peer_address == "127.0.0.1"
        assert hop.transfer.tls_version in ("TLSv1.2", "TLSv1.3")
        assert hop.transfer.tls_cipher
        assert hop.transfer.list_date is not None
        assert hop.transfer.verdict.startswith("accept")
        assert hop.transfer.reply.startswith("250 2.0.0")
        assert set(hop.domains) == {"hopital-a.test", "cabinet-b.test"}
    assert (into.transfer.direction, out.transfer.direction) == ("in", "out")
    for hop, name in ((out, "mx.cabinet-b.test"), (inside, "mx.hopital-a.test")):
        assert (hop.transfer.peer_dn or "").startswith(f"CN={name},")
        assert re.fullmatch("[0-9A-F]{16}", hop.transfer.peer_serial or "")
        assert (hop.transfer.peer_issuer or "").startswith("CN=TEST AC IGC-SANTE ELEMENTAIRE")
        assert hop.transfer.crl_number == 1
    names = tuple(a.address.partition("@")[0].encode() for a in (sender, to))
    for operator in (space.a, space.b):
        assert found_in_clear(operator.home / "store", names) == []
        assert found_in_clear(operator.home / "store", (b"cabinet-b.test",)) != []  # a control

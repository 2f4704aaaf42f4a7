"""Rows about what is said in a session, with a certificate that is all right."""

from __future__ import annotations

import contextlib
import email
import email.policy
import smtplib
import socket
import ssl
import warnings
from collections.abc import Iterator

import pytest

from tests.acceptance.ours import Ours, answer, client_context, letter
from tests.acceptance.space import NOT_LISTED
from tests.acceptance.table import Table
from tests.acceptance.test_certificates import BY_NAME, received, undelivered
from tests.home import ZOE
from tests.smtp_out.peer import Script

VALID, OTHER = BY_NAME["cert-valide-audit"], BY_NAME["tests-operateur"]
SENDER = f"essai@{VALID.domain}"
MIB = 1_048_576

pytestmark = pytest.mark.requirement("OP-97")


@pytest.mark.requirement("OP-97", "OP-03", "OP-17")
def test_wt_07_nothing_goes_without_tls(ours: Ours, table: Table) -> None:
    client = ours.connect()
    table.saw("WT-07", "without TLS", "inbound", answer(client.mail("essai@sans-tls.test")))
    client.quit()
    with ours.exposed("sans-tls.test", (ours.space.bus, Script(starttls=False))) as (peer,):
        seen = undelivered(ours, "essai@sans-tls.test", peer)
    table.saw("WT-07", "without TLS", "outbound", seen)


@pytest.mark.requirement("OP-97", "OP-04")
def test_wt_32_tls_1_1_is_not_spoken(ours: Ours, table: Table) -> None:
    context = client_context(ours.space.identity(VALID), ours.directory)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    client = ours.connect()
    with pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        client.starttls(context=context)
    client.close()
    said = getattr(caught.value, "reason", None) or "connection closed"
    table.saw("WT-32", "TLS 1.1", "inbound", f"handshake fails: {said}")
    with ours.exposed(VALID.domain, (ours.space.identity(VALID), Script())) as (peer,):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            peer.context.set_ciphers("ALL:@SECLEVEL=0")
            peer.context.minimum_version = ssl.TLSVersion.TLSv1
            peer.context.maximum_version = ssl.TLSVersion.TLSv1_1
        seen = undelivered(ours, SENDER, peer)
    table.saw("WT-32", "TLS 1.1", "outbound", seen)


@pytest.mark.requirement("OP-97", "OP-10")
def test_wt_34_another_operators_certificate_does_not_speak_for_a_domain(
    ours: Ours, table: Table
) -> None:
    said = received(ours, ours.space.identity(OTHER), SENDER)
    table.saw("WT-34", "domain of operator A, certificate of operator B", "inbound", said)


@pytest.mark.requirement("OP-97", "OP-30", "OP-31", "OP-13")
def test_wt_35_a_listed_parent_says_nothing_of_its_sub_domains(ours: Ours, table: Table) -> None:
    below = f"essai@sous.{VALID.domain}"
    said = received(ours, ours.space.identity(VALID), below)
    table.saw("WT-35", "parent listed, sub-domain not", "inbound", said)
    table.saw("WT-35", "parent listed, sub-domain not", "outbound", ours.refusal_of(below))


def test_wt_36_capitals_are_the_same_domain_and_a_trailing_dot_is_none(
    ours: Ours, table: Table
) -> None:
    identity = ours.space.identity(VALID)
    said = received(ours, identity, SENDER.upper())
    table.saw("WT-36", "MAIL FROM in upper case", "inbound", said)
    table.saw("WT-36", "trailing dot", "inbound", received(ours, identity, SENDER + "."))


@pytest.mark.requirement("OP-97", "OP-14")
def test_wt_37_a_null_sender_passes_from_a_listed_name_only(ours: Ours, table: Table) -> None:
    with ours.peer(ours.space.identity(VALID)) as client:
        client.docmd("MAIL FROM:<>")
        client.rcpt(str(ZOE))
        said = answer(client.data(letter(SENDER, str(ZOE))))
    table.saw("WT-37", "null sender, listed name", "inbound", said)
    with ours.peer(ours.space.authority.issue(NOT_LISTED)) as client:
        said = answer(client.docmd("MAIL FROM:<>"))
    table.saw("WT-37", "null sender, unlisted name", "inbound", said)


RECEIPT = """From: {sender}
To: {to}
Message-ID: <recu-{mark}@essai.test>
Subject: accuse
Disposition-Notification-To: {sender}
Content-Type: multipart/report; report-type=disposition-notification; boundary=b
MIME-Version: 1.0

--b
Content-Type: text/plain

lu
--b
Content-Type: message/disposition-notification

Final-Recipient: rfc822;{sender}
Disposition: manual-action/MDN-sent-manually; displayed

--b--
""".replace("\n", "\r\n")


def receipt(sender: str, to: str, mark: str) -> bytes:
    """An MDN that asks for an MDN."""
    return RECEIPT.format(sender=sender, to=to, mark=mark).encode()


@pytest.mark.requirement("OP-97", "OP-19")
def test_wt_38_no_report_is_made_of_a_report(ours: Ours, table: Table) -> None:
    row = ("WT-38", "a report that cannot be delivered")
    before = len(ours.inbox())
    with ours.peer(ours.space.identity(VALID)) as client:
        client.docmd("MAIL FROM:<>")
        said = answer(client.rcpt("personne@hopital-a.test"))
    assert (len(ours.inbox()), ours.queue()) == (before, ())
    table.saw(*row, "inbound", f"{said} No new report.")
    refusing = Script(replies={"RCPT": b"550 5.1.1 nobody"})
    with ours.exposed(VALID.domain, (ours.space.identity(VALID), refusing)) as (peer,):
        ours.submit(SENDER, text=receipt(str(ZOE), SENDER, "1"), sender=None)
        ours.gone(SENDER)
        assert "MAIL FROM:<>" in " ".join(peer.sessions[0].commands)
    assert (len(ours.inbox()), ours.queue()) == (before, ())
    table.saw(*row, "outbound", "550 5.1.1 of the peer. No new report.")


@pytest.mark.requirement("OP-97")
def test_wt_38_no_receipt_is_sent_for_a_receipt(ours: Ours, table: Table) -> None:
    row = ("WT-38", "a receipt that asks for a receipt")
    before = len(ours.inbox())
    with ours.peer(ours.space.identity(VALID)) as client:
        client.docmd("MAIL FROM:<>")
        client.rcpt(str(ZOE))
        said = answer(client.data(receipt(SENDER, str(ZOE), "2")))
    assert (len(ours.inbox()), ours.queue()) == (before + 1, ())
    table.saw(*row, "inbound", f"{said}. No new report.")
    with ours.exposed(VALID.domain, (ours.space.identity(VALID), Script())) as (peer,):
        ours.submit(SENDER, text=receipt(str(ZOE), SENDER, "3"), sender=None)
        ours.gone(SENDER)
        assert len(peer.messages) == 1
    assert (len(ours.inbox()), ours.queue()) == (before + 1, ())
    table.saw(*row, "outbound", "delivered. No new report.")


@pytest.mark.attack
@pytest.mark.requirement("OP-97")
def test_wt_39_a_command_in_clear_behind_starttls_is_not_executed(ours: Ours, table: Table) -> None:
    with socket.create_connection(("127.0.0.1", ours.ports["operators"]), 10) as wire:
        wire.sendall(b"EHLO x\r\n")
        said = b""
        while b"250 " not in said:
            said += wire.recv(4096)
        wire.sendall(f"STARTTLS\r\nMAIL FROM:<{SENDER}>\r\nNOOP\r\n".encode())
        rest = b""
        with contextlib.suppress(ConnectionError):
            while octets := wire.recv(4096):
                rest += octets
    assert rest == b""
    table.saw("WT-39", "command in clear behind STARTTLS", "inbound", "closed without a word")


ENDINGS = {"LF . LF": b"\n.\n", "CR . CR": b"\r.\r", "CR LF . LF": b"\r\n.\n"}


@pytest.mark.attack
@pytest.mark.requirement("OP-97", "DEF-02")
@pytest.mark.parametrize("ending", ENDINGS)
def test_wt_40_only_crlf_dot_crlf_ends_a_letter(ours: Ours, table: Table, ending: str) -> None:
    before = len(ours.inbox())
    with ours.peer(ours.space.identity(VALID)) as client:
        client.mail(SENDER)
        client.rcpt(str(ZOE))
        assert client.docmd("DATA")[0] == 354
        inner = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{ZOE}>\r\nDATA\r\n".encode()
        client.send(letter(SENDER, str(ZOE)) + b"x" + ENDINGS[ending] + inner + b"y\r\n.\r\n")
        said = answer(client.getreply())
        with contextlib.suppress(smtplib.SMTPServerDisconnected):
            assert not client.getreply()[0]
    assert len(ours.inbox()) == before
    table.saw("WT-40", ending, "inbound", said)


@pytest.mark.requirement("OP-97", "OP-63")
def test_wt_40_lines_that_begin_with_dots_arrive_as_they_were(ours: Ours, table: Table) -> None:
    row = ("WT-40", "lines that begin with dots")
    content = letter(SENDER, str(ZOE)) + b".\r\n..\r\n.x\r\n\r\n.\r\n"
    with ours.peer(ours.space.identity(VALID)) as client:
        client.sendmail(SENDER, [str(ZOE)], content)
    assert ours.inbox()[-1].endswith(content)
    table.saw(*row, "inbound", "byte-identical")
    content = letter(str(ZOE), SENDER) + b".\r\n..\r\n.x\r\n\r\n.\r\n"
    with ours.exposed(VALID.domain, (ours.space.identity(VALID), Script())) as (peer,):
        ours.submit(SENDER, text=content)
        ours.gone(SENDER)
        assert peer.messages[0].body.endswith(content)
    table.saw(*row, "outbound", "byte-identical behind the dot-stuffing")


@pytest.mark.requirement("OP-97", "OP-15")
def test_wt_46_the_from_of_another_operators_domain_is_refused(ours: Ours, table: Table) -> None:
    with ours.peer(ours.space.identity(VALID)) as client:
        client.mail(SENDER)
        client.rcpt(str(ZOE))
        said = answer(client.data(letter(f"essai@{OTHER.domain}", str(ZOE))))
        table.saw("WT-46", "From of another operator's domain", "inbound", said)
        reply_to = letter(SENDER, str(ZOE)).replace(
            b"Subject:", f"Reply-To: x@{OTHER.domain}\r\nSubject:".encode()
        )
        client.mail(SENDER)
        client.rcpt(str(ZOE))
        assert client.data(reply_to)[0] == 250  # Reply-To may differ


FIELDS = (
    b"X-MSS-NAT-STRUCT: 1990000017\r\nx-mss-Nomenclature:  A;\r\n\tB;\r\n  C\r\n"
    b"X-MSS-INTEROP: 2\r\nX-Mss-Nat-Struct: second\r\n"
)


@pytest.mark.requirement("OP-97", "OP-63")
def test_wt_47_x_mss_fields_keep_order_case_and_folding(ours: Ours, table: Table) -> None:
    row = ("WT-47", "X-MSS-* order, case, folding")
    with ours.peer(ours.space.identity(VALID)) as client:
        client.sendmail(SENDER, [str(ZOE)], FIELDS + letter(SENDER, str(ZOE)))
    assert FIELDS in ours.inbox()[-1]
    table.saw(*row, "inbound", "byte-identical")
    with ours.exposed(VALID.domain, (ours.space.identity(VALID), Script())) as (peer,):
        ours.submit(SENDER, text=FIELDS + letter(str(ZOE), SENDER))
        ours.gone(SENDER)
        assert FIELDS in peer.messages[0].body
    table.saw(*row, "outbound", "byte-identical")


def attachments() -> Iterator[bytes]:
    """Four files of 10 MiB each, encoded."""
    line = b"QUJD" * 19 + b"\r\n"
    yield b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    for number in range(4):
        yield b"--b\r\nContent-Type: application/octet-stream\r\n"
        yield b"Content-Transfer-Encoding: base64\r\n"
        yield b"Content-Disposition: attachment; filename=%d.bin\r\n\r\n" % number
        yield line * (10 * MIB // 57)
    yield b"--b--\r\n"


@pytest.mark.requirement("OP-97", "OP-66", "SEED-58")
def test_wt_48_forty_megabytes_pass_and_more_than_size_does_not(ours: Ours, table: Table) -> None:
    content = f"From: {SENDER}\r\nMessage-ID: <40@essai.test>\r\n".encode() + b"".join(
        attachments()
    )
    with ours.peer(ours.space.identity(VALID)) as client:
        client.mail(SENDER, [f"SIZE={len(content)}"])
        client.rcpt(str(ZOE))
        assert client.docmd("DATA")[0] == 354
        client.send(content + b".\r\n")
        table.saw("WT-48", "40 Mo of attachments", "inbound", answer(client.getreply()))
        limit = ours.settings.limits.message_octets
        assert client.esmtp_features["size"] == str(limit)
        said = answer(client.mail(SENDER, [f"SIZE={limit + 1}"]))
        table.saw("WT-48", "SIZE limit + 1", "inbound", said)


@pytest.mark.requirement("OP-97", "CL-38")
def test_wt_48_a_peer_that_takes_less_is_told_by_dsn_without_data(ours: Ours, table: Table) -> None:
    before = len(ours.inbox())
    small = Script(extensions=(b"8BITMIME", b"SIZE 1000"))
    with ours.exposed(VALID.domain, (ours.space.identity(VALID), small)) as (peer,):
        ours.submit(SENDER, text=letter(str(ZOE), SENDER) + b"x" * 990 + b"\r\n")
        ours.gone(SENDER)
        assert "DATA" not in peer.sessions[0].verbs
    (report,) = ours.inbox()[before:]
    status = next(
        part
        for part in email.message_from_bytes(report, policy=email.policy.default).walk()
        if part.get_content_type() == "message/delivery-status"
    )
    fields = status.as_string()
    assert "Status: 5.3.4" in fields
    table.saw("WT-48", "SIZE of the peer smaller", "outbound", "DSN 5.3.4; DATA never said")

"""Reports parse back with CPython's own email package, whatever a peer wrote."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, Message
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp import dsn
from mssmtp.mail import Address, Domain, Recipient

ARRIVED = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
ZOE = Address.parse("zoe.tartempion@hopital-a.test")
LUC = Recipient(Address.parse("luc.dupont@cabinet-b.test"))
ORIGINAL = (
    b"From: zoe.tartempion@hopital-a.test\r\nTo: luc.dupont@cabinet-b.test\r\n"
    b"Message-ID: <1@hopital-a.test>\r\nSubject: essai\r\n\r\nBonjour\r\n"
)
UNKNOWN = dsn.RecipientStatus(LUC, "5.1.1", "550 5.1.1 no such user", "mx.cabinet-b.test")


def report(
    *statuses: dsn.RecipientStatus,
    original: bytes = ORIGINAL,
    ret: str | None = None,
    envid: str = "01JGX5Q2M0000000000000TEST",
) -> dsn.Report:
    return dsn.Report(
        id="01JGX5Q2M0000000000000DSN0",
        host_name=Domain("smtp.hopital-a.test"),
        domain=Domain("hopital-a.test"),
        to=ZOE,
        envid=envid,
        arrived_at=ARRIVED,
        now=NOW,
        statuses=statuses or (UNKNOWN,),
        original=original,
        ret=ret,
    )


def parse(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)


def parts(octets: bytes) -> list[EmailMessage]:
    return [cast(EmailMessage, part) for part in parse(octets).iter_parts()]


def groups(octets: bytes) -> list[Message]:
    """The per-message and per-recipient field groups of the second part."""
    return cast("list[Message]", parts(octets)[1].get_payload())


def explanation(octets: bytes) -> str:
    return cast(str, parts(octets)[0].get_content())


@pytest.mark.requirement("SEED-68", "OP-19")
def test_failure_is_a_report_from_the_mail_system_with_the_exact_subject() -> None:
    message = parse(dsn.failure(report()))
    assert message["Subject"] == "Undelivered Mail Returned to Sender"
    sender = b"From: MAILER-DAEMON@hopital-a.test (Mail Delivery System)\r\n"
    assert dsn.failure(report()).startswith(sender)  # the package drops comments when it parses
    assert message["To"] == "zoe.tartempion@hopital-a.test"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == "<01JGX5Q2M0000000000000DSN0@hopital-a.test>"
    assert message["Date"] == "Mon, 05 Jan 2026 10:00:00 +0000"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not message.defects
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]


@pytest.mark.requirement("OP-19")
def test_delivery_status_has_every_field_of_rfc_3464() -> None:
    message, recipient = groups(dsn.failure(report()))
    assert message["Reporting-MTA"] == "dns; smtp.hopital-a.test"
    assert message["Original-Envelope-Id"] == "01JGX5Q2M0000000000000TEST"
    assert message["Arrival-Date"] == "Mon, 05 Jan 2026 08:00:00 +0000"
    assert recipient["Final-Recipient"] == "rfc822; luc.dupont@cabinet-b.test"
    assert recipient["Original-Recipient"] == "rfc822; luc.dupont@cabinet-b.test"
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.1.1"
    assert recipient["Remote-MTA"] == "dns; mx.cabinet-b.test"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"


@pytest.mark.parametrize(
    ("status", "family"),
    [
        ("5.1.1", "adresse erronée"),
        ("5.1.2", "adresse erronée"),
        ("5.1.3", "adresse erronée"),
        ("5.1.10", "adresse erronée"),
        ("5.2.1", "boîte aux lettres est fermée ou suspendue"),
        ("5.2.2", "pleine"),
        ("5.3.4", "trop volumineux"),
        ("5.7.1", "domaine absent de l'espace de confiance"),
        ("5.7.0", "contenu du message a été refusé"),
        ("5.6.0", "contenu du message a été refusé"),
        ("5.5.0", "refus du destinataire"),
        ("5.4.7", "incident technique"),
        ("4.4.1", "incident technique"),
        ("4.7.5", "incident technique"),
    ],
)
def test_the_explanation_names_one_of_three_plain_families(status: str, family: str) -> None:
    octets = dsn.failure(report(dsn.RecipientStatus(LUC, status, f"550 {status} x")))
    text = " ".join(explanation(octets).split())
    assert family in text
    assert "luc.dupont@cabinet-b.test" in text


def test_several_recipients_are_grouped_by_cause() -> None:
    marie = Recipient(Address.parse("marie@cabinet-b.test"))
    paul = Recipient(Address.parse("paul@ailleurs.test"))
    octets = dsn.failure(
        report(
            UNKNOWN,
            dsn.RecipientStatus(marie, "5.1.1", "550 5.1.1 unknown"),
            dsn.RecipientStatus(paul, "5.7.1", "550 5.7.1 not listed"),
        )
    )
    text = explanation(octets)
    assert text.count("n'a pas pu être remis") == 2
    assert text.index("luc.dupont") < text.index("marie") < text.index("paul")
    assert [group["Final-Recipient"] for group in groups(octets)[1:]] == [
        "rfc822; luc.dupont@cabinet-b.test",
        "rfc822; marie@cabinet-b.test",
        "rfc822; paul@ailleurs.test",
    ]


def test_the_address_as_typed_is_shown_when_a_rule_rewrote_it() -> None:
    typed = Address.parse("dr.martin@medical69.apicrypt.test")
    recipient = Recipient(Address.parse("dr.martin@interop.apicrypt.test"), typed=typed)
    octets = dsn.failure(report(dsn.RecipientStatus(recipient, "5.1.1", "550 5.1.1 no")))
    assert str(typed) in explanation(octets)
    assert groups(octets)[1]["Original-Recipient"] == f"rfc822; {typed}"
    assert groups(octets)[1]["Final-Recipient"] == "rfc822; dr.martin@interop.apicrypt.test"


def test_orcpt_and_envid_come_back_without_xtext() -> None:
    recipient = Recipient(LUC.address, orcpt="rfc822;luc+2Bx@cabinet-b.test")
    octets = dsn.failure(
        report(dsn.RecipientStatus(recipient, "5.1.1", "550 no"), envid="a+2Bb+0Ac")
    )
    message, fields = groups(octets)
    assert fields["Original-Recipient"] == "rfc822; luc+x@cabinet-b.test"
    assert message["Original-Envelope-Id"] == "a+bc"


@pytest.mark.requirement("OP-18")
def test_a_delay_says_that_nothing_has_to_be_done() -> None:
    octets = dsn.delayed(report(), retry_until=ARRIVED + timedelta(hours=48))
    assert parse(octets)["Subject"] == "Delayed Mail (still being retried)"
    fields = groups(octets)[1]
    assert fields["Action"] == "delayed"
    assert fields["Will-Retry-Until"] == "Wed, 07 Jan 2026 08:00:00 +0000"
    assert "Vous n'avez rien à faire" in explanation(octets)


@pytest.mark.requirement("OP-18")
def test_people_read_their_own_clock_and_machines_utc() -> None:
    there = replace(report(), zone=ZoneInfo("Indian/Reunion"))
    octets = dsn.delayed(there, retry_until=ARRIVED + timedelta(hours=48))
    french, _, english = explanation(octets).partition("--- English ---")
    assert "jusqu'au 07/01/2026 à 12:00 (UTC+4)." in " ".join(french.split())
    assert "until 07 Jan 2026, 12:00 (UTC+4)." in " ".join(english.split())
    assert groups(octets)[1]["Will-Retry-Until"] == "Wed, 07 Jan 2026 08:00:00 +0000"
    assert groups(octets)[0]["Arrival-Date"] == "Mon, 05 Jan 2026 08:00:00 +0000"


def test_relayed_answers_notify_success() -> None:
    octets = dsn.relayed(report(dsn.RecipientStatus(LUC, "2.0.0", "250 2.0.0 ok")))
    assert groups(octets)[1]["Action"] == "relayed"


def test_every_report_is_written_in_french_and_in_english() -> None:
    about = report(dsn.RecipientStatus(LUC, "2.0.0", "250 2.0.0 ok"))
    late = dsn.delayed(about, retry_until=NOW + timedelta(hours=44))
    for octets in (dsn.failure(report()), late, dsn.relayed(about), dsn.delivered(about)):
        french, dashes, english = explanation(octets).partition("--- English ---")
        assert dashes
        assert "Votre message" in french
        assert "Your message" in english
        assert str(LUC.address) in french


def test_ret_full_returns_the_message_and_hdrs_only_its_header() -> None:
    full = parts(dsn.failure(report(ret="FULL")))[2]
    assert full.get_content_type() == "message/rfc822"
    assert ORIGINAL in dsn.failure(report(ret="FULL"))
    for ret in ("HDRS", None):
        octets = dsn.failure(report(ret=ret))
        assert b"Bonjour" not in octets
        assert b"Subject: essai" in octets


def test_a_message_that_cannot_travel_in_lines_returns_its_header_only() -> None:
    long_line = ORIGINAL + b"x" * 1_200 + b"\r\n"
    octets = dsn.failure(report(original=long_line, ret="FULL"))
    assert parts(octets)[2].get_content_type() == "text/rfc822-headers"
    huge = ORIGINAL + b"x\r\n" * dsn.FULL_OCTETS
    assert len(dsn.failure(report(original=huge, ret="FULL"))) < 10_000


def test_the_boundary_is_never_one_that_the_original_holds() -> None:
    first = parse(dsn.failure(report())).get_boundary()
    assert first is not None
    hostile = ORIGINAL + b"\r\n--" + first.encode() + b"--\r\nContent-Type: text/html\r\n\r\nx\r\n"
    octets = dsn.failure(report(original=hostile, ret="FULL"))
    assert len(parts(octets)) == 3
    assert parse(octets).get_boundary() != first


@pytest.mark.attack
@pytest.mark.requirement("OP-19")
@pytest.mark.parametrize(
    "text",
    [
        "550 no\r\nBcc: victime@cabinet-b.test",
        "550 no\r\n\r\n--=_x\r\nContent-Type: text/html\r\n\r\n<b>",
        "550 no\nAction: delivered",
        "550 \x00\x1b[2J\x85\u2028Action: delivered",
        "550 refus\udce9 accentu\u00e9",
        "550 " + "x" * 5_000,
        "550 " + "é" * 5_000,
    ],
)
def test_att_09_peer_text_never_becomes_a_field(text: str) -> None:
    plain = dsn.failure(report(dsn.RecipientStatus(LUC, "5.1.1", "550 no", "mx.test")))
    octets = dsn.failure(
        report(dsn.RecipientStatus(LUC, "5.1.1", text, "mx.test\r\nAction: delivered"))
    )
    assert _shape(octets) == _shape(plain)


@pytest.mark.attack
def test_att_09_the_detector_sees_a_report_that_copies_peer_text() -> None:
    plain = dsn.failure(report())
    weak = plain.replace(b"550 5.1.1 no such user", b"550 no\r\nAction: delivered")
    assert _shape(weak) != _shape(plain)


def _shape(octets: bytes) -> tuple[object, ...]:
    """Names of the header fields and of the status fields; lines and octets stay legal."""
    for line in octets.split(b"\r\n"):
        assert len(line) <= 998
        assert not set(line) & {0, 10, 13, 27}
    names = [group.keys() for group in groups(octets)]
    second = octets.split(b"message/delivery-status\r\n\r\n")[1].split(b"\r\n--")[0]
    assert second.isascii()
    return parse(octets).keys(), names, [part.get_content_type() for part in parts(octets)]


TOKENS = ["\r\n", "\n", "\r", "--=_", "Action: delivered", ":", " ", "é", "\udc80", "x" * 900, "\0"]


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join), st.booleans())
def test_any_peer_text_and_original_leave_three_parts(text: str, full: bool) -> None:
    original = text.encode("utf-8", "surrogateescape")
    octets = dsn.failure(
        report(
            dsn.RecipientStatus(LUC, "5.1.1", text, text),
            original=original,
            ret="FULL" if full else None,
        )
    )
    assert len(groups(octets)) == 2
    assert _shape(octets)[0] == parse(dsn.failure(report())).keys()


@pytest.mark.attack
@pytest.mark.requirement("OP-19")
def test_att_44_a_null_sender_gets_no_report_of_any_kind() -> None:
    for event in ("SUCCESS", "FAILURE", "DELAY"):
        assert not dsn.is_due(None, Recipient(LUC.address, notify=frozenset({event})), event)
    assert dsn.is_due(ZOE, LUC, "FAILURE")
    assert dsn.is_due(ZOE, LUC, "DELAY")
    assert not dsn.is_due(ZOE, LUC, "SUCCESS")
    assert not dsn.is_due(ZOE, Recipient(LUC.address, notify=frozenset()), "FAILURE")
    assert dsn.is_due(ZOE, Recipient(LUC.address, notify=frozenset({"SUCCESS"})), "SUCCESS")


def test_a_report_needs_a_recipient() -> None:
    with pytest.raises(ValueError, match="without recipient"):
        dsn.Report("x", Domain("a.test"), Domain("a.test"), ZOE, "x", ARRIVED, NOW, (), ORIGINAL)


@pytest.mark.requirement("OP-80")
def test_a_report_is_read_in_english_too_and_says_whom_to_call() -> None:
    status = replace(report().statuses[0], support="support@alpha.test\r\nBcc: x@y.test")
    for octets in (
        dsn.failure(report(status, status)),
        dsn.delayed(report(status), retry_until=datetime(2026, 1, 7, tzinfo=UTC)),
    ):
        text = explanation(octets)
        french, _, english = text.partition("--- English ---")
        assert "luc.dupont@cabinet-b.test" in french
        assert "could not be delivered" in english
        assert english.count("support@alpha.test Bcc: x@y.test") == 1, "on one line, once"
    assert "is wrong, or the recipient's operator does not know it" in explanation(
        dsn.failure(report())
    )
    assert "Support" not in explanation(dsn.failure(report()))


def test_a_way_without_the_tls_that_was_required_is_told_as_such() -> None:
    status = replace(report().statuses[0], status="5.7.30")
    assert "chiffrement exigé" in explanation(dsn.failure(report(status)))

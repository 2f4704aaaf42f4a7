"""When an automatic reply is due, and what it looks like (RFC 3834, RFC 5230, DEF-13)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.mail import Address
from mssmtp.message.headers import fields, values
from mssmtp.sieve.answering import Written, is_due, pause, render
from mssmtp.sieve.auto_reply import AutoReply
from mssmtp.sieve.outcome import Reply
from tests.sieve.letters import BOX, NOW, SENDER, letter_of

OWN = (Address.parse("secretariat.cardio@hopital-b.test"),)
TO = "secretariat.cardio@hopital-b.test"
REPLY = Reply("Je suis absent.", "h")
WRITTEN = Written("01ABC", OWN[0], Address.parse(SENDER), NOW)


def due(header: str, sender: str = SENDER, reply: Reply = REPLY) -> bool:
    octets = f"From: <{SENDER}>\r\n{header}\r\n\r\nbonjour\r\n".encode()
    return is_due(letter_of(octets, sender, TO), reply, OWN)


@pytest.mark.requirement("DEF-13")
@pytest.mark.parametrize("name", ["To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"])
def test_a_letter_that_names_the_box_is_answered(name: str) -> None:
    assert due(f"{name}: x@y.test, Secr <Secretariat.Cardio@HOPITAL-B.test>")


@pytest.mark.requirement("DEF-13")
@pytest.mark.attack("ATT-44")
@pytest.mark.parametrize(
    "line",
    [
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: auto-generated (cause)",
        "Auto-Submitted: auto-notified; owner-email=x@y.test",
        "List-Id: <liste.hopital-a.test>",
        "List-Unsubscribe: <mailto:x@y.test>",
        "List-Post: NO",
        "Precedence: bulk",
        "Precedence: List",
        "X-Auto-Response-Suppress: OOF, AutoReply",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b",
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b",
        "Content-Type: message/disposition-notification",
        "Subject: =?UTF-8?Q?[KO_Int=C3=A9gration_syst=C3=A8me_!][902]?= XDM/1.0/DDM+CR",
    ],
)
def test_att_44_lists_reports_and_machines_are_never_answered(line: str) -> None:
    assert not due(f"To: {TO}\r\n{line}")


@pytest.mark.attack("ATT-44")
@pytest.mark.parametrize(
    "sender",
    [
        "",
        TO,
        "MAILER-DAEMON@hopital-a.test",
        "owner-liste@hopital-a.test",
        "liste-request@hopital-a.test",
        "no-reply@hopital-a.test",
    ],
)
def test_att_44_nobody_is_answered_who_is_no_person(sender: str) -> None:
    assert not due(f"To: {TO}", sender)


def test_a_letter_that_does_not_name_the_box_is_not_answered() -> None:
    assert not due("To: tous@hopital-b.test")
    assert due("Auto-Submitted: no\r\nTo: " + TO)
    assert due(
        "To: cardio@hopital-b.test", reply=Reply("x", "h", addresses=("Cardio@hopital-b.test",))
    )


@pytest.mark.requirement("DEF-13")
@pytest.mark.parametrize(("days", "expected"), [(None, 7), (0, 4), (1, 4), (9, 9), (365, 30)])
def test_between_two_replies_are_four_days_at_least(days: int | None, expected: int) -> None:
    assert pause(Reply("x", "h", days)) == timedelta(days=expected)


def rendered(reply: Reply, header: str = "") -> bytes:
    octets = f"From: <{SENDER}>\r\nTo: <{BOX}>\r\n{header}\r\n".encode()
    return render(WRITTEN, letter_of(octets), reply)


def test_a_reply_belongs_to_the_thread() -> None:
    lines = "Message-ID: <2@a.test>\r\nReferences: <1@a.test> junk <1@a.test>\r\nSubject: Bilan\r\n"
    octets = rendered(REPLY, lines)
    assert values(octets, "in-reply-to") == (b"<2@a.test>",)
    assert values(octets, "references") == (b"<1@a.test> <2@a.test>",)
    assert values(octets, "subject") == (b"Auto: Bilan",)


_PIECES = ["a", "é", "\r", "\n", "\r\n", ":", "Bcc: x@y.test", " ", "\t", "=", ".", "\0", "\u2028"]
_TEXT = st.lists(st.sampled_from(_PIECES)).map("".join)


@pytest.mark.attack("ATT-09")
@given(text=_TEXT, subject=_TEXT, said=st.none() | _TEXT, is_mime=st.booleans())
def test_att_09_no_text_becomes_a_field(
    text: str, subject: str, said: str | None, *, is_mime: bool
) -> None:
    clean = " ".join(subject.split("\r")).replace("\n", " ").replace("\0", "")
    octets = rendered(Reply(text, "h", None, said, None, (), is_mime), f"Subject: {clean}\r\n")
    names = [field.name for field in fields(octets)]
    assert set(names) <= {
        *("from", "to", "date", "message-id", "auto-submitted", "subject", "mime-version"),
        *("content-type", "content-transfer-encoding"),
    }
    assert len(names) == len(set(names))
    head = octets.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert max(map(len, octets.split(b"\r\n"))) <= 998


def test_a_mime_reason_brings_its_own_content_and_nothing_else() -> None:
    good = "Content-Type: text/html; charset=us-ascii\n\n<p>Absent</p>\n"
    octets = rendered(Reply(good, "h", is_mime=True))
    assert values(octets, "content-type") == (b"text/html; charset=us-ascii",)
    assert octets.endswith(b"\r\n\r\n<p>Absent</p>\r\n")
    for bad in ("Bcc: x@y.test\n\nx", "From: x@y.test\nContent-Type: text/plain\n\nx", "x"):
        octets = rendered(Reply(bad, "h", is_mime=True))
        assert values(octets, "content-type") == (b"text/plain; charset=UTF-8",)
        assert values(octets, "bcc") == ()


@pytest.mark.requirement("SEED-44")
def test_an_automatic_reply_is_kept_as_it_was_set() -> None:
    since = datetime(2026, 1, 5, tzinfo=UTC)
    set_up = AutoReply("Absente.", "Congés", since, since + timedelta(days=7))
    assert AutoReply.from_bytes(set_up.to_bytes()) == set_up
    assert [set_up.is_on(since + timedelta(days=n)) for n in (-1, 0, 6, 7)] == [
        *(False, True, True, False)
    ]
    for text, until in (("", None), ("x" * 10_001, None), ("x", since)):
        with pytest.raises(ValueError, match="."):
            AutoReply(text, since=since, until=until)

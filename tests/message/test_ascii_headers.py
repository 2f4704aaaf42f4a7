"""CL-60: whatever we write, header text beyond ASCII is in RFC 2047 words, names in RFC 2231."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp import dsn
from mssmtp.mail import Address, Domain, Recipient
from mssmtp.message.encode import encode_8bit, percent_encoded
from mssmtp.notices import letter
from mssmtp.notices.templates import Written

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
ZOE = Address.parse("zoe@hopital-a.test")
PIECES = [*'aé ç€œ漢🩺=?_"\r\n\x00\u2028', "à bientôt", "=?utf-8?B?w6k=?="]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def header_of(octets: bytes) -> bytes:
    return octets.partition(b"\r\n\r\n")[0] + b"\r\n"


def assert_plain(header: bytes) -> None:
    """ASCII, no line above 998 octets, no control but line ends (RFC 5322 2.1.1, 2.2)."""
    assert header.isascii()
    for line in header.split(b"\r\n"):
        assert len(line) <= 998
        assert all(octet >= 32 or octet == 9 for octet in line)


@pytest.mark.requirement("CL-60")
@given(TEXTS)
def test_words_of_ours_are_ascii_and_read_back_by_another_reader(text: str) -> None:
    encoded = encode_8bit(text.encode())
    if text.isascii():
        return
    words = [word for word in encoded.split(b" ") if word.startswith(b"=?utf-8?B?")]
    assert encoded.isascii()
    assert all(len(word) <= 75 for word in words)
    if "=?" in text:  # what only looks like a word may be read as one
        return
    shown = str(make_header(decode_header(encoded.decode("ascii").replace("\r\n", " "))))
    wanted = [each for each in text if each > "\x7f" and each != "\u2028"]
    assert [each for each in shown if each > "\x7f"] == wanted


@pytest.mark.requirement("CL-60")
@given(TEXTS)
def test_names_of_files_are_written_in_the_form_of_rfc_2231(name: str) -> None:
    octets = b"Content-Disposition: attachment; filename*=utf-8''" + percent_encoded(name.encode())
    assert_plain(octets)
    read = email.message_from_bytes(octets + b"\r\n\r\n", policy=email.policy.compat32)
    assert (read.get_filename() or "") == name.strip()


@pytest.mark.requirement("CL-60")
@given(TEXTS, TEXTS)
def test_service_mail_and_reports_have_plain_headers(subject: str, said: str) -> None:
    flat = " ".join("".join(c if c.isprintable() else " " for c in subject).split()) or "x"
    notice = letter.octets(Written(flat, ("Bonjour",)), ZOE, "Médimail", ZOE, NOW, "1")
    assert_plain(header_of(notice))
    status = dsn.RecipientStatus(Recipient(ZOE), "5.1.1", f"550 5.1.1 {said}", "mx.test")
    original = f"From: {ZOE}\r\nSubject: {flat}\r\n\r\ntexte\r\n".encode()
    report = dsn.failure(
        dsn.Report(
            id="01JGX5Q2M0000000000000DSN0",
            host_name=Domain("smtp.hopital-a.test"),
            domain=Domain("hopital-a.test"),
            to=ZOE,
            envid="1",
            arrived_at=NOW,
            now=NOW,
            statuses=(status,),
            original=original,
            ret=None,
        )
    )
    assert_plain(header_of(report))

"""Trace headers and what is put above a message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.mail import Address, Domain, EnvelopeId
from mssmtp.message import headers
from mssmtp.smtp import content, replies, trace
from mssmtp.smtp.content import HeaderGate, RefusedContent
from mssmtp.smtp.trace import Hop

NOW = datetime(2026, 1, 5, 9, 15, tzinfo=UTC)
ID = EnvelopeId("01JGX5Q2M0000000000000TEST")
HOST = Domain("mx.hopital-a.test")
PEER = Hop("mx.cabinet-b.test", "127.0.0.1", HOST, "TLSv1.3", "TLS_AES_256_GCM_SHA384")
PERSON = Hop("localhost", None, HOST, "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", authenticated=True)


def test_received_names_protocol_tls_and_envelope() -> None:
    assert trace.received(PEER, ID, NOW) == (
        b"Received: from mx.cabinet-b.test ([127.0.0.1])\r\n"
        b"\tby mx.hopital-a.test with ESMTPS id 01JGX5Q2M0000000000000TEST\r\n"
        b"\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384);\r\n"
        b"\tMon, 05 Jan 2026 09:15:00 +0000\r\n"
    )


def test_submission_is_esmtpsa_and_tells_no_personal_address() -> None:
    line = trace.received(PERSON, ID, NOW)
    assert b"with ESMTPSA id" in line
    assert b"[" not in line


def test_return_path_of_null_is_empty_brackets() -> None:
    assert trace.return_path(None) == b"Return-Path: <>\r\n"
    zoe = Address.parse("zoe.tartempion@hopital-a.test")
    assert trace.return_path(zoe) == b"Return-Path: <zoe.tartempion@hopital-a.test>\r\n"


def test_dates_have_english_names_and_their_offset() -> None:
    at = NOW.astimezone(timezone(timedelta(hours=2)))
    assert trace.date(at) == b"Date: Mon, 05 Jan 2026 11:15:00 +0200\r\n"


@pytest.mark.attack
@given(st.text(max_size=300))
def test_att_09_a_greeting_adds_no_header_field(greeting: str) -> None:
    hop = Hop(greeting, "::1", HOST, "TLSv1.3", "TLS_AES_256_GCM_SHA384")
    found = headers.fields(trace.received(hop, ID, NOW) + b"\r\n")
    assert [field.name for field in found] == ["received"]
    assert b"[IPv6:::1]" in found[0].value


@pytest.mark.requirement("CL-56")
def test_message_id_and_date_are_made_only_when_missing() -> None:
    made = content.missing_fields(b"Subject: x\r\n\r\n", ID, Domain("hopital-a.test"), NOW)
    assert made == (
        b"Message-ID: <01JGX5Q2M0000000000000TEST@hopital-a.test>\r\n"
        b"Date: Mon, 05 Jan 2026 09:15:00 +0000\r\n"
    )
    complete = b"message-id: <a@b.test>\r\nDATE: x\r\n\r\n"
    assert content.missing_fields(complete, ID, Domain("hopital-a.test"), NOW) == b""


@pytest.mark.requirement("OP-63")
def test_the_wire_content_of_a_relay_starts_after_return_path() -> None:
    top = content.top(PEER, ID, None, NOW)
    assert top.octets[: top.skip] == b"Return-Path: <>\r\n"
    assert top.octets[top.skip :].startswith(b"Received: ")


MESSAGES = [b"\r\nbody\r\n", b"A: b\r\n\r\nbody", b"A: b\r\n", b"", b"A: b\r\n\tc\r\n\r\n\r\n"]


@pytest.mark.parametrize("message", MESSAGES)
def test_the_gate_passes_every_octet_whatever_the_split(message: bytes) -> None:
    for size in (1, 2, 3, 100):
        gate = HeaderGate(1_000)
        passed = b"".join(gate.feed(message[i : i + size]) for i in range(0, len(message), size))
        passed += gate.close()
        assert passed == message
        assert message.startswith(gate.header)
        if b"\r\n\r\n" in message:
            assert gate.header.endswith(b"\r\n\r\n") or gate.header == b"\r\n"


@pytest.mark.attack
def test_att_07_a_header_section_above_the_limit_is_refused_early() -> None:
    gate = HeaderGate(1_000)
    for _ in range(77):
        gate.feed(b"X-Filler: 1\r\n")
    with pytest.raises(RefusedContent) as refused:
        gate.feed(b"X-Filler: 1\r\n")
    assert refused.value.reply == replies.HEADER_TOO_LONG
    exact = HeaderGate(1_000)
    exact.feed(b"A: " + b"b" * 993 + b"\r\n\r\n")
    assert len(exact.header) == 1_000


@pytest.mark.attack
@pytest.mark.parametrize("first", [b" folded: x", b"\tfolded"])
def test_att_09_a_message_cannot_continue_our_own_field(first: bytes) -> None:
    with pytest.raises(RefusedContent) as refused:
        content.check_header(first + b"\r\nFrom: <a@b.test>\r\n\r\n")
    assert refused.value.reply == replies.LEADING_FOLD


def test_a_hundred_and_one_hops_are_a_loop() -> None:
    content.check_header(b"Received: x\r\n" * 100 + b"\r\n")
    with pytest.raises(RefusedContent):
        content.check_header(b"Received: x\r\n" * 101 + b"\r\n")


def listed_nowhere(name: Domain) -> bool:
    return False


@pytest.mark.attack
@pytest.mark.requirement("OP-86")
def test_att_42_unreadable_authors_authorise_nothing() -> None:
    zoe = Address.parse("zoe@hopital-a.test")
    assert content.authors(
        b"From: Z <zoe@hopital-a.test>\r\n\r\n", listed_nowhere
    ).from_addresses == (zoe,)
    for header in (
        b"\r\n",
        b"From: a@b.test\r\nFrom: zoe@hopital-a.test\r\n\r\n",
        b"From: g: zoe@hopital-a.test;\r\n\r\n",
        b"From: zoe@hopital-a.test\r\nSender: a@b.test, c@d.test\r\n\r\n",
    ):
        assert content.authors(header, listed_nowhere).from_addresses == ()
    both = content.authors(b"From: zoe@hopital-a.test\r\nSender: a@b.test\r\n\r\n", listed_nowhere)
    assert both.sender_addresses == (Address.parse("a@b.test"),)


def test_the_longest_top_fits_the_room_that_is_announced() -> None:
    longest = Address.parse("a" * 64 + "@" + ".".join(["b" * 60] * 3) + ".test")
    hop = Hop("g" * 255, "f" * 255, Domain("h" * 63 + ".test"), "v" * 64, "c" * 64)
    extra = content.missing_fields(b"\r\n", ID, longest.domain, NOW)
    assert len(content.top(hop, ID, longest, NOW, extra).octets) < content.TOP_OCTETS

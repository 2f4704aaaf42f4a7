"""Framing of command lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import BadSyntax
from mssmtp.smtp.lines import BadLine, Inbox, LineTooLong

TOKENS = [b"NOOP", b"\r\n", b"\r", b"\n", b"\0", b" ", b"x" * 9, b"\xc3\xa9", b"\t"]


def events(inbox: Inbox) -> list[bytes | str]:
    found: list[bytes | str] = []
    while True:
        try:
            line = inbox.line()
        except BadSyntax as error:
            found.append(type(error).__name__)
            continue
        if line is None:
            return found
        found.append(line)


@given(st.lists(st.sampled_from(TOKENS), max_size=40))
def test_framing_ignores_how_octets_were_split(chunks: list[bytes]) -> None:
    whole, pieces, single = Inbox(20), Inbox(20), Inbox(20)
    octets = b"".join(chunks)
    whole.feed(octets)
    expected = events(whole)
    found: list[bytes | str] = []
    for chunk in chunks:
        pieces.feed(chunk)
        found += events(pieces)
    assert found == expected
    found = []
    for octet in octets:
        single.feed(bytes((octet,)))
        found += events(single)
    assert found == expected


@pytest.mark.attack
@pytest.mark.requirement("DEF-02")
def test_att_01_a_bare_line_feed_ends_no_command_that_is_executed() -> None:
    inbox = Inbox(100)
    inbox.feed(b"MAIL FROM:<a@b.test>\nRCPT TO:<c@d.test>\r\nNOOP\r\n")
    with pytest.raises(BadLine):
        inbox.line()
    assert inbox.line() == b"RCPT TO:<c@d.test>"
    assert inbox.line() == b"NOOP"


@pytest.mark.parametrize("octets", [b"NO\rOP\r\n", b"NO\0OP\r\n", b"\x7f\r\n"])
def test_control_characters_are_refused(octets: bytes) -> None:
    inbox = Inbox(100)
    inbox.feed(octets)
    with pytest.raises(BadLine):
        inbox.line()


@pytest.mark.attack
@pytest.mark.requirement("DEF-02")
def test_a_long_line_is_dropped_as_it_comes_and_refused_once() -> None:
    inbox = Inbox(12_288)
    for _ in range(1_000):
        inbox.feed(b"x" * 10_000)
        assert inbox.line() is None
        assert len(inbox) <= 22_290
    inbox.feed(b"\r\nNOOP\r\n")
    with pytest.raises(LineTooLong):
        inbox.line()
    assert inbox.line() == b"NOOP"


@pytest.mark.requirement("DEF-02")
def test_the_limit_itself_passes_and_one_octet_more_does_not() -> None:
    inbox = Inbox(12_288)
    inbox.feed(b"x" * 12_288 + b"\r\n" + b"y" * 12_289 + b"\r\n")
    assert inbox.line() == b"x" * 12_288
    with pytest.raises(LineTooLong):
        inbox.line()


def test_what_was_taken_too_far_comes_first_again() -> None:
    inbox = Inbox(100)
    inbox.feed(b"NOOP\r\n")
    inbox.unread(b"RSET\r\n")
    assert [inbox.line(), inbox.line()] == [b"RSET", b"NOOP"]

"""The strict reader takes what the grammar takes, and nothing else."""

from __future__ import annotations

import pytest

from tests.imap.answers import Malformed, read

GOOD = [
    b"* OK [CAPABILITY IMAP4rev1 IDLE] ready\r\n",
    b"+ \r\n",
    b"* SEARCH\r\n",
    b"* SEARCH 1 2\r\n",
    b'* LIST (\\HasNoChildren) "/" "a\\"b"\r\n',
    b"* LIST () NIL {3}\r\na\xffb\r\n",
    b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (From)]<0> {2}\r\n\r\n FLAGS ())\r\n",
    b'* 1 FETCH (BODYSTRUCTURE (("A" "B" NIL)("C" "D" NIL) "MIXED"))\r\n',
    b"a1 NO [TRYCREATE] no\r\n",
]
BAD = [
    b"* OK\r\n",
    b"* OK \r\n",
    b"* OK [CODE]\r\n",
    b"* SEARCH  1\r\n",
    b"* SEARCH 1 \r\n",
    b'* LIST (\\X "/" a\r\n',
    b'* LIST () "/" "a"b"\r\n',
    b'* LIST () "/" "a\xe9"\r\n',
    b"* 1 FETCH (UID)\r\n",
    b"* 1 FETCH ()\r\n",
    b"* 1 FETCH (UID 1 BODY[] {5}\r\nab)\r\n",
    b"* 2 EXISTS\n",
    b"a1 FETCH done\r\n",
    b"* 2 EXISTS",
]


@pytest.mark.parametrize("octets", GOOD)
def test_what_is_in_the_grammar_is_read(octets: bytes) -> None:
    assert len(read(octets)) == 1


@pytest.mark.parametrize("octets", BAD)
def test_what_is_not_in_the_grammar_is_seen(octets: bytes) -> None:
    with pytest.raises(Malformed):
        read(octets)

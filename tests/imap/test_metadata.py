"""Limits of annotations, and octets no transcript can show (RFC 5464)."""

from __future__ import annotations

import pytest

from mssmtp.imap.commands import setmetadata
from mssmtp.imap.metadata import MAX_VALUE, MOST_ENTRIES
from tests.imap.world import World

LONG = b"SETMETADATA INBOX (/private/comment {%d+}\r\n%b)"


def test_any_octets_go_round(world: World) -> None:
    """`value = nstring / literal8`: binary data too (3.2)."""
    client = world.client(select=None)
    value = bytes(range(256))
    client.ok(b"SETMETADATA INBOX (/private/comment ~{256+}\r\n%b)" % value)
    answer = client.send(b"a GETMETADATA INBOX /private/comment\r\n")
    assert b'* METADATA "INBOX" ("/private/comment" ~{256}\r\n%b)\r\n' % value in answer
    client.ok(LONG % (4, b"\xff\r\n\xc3"))
    answer = client.send(b"b GETMETADATA INBOX /private/comment\r\n")
    assert b'("/private/comment" {4}\r\n\xff\r\n\xc3)\r\n' in answer


@pytest.mark.attack
def test_att_27_values_and_their_number_are_bounded(world: World) -> None:
    client = world.client(select=None)
    client.ok(LONG % (MAX_VALUE, b"x" * MAX_VALUE))
    tagged, _ = client.command(LONG % (MAX_VALUE + 1, b"x" * (MAX_VALUE + 1)))
    assert tagged.startswith(f"NO [METADATA MAXSIZE {MAX_VALUE}]")
    for number in range(MOST_ENTRIES - 1):
        client.ok(f'SETMETADATA INBOX (/private/n{number} "x")')
    client.no('SETMETADATA INBOX (/private/more "x" /shared/comment "x")', "METADATA TOOMANY")
    assert client.ok("GETMETADATA INBOX /shared/comment") == [
        '* METADATA "INBOX" ("/shared/comment" NIL)'
    ]
    client.ok('SETMETADATA INBOX (/private/n0 NIL /private/more "x")')
    client.ok('SETMETADATA INBOX (/shared/comment "counted apart")')
    client.ok('SETMETADATA Sent (/private/comment "of another mailbox")')
    client.ok('SETMETADATA "" (/private/comment "of the server")')


@pytest.mark.attack
def test_att_27_a_box_has_so_many_annotations_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setmetadata, "MOST_IN_BOX", 3)
    client = world.client(select=None)
    client.ok('SETMETADATA INBOX (/private/a "x" /shared/a "x")')
    client.ok('SETMETADATA Sent (/private/a "x")')
    client.no('SETMETADATA Drafts (/private/a "x")', "METADATA TOOMANY")
    client.ok('SETMETADATA Sent (/private/a "y")')
    client.ok("SETMETADATA INBOX (/shared/a NIL)")
    client.ok('SETMETADATA Drafts (/private/a "x")')


def test_annotations_lie_sealed_on_the_disk(world: World) -> None:
    client = world.client(select=None)
    client.ok('SETMETADATA INBOX (/private/comment "Diabete de Madame Unetelle")')
    octets = b"".join(p.read_bytes() for p in world.home.rglob("*") if p.is_file())
    assert b"Unetelle" not in octets
    assert b"/private/comment" not in octets

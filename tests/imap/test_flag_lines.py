"""Flags of many messages are told from an image: the same lines as from the rows."""

from __future__ import annotations

import re

import pytest

from mssmtp.imap import flag_lines, header_lines
from tests.imap.world import Client, World


def both_ways(client: Client, items: str) -> None:
    """RFC822.SIZE makes the rows be read; without it the lines are the same."""
    by_rows = client.ok(f"FETCH 1:* ({items} RFC822.SIZE)")
    plain = [re.sub(r" RFC822.SIZE \d+", "", line) for line in by_rows]
    assert client.ok(f"FETCH 1:* ({items})") == plain
    assert len(plain) > 1


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of messages are many."""
    monkeypatch.setattr(flag_lines, "LEAST", 2)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("items", ["FLAGS", "UID FLAGS", "FLAGS UID"])
def test_an_image_tells_the_lines_that_rows_tell(world: World, items: str) -> None:
    world.fill(3)
    one = world.client()
    both_ways(one, items)
    one.ok("STORE 2 +FLAGS (\\Seen patient)")
    world.fill(4)
    other = world.client()
    other.ok("STORE 1,5:7 +FLAGS (\\Deleted)")
    other.ok("UID EXPUNGE 6")
    for client in (one, other):
        client.ok("NOOP")
        both_ways(client, items)
        assert client.ok(f"FETCH 2:3,5 ({items})")[0].startswith("* 2 FETCH (")


@pytest.mark.usefixtures("few")
def test_messages_that_are_gone_are_missed_with_an_image_too(world: World) -> None:
    world.fill(4)
    one, other = world.client(), world.client()
    other.ok("STORE 2 +FLAGS (\\Deleted)")
    other.ok("EXPUNGE")
    tagged, lines = one.command("FETCH 1:* (FLAGS)")
    assert tagged.startswith("NO [EXPUNGEISSUED]")
    assert [line.split(" ")[1] for line in lines if " FETCH (FLAGS" in line] == ["1", "3", "4"]


def test_a_list_of_mail_shows_what_single_messages_show(world: World) -> None:
    """More than MOST_ITEMS items take the way of single parts: the same values."""
    world.fill(3)
    client = world.client()
    wanted = "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE"
    wanted += ' BODY.PEEK[HEADER.FIELDS (Subject "X-%d")] BODY.PEEK[HEADER]<3.9>'
    quick = client.ok(f"FETCH 1:* ({wanted})")
    many = " ".join(f"BODY.PEEK[HEADER]<{n}.1>" for n in range(header_lines.MOST_ITEMS))
    slow = client.ok(f"FETCH 1:* ({wanted} {many})")
    ends = [line.partition(" BODY[HEADER]<0> ")[0] for line in slow]
    assert [line.removesuffix(")") for line in quick if "ENVELOPE" in line] == [
        line for line in ends if "ENVELOPE" in line
    ]
    assert len([line for line in quick if "ENVELOPE" in line]) == 3
    assert 'BODY[HEADER.FIELDS (Subject "X-%d")]' in quick[0]

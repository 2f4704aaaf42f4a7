"""UIDBATCHES: every UID up to the newest is in one batch, every batch but the last is full.

RFC 10022 3.
"""

from __future__ import annotations

import pytest

from mssmtp.imap.commands import uidbatches
from tests.imap.world import World


def test_batches_partition_the_mailbox_from_its_newest_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uidbatches, "LEAST", 1)
    world.fill(9)
    client = world.client()
    client.ok("UID STORE 2,6,9 +FLAGS.SILENT (\\Deleted)")
    client.ok("EXPUNGE")  # 1 3 4 5 7 8 are left
    assert _batches(client.ok("UIDBATCHES 2")) == "8:7,6:4,3:1"
    assert _batches(client.ok("UIDBATCHES 4")) == "8:4,3:1"
    assert _batches(client.ok("UIDBATCHES 6")) == "8:1"
    assert _batches(client.ok("UIDBATCHES 100")) == "8:1"
    assert _batches(client.ok("UIDBATCHES 2 2:3")) == "6:4,3:1"
    assert _batches(client.ok("UIDBATCHES 2 3:9")) == "3:1"
    assert _batches(client.ok("UIDBATCHES 2 4:9")) == ""


def _batches(lines: list[str]) -> str:
    assert len(lines) == 1
    head, _, ranges = lines[0].partition(")")
    assert head.startswith('* UIDBATCHES (TAG "T')
    return ranges.strip()


def test_small_batches_and_odd_ranges_are_refused(world: World) -> None:
    client = world.client(select=None)
    client.bad("UIDBATCHES 500")
    client.ok("SELECT INBOX")
    assert _batches(client.ok("UIDBATCHES 500")) == ""
    client.no("UIDBATCHES 499", "TOOFEW")
    for text in ("UIDBATCHES", "UIDBATCHES 0", "UIDBATCHES 500 10", "UIDBATCHES 500 0:1"):
        client.bad(text)
    client.bad("UIDBATCHES 500 20:10")

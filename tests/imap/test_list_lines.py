"""Lists of mail are told from listings: the same octets as message by message."""

from __future__ import annotations

from typing import Any

import pytest

from mssmtp.imap import list_lines
from mssmtp.imap.list_lines import ListLines
from mssmtp.storage import listing
from mssmtp.storage.messages import PACK_UIDS
from mssmtp.storage.summaries import SummaryReading
from tests.imap.world import Client, World, message

FIELDS = "BODY.PEEK[HEADER.FIELDS (From Subject Date Message-ID Content-Type)]"
ITEMS = (
    "ENVELOPE",
    "UID BODYSTRUCTURE ENVELOPE",
    f"UID RFC822.SIZE FLAGS {FIELDS}",
    "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE",
    f"{FIELDS} BODY.PEEK[HEADER.FIELDS (To)] BODY.PEEK[HEADER.FIELDS (Cc)]",
)


def letters(count: int) -> list[bytes]:
    """Some have fields that nobody asks for, or asks for alone, or none at all."""
    odd = (
        b"Sender: a@b.test\r\nSubject: %% {3}\r\n folded\r\nX-Other: 1\r\n\r\nx\r\n",
        b"From: a@b.test\r\nto: zoe@hopital-a.test\r\nCC: c@d.test\r\n\r\n\r\n",
        b"\r\nonly a body\r\n",
    )
    return [odd[n % 7] if n % 7 < len(odd) else message(n) for n in range(count)]


def filled(world: World, count: int) -> None:
    """All in one commit."""
    sealed = [world.store.seal(octets) for octets in letters(count)]

    def job(writing: Any) -> None:
        inbox = writing.mailbox(world.zoe.id, "INBOX")
        for letter in sealed:
            writing.append(inbox.id, letter, frozenset(), world.clock.now())

    world.store.write(job).result()
    world.store.settle()


def both_ways(client: Client, command: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The answer, which is the same when there are no listings."""
    quick = client.ok(command)
    with monkeypatch.context() as slow:
        slow.setattr(ListLines, "serves", lambda _items: False)
        assert client.ok(command) == quick
    return quick


def served(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each listing showed at once, from now on."""
    shown: list[int] = []
    genuine = list_lines._filled

    def counted(form: Any, columns: Any) -> bytes:
        shown.append(len(form.uids))
        return genuine(form, columns)

    monkeypatch.setattr(list_lines, "_filled", counted)
    return shown


@pytest.mark.parametrize("items", ITEMS)
def test_a_listing_shows_what_single_messages_show(
    world: World, monkeypatch: pytest.MonkeyPatch, items: str
) -> None:
    filled(world, 2 * PACK_UIDS + 20)
    one, other = world.client(), world.client()
    shown = served(monkeypatch)
    assert len(both_ways(one, f"FETCH 1:* ({items})", monkeypatch)) > 2 * PACK_UIDS
    assert shown == [PACK_UIDS - 1, PACK_UIDS], "UID 0 is in no mailbox; the rest is not packed"
    with monkeypatch.context() as forgetful:  # what was said is remembered
        forgetful.setattr(SummaryReading, "listing", lambda *_: None)
        both_ways(one, f"FETCH 1:* ({items})", monkeypatch)
    assert shown[2:] == shown[:2]
    both_ways(one, f"FETCH 100:300,700:900 ({items})", monkeypatch)
    assert shown[4:] == [201, 201]
    other.ok("STORE 7,9,600 +FLAGS (\\Deleted patient)")
    other.ok("EXPUNGE")
    # What `one` was not told of is still numbered as before, and missed.
    assert one.command(f"FETCH 1:* ({items})")[0].startswith("NO [EXPUNGEISSUED]")
    one.ok("NOOP")
    world.store.settle()
    both_ways(one, f"FETCH 1:* ({items})", monkeypatch)
    world.store.settle()  # who misses a listing makes it
    shown.clear()
    both_ways(one, f"UID FETCH 1:* ({items})", monkeypatch)
    assert shown == [PACK_UIDS - 3, PACK_UIDS - 1]


@pytest.mark.parametrize(
    "items",
    [
        "UID FLAGS",
        "ENVELOPE BODY.PEEK[HEADER.FIELDS (X-Other)]",
        "ENVELOPE BODY.PEEK[HEADER.FIELDS.NOT (Subject)]",
        "ENVELOPE BODY.PEEK[HEADER.FIELDS (Subject)]<0.3>",
        "ENVELOPE BODY.PEEK[1.HEADER.FIELDS (Subject)]",
        "ENVELOPE BODY",
    ],
)
def test_what_no_listing_holds_is_not_told_from_one(
    world: World, monkeypatch: pytest.MonkeyPatch, items: str
) -> None:
    filled(world, PACK_UIDS)
    shown = served(monkeypatch)
    both_ways(world.client(), f"FETCH 1:* ({items})", monkeypatch)
    assert shown == []


def test_fields_that_become_seen_show_their_flags(world: World) -> None:
    filled(world, PACK_UIDS)
    client = world.client()
    seen = client.ok("FETCH 1:* (BODY[HEADER.FIELDS (Subject)])")
    assert sum("FLAGS (\\Seen" in line or "\\Seen)" in line for line in seen) >= PACK_UIDS
    assert client.ok("SEARCH UNSEEN")[0].strip() == "* SEARCH"


def test_d11_nothing_is_listed_of_a_window_with_too_much_to_show(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_OCTETS", 20_000)
    filled(world, PACK_UIDS)
    shown = served(monkeypatch)
    both_ways(world.client(), "FETCH 1:* (ENVELOPE)", monkeypatch)
    assert shown == []


def test_a_damaged_listing_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(world, PACK_UIDS)
    client = world.client()
    shown = served(monkeypatch)
    with monkeypatch.context() as damaged:
        damaged.setattr(SummaryReading, "listing", lambda *_: None)
        expected = client.ok("FETCH 1:* (ENVELOPE)")
    assert shown == []
    world.store.write(lambda w: w.drop_packs()).result()
    assert client.ok("FETCH 1:* (ENVELOPE)") == expected
    assert shown == []
    world.store.settle()
    assert client.ok("FETCH 1:* (ENVELOPE)") == expected
    assert shown == [PACK_UIDS - 1]

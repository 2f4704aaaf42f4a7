"""What one IMAP command may cost, whatever it asks and whatever letters it asks about."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mssmtp.imap import effects, search, sync
from mssmtp.imap.commands import copy, rename, store
from mssmtp.mail import Uid
from mssmtp.message.summary import Summary
from mssmtp.storage import summaries
from mssmtp.storage.messages import PACK_UIDS
from tests.imap.world import Client, World, message, worlds

pytestmark = pytest.mark.attack

HEADER_LINES = 250
"""Of 1,000 octets each: nearly the largest header section that is taken."""
MOST_AT_ONCE = 2_000_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from worlds(tmp_path)


def long_header(number: int) -> bytes:
    lines = b"".join(b"X-%d: %b\r\n" % (line, b"y" * 990) for line in range(HEADER_LINES))
    return lines + message(number)


def test_att_04_a_thousand_sections_of_one_letter_are_never_in_memory_together(
    world: World,
) -> None:
    world.deliver(long_header(1))
    client = world.client()
    whole = b"\r\n".join(line.encode() for line in client.ok("FETCH 1 BODY.PEEK[HEADER]"))
    wanted = " ".join(f"BODY.PEEK[HEADER.FIELDS.NOT (A{n})]" for n in range(100))
    answer = client.send(f"f FETCH 1 (UID {wanted} FLAGS ENVELOPE)\r\n".encode())
    assert answer.count(b"HEADER.FIELDS.NOT (A") == 100
    assert len(answer) > 100 * 249_000
    assert answer.endswith(b")\r\nf OK FETCH completed\r\n")
    assert whole[-300:-10] in answer
    assert client.largest_send < MOST_AT_ONCE


def test_att_27_letters_with_long_headers_are_opened_once_each_by_a_fetch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 41):
        world.deliver(long_header(number))
    opened = 0
    genuine = Summary.from_bytes

    def counted(octets: bytes) -> Summary:
        nonlocal opened
        opened += 1
        return genuine(octets)

    monkeypatch.setattr(Summary, "from_bytes", counted)
    client = world.client()
    assert len([x for x in client.ok("FETCH 1:* (BODY.PEEK[HEADER])") if "FETCH" in x]) == 40
    assert opened <= 2 * 40  # of each batch one more is looked at than fits
    assert client.largest_send < MOST_AT_ONCE


def test_att_05_no_pack_is_made_of_letters_with_long_headers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    pack = summaries.packed

    def noted(found: dict[Uid, bytes]) -> bytes:
        made.append(len(found))
        return pack(found)

    def fetched() -> list[str]:
        return client.ok("FETCH 1:* (ENVELOPE)")

    monkeypatch.setattr(summaries, "packed", noted)
    with monkeypatch.context() as small:
        small.setattr(summaries, "MAX_PACK_OCTETS", 10_000)
        world.fill(PACK_UIDS + 1)
        world.store.settle()  # the packs made behind the deliveries
        client = world.client()
        expected = fetched()
        assert made == []
    assert fetched() == expected
    assert made, "the control: with room the pack is made"


def test_att_27_a_thousand_small_parts_are_looked_up_in_short_turns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    world.deliver(head + b"--b\r\nX: y\r\n\r\nx\r\n" * 900 + b"--b--\r\n")
    client = world.client()
    turns = long_reads(client, monkeypatch)
    wanted = " ".join(f"BODY.PEEK[{number}.MIME]" for number in range(1, 901))
    answer = client.send(f"f FETCH 1 ({wanted})\r\n".encode())
    assert answer.count(b"X: y") == 900
    assert answer.endswith(b"f OK FETCH completed\r\n")
    assert len(turns) > 600


def long_reads(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each Read that `client` will ask for says that it is long."""
    seen: list[bool] = []
    perform = client._perform

    def noted(effect: effects.Effect) -> bool:
        if isinstance(effect, effects.Read):
            seen.append(effect.is_long)
        return perform(effect)

    monkeypatch.setattr(client, "_perform", noted)
    return seen


def test_att_27_a_text_search_gives_its_thread_back_after_so_much_text(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(12)
    client = world.client()
    monkeypatch.setattr(search, "MOST_COST", 20)
    reads = long_reads(client, monkeypatch)
    assert client.ok("SEARCH BODY Bonjour") == ["* SEARCH " + " ".join(map(str, range(1, 13)))]
    assert reads.count(True) >= 6
    reads.clear()
    monkeypatch.setattr(search, "MOST_COST", 1_000_000_000)
    assert client.ok("SEARCH NOT BODY Bonjour") == ["* SEARCH"]
    assert reads.count(True) == 1


def test_att_27_long_patterns_are_bounded_and_matched_off_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client()
    client.bad('LIST "" (' + " ".join(["a%"] * 21) + ")")
    reads = long_reads(client, monkeypatch)
    client.ok(f'LIST "" "{"%a" * 100}"')
    client.ok(f'LSUB "" "{"%a" * 100}"')
    client.ok('LIST "" "*"')
    assert reads == [True, True, False]


def commits(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[effects.Write[object]]:
    """Every Write that `client` asks for."""
    seen: list[effects.Write[object]] = []
    perform = client._perform

    def noted(effect: effects.Effect) -> bool:
        if isinstance(effect, effects.Write):
            seen.append(effect)
        return perform(effect)

    monkeypatch.setattr(client, "_perform", noted)
    return seen


def test_att_41_a_large_move_store_or_renamed_inbox_is_many_short_commits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "BATCH", 2)
    monkeypatch.setattr(rename, "BATCH", 2)
    monkeypatch.setattr(store, "BATCH", 2)
    world.fill(5)
    client = world.client()
    client.ok("NOOP")
    writes = commits(client, monkeypatch)
    told = client.ok("STORE 1:5 +FLAGS (rouge)")
    assert [line for line in told if "rouge" in line][1:] == [
        f"* {number} FETCH (FLAGS (\\Recent rouge))" for number in range(1, 6)
    ]
    assert len(writes) == 3
    writes.clear()
    moved = client.ok("MOVE 1:5 Archive")
    assert [line for line in moved if "COPYUID" in line][0].endswith(" 1:5 1:5] Moved")
    assert [line for line in moved if "EXPUNGE" in line] == ["* 1 EXPUNGE"] * 5
    assert len(writes) == 3
    client.ok("SELECT Archive")
    client.ok("MOVE 1:5 INBOX")
    writes.clear()
    client.ok("RENAME INBOX Vieux")
    assert len(writes) == 4
    assert "* 5 EXISTS" in client.ok("SELECT Vieux")
    assert "* 0 EXISTS" in client.ok("SELECT INBOX")


def test_att_41_one_copy_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "MOST_COPIED", 4)
    world.fill(5)
    client = world.client()
    client.no("COPY 1:5 Archive", "LIMIT")
    client.no("UID COPY 1:* INBOX", "LIMIT")
    client.ok("COPY 1:4 Archive")
    client.ok("MOVE 1:5 Archive")
    assert "* 9 EXISTS" in client.ok("SELECT Archive")


@pytest.mark.attack("ATT-27")
def test_att_27_news_of_a_whole_mailbox_is_put_together_beside_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STORE or EXPUNGE of 100,000 by one session stopped the worker for 200 ms for each other that
    had the mailbox open."""
    world.fill(4)
    client, other = world.client(), world.client()
    client.ok("NOOP")
    threads: set[int] = set()
    changed, expunges = sync.changed, sync._expunges

    def noted_change(*given: Any, **named: Any) -> bytes:
        threads.add(threading.get_ident())
        return changed(*given, **named)

    def noted_expunges(*given: Any) -> list[bytes]:
        threads.add(threading.get_ident())
        return expunges(*given)

    other.ok("STORE 1:* +FLAGS.SILENT (\\Deleted $Vu)")
    with monkeypatch.context() as patch:
        patch.setattr(sync, "changed", noted_change)
        patch.setattr(sync, "_expunges", noted_expunges)
        told = client.ok("NOOP")
        other.ok("UID EXPUNGE 2:3")
        gone = client.ok("NOOP")
    assert told[0].startswith("* FLAGS (")
    assert "$Vu" in told[0]
    assert len([line for line in told if " FETCH " in line]) == 4
    assert gone == ["* 2 EXPUNGE", "* 2 EXPUNGE"]
    assert threads
    assert threading.get_ident() not in threads


def test_a_long_answer_goes_out_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "PIECE_OCTETS", 64)
    world.fill(5)
    client = world.client()
    client.largest_send = 0
    assert len(client.ok("FETCH 1:* (UID FLAGS ENVELOPE)")) == 5
    assert client.largest_send == 64

"""Summaries and packs: rows are the truth, packs a cache."""

from __future__ import annotations

from pathlib import Path

from mssmtp.mail import Bal, MailboxId, Uid
from mssmtp.message import Summary
from mssmtp.storage import Store
from mssmtp.storage.messages import PACK_UIDS
from mssmtp.storage.summaries import NEW_FROM
from tests.storage.support import SteppingClock, behind, inbox, message


def fill(store: Store, mailbox: MailboxId, count: int) -> None:
    when = SteppingClock().now()
    letters = [store.seal(message(f"sujet {number}")) for number in range(count)]
    store.write(
        lambda w: [w.append(mailbox, letter, frozenset(), when) for letter in letters]
    ).result()
    store.settle()


def summaries(store: Store, mailbox: MailboxId, high: int) -> list[tuple[Uid, bytes]]:
    uids = [Uid(uid) for uid in range(1, high + 1)]
    return store.read(lambda r: list(r.summaries(mailbox, uids))).result()


def packs(home: Path) -> int:
    db = behind(home)
    try:
        return int(db.execute("SELECT count(*) FROM packs").fetchone()[0])
    finally:
        db.close()


def test_a_pack_gives_what_the_rows_give(store: Store, zoe: Bal, home: Path) -> None:
    box = inbox(store, zoe)
    fill(store, box, PACK_UIDS + 3)
    rows = summaries(store, box, PACK_UIDS + 9)
    store.settle()
    assert packs(home) == 1
    assert summaries(store, box, PACK_UIDS + 9) == rows
    assert [uid for uid, _ in rows] == list(range(1, PACK_UIDS + 4))
    assert b"sujet 7" in Summary.from_bytes(rows[7][1]).envelope
    store.write(lambda w: w.drop_packs()).result()
    assert summaries(store, box, PACK_UIDS + 9) == rows


def held(home: Path) -> list[int]:
    """How many summaries each pack has."""
    db = behind(home)
    try:
        return [row[0] for row in db.execute("SELECT count FROM packs")]
    finally:
        db.close()


def test_the_newest_messages_are_packed_as_they_are_read(
    store: Store, zoe: Bal, home: Path
) -> None:
    box = inbox(store, zoe)
    read: list[int] = []
    for more in (NEW_FROM - 1, 1, NEW_FROM - 1, 1, PACK_UIDS):
        fill(store, box, more)
        count = sum(read[-1:]) + more
        read.append(count)
        packed_before = held(home)
        rows = summaries(store, box, count)
        store.settle()
        assert [uid for uid, _ in rows] == list(range(1, count + 1))
        assert summaries(store, box, count) == rows, "half of a pack, half of rows"
        if count == 2 * NEW_FROM - 1:
            assert packed_before == held(home) == [NEW_FROM], "few new ones make no new pack"
            assert store.check(deep=True).is_sound
            assert store.rebuild().all_identical
    assert held(home) == [PACK_UIDS - 1, 2 * NEW_FROM + 1], "no message has UID 0"
    store.write(lambda w: w.drop_packs()).result()
    assert summaries(store, box, count) == rows


def test_a_pack_of_the_newest_is_not_kept_once_one_of_them_is_gone(
    store: Store, zoe: Bal, home: Path
) -> None:
    box = inbox(store, zoe)
    fill(store, box, NEW_FROM)
    summaries(store, box, NEW_FROM)
    store.settle()
    db = behind(home)
    sealed = bytes(db.execute("SELECT sealed FROM packs").fetchone()[0])
    db.close()
    store.write(lambda w: w.store_flags(box, [Uid(5)], "+", frozenset({"\\Deleted"}))).result()
    store.write(lambda w: w.expunge(box)).result()
    assert held(home) == []
    store.write(lambda w: w.keep_pack(box, Uid(NEW_FROM), NEW_FROM, sealed)).result()
    assert held(home) == []


def test_expunge_drops_the_pack_that_held_the_message(store: Store, zoe: Bal, home: Path) -> None:
    box = inbox(store, zoe)
    fill(store, box, PACK_UIDS)
    rows = summaries(store, box, PACK_UIDS)
    store.settle()
    assert packs(home) == 1
    store.write(lambda w: w.store_flags(box, [Uid(5)], "+", frozenset({"\\Deleted"}))).result()
    left = store.write(lambda w: (w.expunge(box), w.drop_packs())[1]).result()
    assert left == 0, "dropped in the same commit"
    assert summaries(store, box, PACK_UIDS) == [row for row in rows if row[0] != 5]


def test_a_damaged_pack_or_summary_is_computed_again(store: Store, zoe: Bal, home: Path) -> None:
    box = inbox(store, zoe)
    fill(store, box, PACK_UIDS)
    rows = summaries(store, box, PACK_UIDS)
    store.settle()
    db = behind(home)
    db.execute("UPDATE packs SET sealed = zeroblob(100)")
    saved = db.execute("SELECT blob, summary FROM blob_keys WHERE blob = 3").fetchone()
    db.execute("UPDATE blob_keys SET summary = zeroblob(100) WHERE blob = 3")
    assert summaries(store, box, PACK_UIDS) == rows
    store.settle()
    data = db.execute("SELECT data FROM blobs WHERE number = 3").fetchone()[0]
    db.execute("UPDATE blobs SET data = zeroblob(10) WHERE number = 3")
    db.execute("UPDATE packs SET sealed = zeroblob(100)")
    stubbed = summaries(store, box, PACK_UIDS)
    assert stubbed[2] == (3, b"")
    assert stubbed[:2] + stubbed[3:] == rows[:2] + rows[3:]
    db.execute("UPDATE blobs SET data = ? WHERE number = 3", (data,))
    db.execute("UPDATE blob_keys SET summary = ? WHERE blob = 3", (saved[1],))
    db.execute("DELETE FROM packs")
    db.close()

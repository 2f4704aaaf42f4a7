"""Rebuilding: packs and summaries are what the messages say, octet for octet (D6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.mail import Bal, MailboxId, Uid
from mssmtp.message.readable import Needle
from mssmtp.storage import Store, rebuilding
from mssmtp.storage.messages import PACK_UIDS, TEXT_UIDS
from mssmtp.storage.textsealing import TextKind
from mssmtp.storage.textspans import Span
from tests.corpus import cpython_messages
from tests.storage.support import SteppingClock, behind, inbox, message

Answers = tuple[object, ...]


def fill(store: Store, mailbox: MailboxId, count: int) -> None:
    ugly = [octets for _, octets in cpython_messages()]
    letters = [
        ugly[number] if number < len(ugly) else message(f"sujet {number}", b"mot %d\r\n" % number)
        for number in range(count)
    ]
    when = SteppingClock().now()
    for start in range(0, count, 500):
        sealed = [store.seal(octets) for octets in letters[start : start + 500]]

        def job(writing: object, sealed: list[object] = sealed) -> None:  # type: ignore[assignment]
            for letter in sealed:
                writing.append(mailbox, letter, frozenset(), when)  # type: ignore[attr-defined]

        store.write(job).result()
    store.settle()


def answers(store: Store, mailbox: MailboxId, count: int) -> Answers:
    """All that FETCH and SEARCH answer from, and the plain content of every pack."""
    uids = [Uid(uid) for uid in range(1, count + 1)]

    def job(reading: object) -> Answers:
        r = reading
        found = [
            step.found
            for kind in TextKind
            for step in r.find_texts(mailbox, kind, [Needle(b"mot 1"), Needle(b"a")], uids)  # type: ignore[attr-defined]
        ]
        whole = Span(0, count)
        texts = [r.open_texts(mailbox, kind, whole) for kind in TextKind]  # type: ignore[attr-defined]
        return list(r.summaries(mailbox, uids)), found, texts  # type: ignore[attr-defined]

    return store.read(job).result()


def test_a_rebuild_of_2000_messages_is_byte_identical(store: Store, zoe: Bal, engine: str) -> None:
    box, count = inbox(store, zoe), 2_000 if engine == "sqlite" else PACK_UIDS + 100
    fill(store, box, count)
    before = answers(store, box, count)
    report = store.rebuild()
    assert report.all_identical
    assert (report.messages, report.summaries.identical) == (count, count)
    assert report.packs.total == report.packs.identical == count // PACK_UIDS + 1
    assert report.texts.total == report.texts.identical == 2 * ((count + 1) // TEXT_UIDS)
    assert answers(store, box, count) == before

    store.write(lambda w: (w.drop_packs(), w.drop_texts())).result()
    report = store.rebuild()
    assert report.packs.missing == (count + 1) // PACK_UIDS
    assert report.texts.missing == 2 * ((count + 1) // TEXT_UIDS)
    assert answers(store, box, count) == before


def test_what_was_damaged_or_other_is_replaced_and_told(store: Store, zoe: Bal, home: Path) -> None:
    box, count = inbox(store, zoe), PACK_UIDS + 5
    fill(store, box, count)
    before = answers(store, box, count)
    db = behind(home)
    db.execute("UPDATE blob_keys SET summary = zeroblob(80) WHERE blob = 7")
    db.execute("UPDATE packs SET sealed = zeroblob(80)")
    db.execute("UPDATE texts SET sealed = zeroblob(80) WHERE kind = 1 AND first = 128")
    db.close()
    report = store.rebuild()
    assert not report.all_identical
    assert (report.summaries.changed, report.packs.changed) == (1, 1)
    assert (report.texts.changed, report.texts.missing) == (1, 0)
    assert answers(store, box, count) == before
    assert store.rebuild().all_identical


def test_a_message_that_cannot_be_read_is_told_and_keeps_its_summary(
    store: Store, zoe: Bal, home: Path
) -> None:
    box = inbox(store, zoe)
    fill(store, box, 150)
    db = behind(home)
    data = db.execute("SELECT data FROM blobs WHERE number = 100").fetchone()[0]
    db.execute("UPDATE blobs SET data = zeroblob(10) WHERE number = 100")
    before = store.read(lambda r: list(r.summaries(box, [Uid(100)]))).result()
    report = store.rebuild()
    assert report.damaged == [f"mailbox {box}, UID 100"]
    assert store.read(lambda r: list(r.summaries(box, [Uid(100)]))).result() == before
    db.execute("UPDATE blobs SET data = ? WHERE number = 100", (data,))
    db.close()
    assert store.rebuild().damaged == []


class Stopped(Exception):
    """As a kill would."""


def test_a_stopped_rebuild_goes_on_where_it_was(
    store: Store, zoe: Bal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "WINDOWS_BETWEEN_PLACES", 1)
    box = inbox(store, zoe)
    count = PACK_UIDS + 10
    fill(store, box, count)

    def stop(done: int, total: int) -> None:
        if done == count:
            raise Stopped

    with pytest.raises(Stopped):
        store.rebuild(stop)
    told: list[tuple[int, int]] = []
    report = store.rebuild(lambda done, total: told.append((done, total)))
    assert report.resumed
    assert report.messages == 11, "the window at hand, whose first UID is 512"
    assert told[-1] == (count, count)
    again = store.rebuild()
    assert (again.resumed, again.messages) == (False, count)


def test_messages_that_go_while_a_rebuild_runs_are_no_trouble(
    store: Store, zoe: Bal, home: Path
) -> None:
    box = inbox(store, zoe)
    fill(store, box, PACK_UIDS + 200)

    def interfere(done: int, total: int) -> None:
        uids = [Uid(uid) for uid in range(PACK_UIDS - 10, PACK_UIDS + 140)]
        store.write(lambda w: w.store_flags(box, uids, "+", frozenset({"\\Deleted"}))).result()
        store.write(lambda w: w.expunge(box)).result()

    store.write(lambda w: (w.drop_packs(), w.drop_texts())).result()
    report = store.rebuild(interfere)
    assert report.damaged == []
    store.settle()
    assert store.rebuild().all_identical

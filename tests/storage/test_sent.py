"""One copy in Sent, on both engines: side by side, cut short, full (CL-80, F8)."""

from __future__ import annotations

import random
import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Address, Bal, Envelope, Recipient, Uid
from mssmtp.outside import SystemEntropy
from mssmtp.storage import (
    PATIENT,
    Letter,
    LocalDelivery,
    Mailbox,
    Reading,
    Receipt,
    Store,
    Writing,
    by_message_id,
    database,
    postgres,
)
from tests.schema_once import MIGRATIONS
from tests.storage.support import (
    SUBMITTED,
    TRANSFER,
    SteppingClock,
    add_bal,
    behind,
    open_new,
    reopen,
    settings,
    tables_of_0010,
)

TO = Recipient(Address.parse("marius@cabinet-b.test"))
AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SEEN = frozenset({"\\Seen"})


def letter(number: int, size: int = 100, more: bytes = b"") -> bytes:
    """Of so many octets that do not compress."""
    body = random.Random(number).randbytes(size * 3 // 4)  # noqa: S311 - the same each time
    head = b"Message-ID: <%d@hopital-a.test>\r\nSubject: x\r\n%b\r\n" % (number, more)
    return head + b64encode(body) + b"\r\n"


def submitting(store: Store, zoe: Bal, octets: bytes) -> Callable[[Writing], object]:
    """The job of the submission door."""
    sealed = store.seal(b"Return-Path: <zoe@hopital-a.test>\r\n" + octets, may_be_sent=True)
    envelope = Envelope(store.new_envelope_id(), zoe.address, (TO,), AT)

    def job(writing: Writing) -> object:
        writing.accept(
            envelope,
            sealed,
            local=[],
            queued=[TO],
            skip=35,
            owner=zoe.id,
            transfer=SUBMITTED,
            facts=b"{}",
        )
        return writing.file_sent(zoe.id, sealed, envelope, SEEN)

    return job


def filing(store: Store, zoe: Bal, octets: bytes) -> Callable[[Writing], tuple[Uid, bool]]:
    """The job of an APPEND."""
    sealed = store.seal(octets, may_be_sent=True)
    return lambda writing: writing.append_sent(sent(writing, zoe), sealed, SEEN, AT)


def sent(writing: Writing, zoe: Bal) -> Mailbox:
    found = writing.mailbox(zoe.id, "Sent")
    assert found is not None
    return found


def count(store: Store, zoe: Bal) -> int:
    found = store.read(lambda r: r.mailbox(zoe.id, "Sent")).result()
    assert found is not None
    return found.messages


@pytest.mark.requirement("CL-80")
@pytest.mark.parametrize("size", [100, 600_000])
def test_all_four_combinations_leave_one_copy(store: Store, zoe: Bal, size: int) -> None:
    server_only, client_only, client_last, client_first = (letter(n, size) for n in range(4))
    store.write(submitting(store, zoe, server_only)).result()
    store.write(filing(store, zoe, client_only)).result()
    store.write(submitting(store, zoe, client_last)).result()
    uid, is_new = store.write(filing(store, zoe, client_last)).result()
    assert (uid, is_new) == (3, False)
    uid, is_new = store.write(filing(store, zoe, client_first)).result()
    assert (uid, is_new) == (4, True)
    store.write(submitting(store, zoe, client_first)).result()
    assert count(store, zoe) == 4


@pytest.mark.requirement("SEED-79")
def test_att_44_a_letter_under_a_borrowed_name_takes_no_outcome_away(
    store: Store, zoe: Bal
) -> None:
    """Whoever may file into Sent of a shared box knows the Message-IDs that stand there."""
    true, false = letter(1), letter(2).replace(b"<2@", b"<1@")
    store.write(submitting(store, zoe, true)).result()
    store.write(filing(store, zoe, false)).result()
    told = Receipt("lu", "displayed", "", TO.address)
    name = by_message_id("<1@hopital-a.test>")
    report = store.new_envelope_id()
    store.write(lambda w: w.receive(zoe.id, [name], [told], lambda _: True, report)).result()
    mailbox = store.write(lambda w: sent(w, zoe)).result()
    rows = store.read(lambda r: r.messages(mailbox.id)).result()
    assert ["$MSSRead" in row.flags for row in rows] == [True, False]


@pytest.mark.requirement("CL-80")
def test_both_sides_in_one_group_commit_are_one_message(store: Store, zoe: Bal) -> None:
    jobs: list[Callable[[Writing], object]] = []
    for number in range(10):
        both = submitting(store, zoe, letter(number)), filing(store, zoe, letter(number))
        jobs += both if number % 2 else both[::-1]
    for future in [store.write(job) for job in jobs]:
        future.result()
    assert count(store, zoe) == 10


@pytest.mark.requirement("CL-80")
def test_two_processes_at_once_leave_one_copy_of_each(
    home: Path, store: Store, clock: SteppingClock, zoe: Bal
) -> None:
    other = Store(settings(home), clock, SystemEntropy(), worker="other")
    meet = threading.Barrier(2)

    def play(mine: Store, make: Callable[[Store, Bal, bytes], Callable[[Writing], object]]) -> None:
        for number in range(15):
            job = make(mine, zoe, letter(number))
            meet.wait(20)
            mine.write(job).result()

    threads = [
        threading.Thread(target=play, args=(store, submitting)),
        threading.Thread(target=play, args=(other, filing)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert count(store, zoe) == 15


class Cut(Exception):
    """What a job dies of."""


@pytest.mark.requirement("CL-80")
def test_a_job_that_fails_leaves_neither_copy_nor_memory_of_it(store: Store, zoe: Bal) -> None:
    job = submitting(store, zoe, letter(1))

    def cut(writing: Writing) -> None:
        job(writing)
        raise Cut

    with pytest.raises(Cut):
        store.write(cut).result()
    assert count(store, zoe) == 0
    assert store.write(filing(store, zoe, letter(1))).result() == (1, True)


def test_what_was_not_stored_leaves_no_file(home: Path, store: Store, zoe: Bal) -> None:
    store.write(submitting(store, zoe, letter(1, 600_000))).result()
    sealed = store.seal(letter(1, 600_000), may_be_sent=True)
    assert not store.write(lambda w: w.append_sent(sent(w, zoe), sealed, SEEN, AT)).result()[1]
    store.discard(sealed)
    assert len([path for path in (home / "blobs").rglob("*") if path.is_file()]) == 1


def test_a_full_box_sends_all_the_same_and_joins_what_it_has(store: Store, zoe: Bal) -> None:
    store.write(filing(store, zoe, letter(1))).result()
    store.write(lambda w: w.set_quota(zoe.id, None, 1)).result()
    store.write(submitting(store, zoe, letter(1))).result()
    assert store.write(submitting(store, zoe, letter(2))).result() is None
    assert count(store, zoe) == 1
    assert len(store.read(lambda r: r.queue()).result()) == 2


def test_a_letter_to_oneself_is_in_both_mailboxes_and_one_content(store: Store, zoe: Bal) -> None:
    sealed = store.seal(letter(1), may_be_sent=True)
    own = Recipient(zoe.address)
    envelope = Envelope(store.new_envelope_id(), zoe.address, (own, TO), AT)

    def job(writing: Writing) -> None:
        writing.accept(
            envelope,
            sealed,
            local=[LocalDelivery(zoe.id, own)],
            queued=[TO],
            skip=0,
            owner=zoe.id,
            transfer=TRANSFER,
            facts=b"{}",
        )
        writing.file_sent(zoe.id, sealed, envelope, SEEN)

    store.write(job).result()
    assert count(store, zoe) == 1
    assert store.check().counted["blobs"] == 1


@pytest.mark.requirement("DEF-05")
def test_a_letter_is_not_refused_for_want_of_a_keyword(store: Store, zoe: Bal) -> None:
    """Whoever shares a box can use all 57; a patient's letter must still come in and go out."""
    used = frozenset(f"k{number}" for number in range(57))

    def use_all(writing: Writing) -> None:
        for name in ("INBOX", "Sent"):
            mailbox = writing.mailbox(zoe.id, name)
            assert mailbox is not None
            writing.append(mailbox.id, store.seal(letter(0)), used, AT)

    store.write(use_all).result()
    sealed = store.seal(letter(1), may_be_sent=True)
    own, marks = Recipient(zoe.address), frozenset({PATIENT, "\\Seen"})
    envelope = Envelope(store.new_envelope_id(), zoe.address, (own,), AT)

    def job(writing: Writing) -> None:
        writing.accept(
            envelope,
            sealed,
            local=[LocalDelivery(zoe.id, own, "INBOX", marks)],
            queued=[],
            skip=0,
            owner=zoe.id,
            transfer=TRANSFER,
            facts=b"{}",
        )
        writing.file_sent(zoe.id, sealed, envelope, marks)

    store.write(job).result()
    assert store.read(lambda r: last_flags(r, zoe, "INBOX")).result() == {"\\Seen"}
    assert store.read(lambda r: last_flags(r, zoe, "Sent")).result() == {"\\Seen"}


def last_flags(reading: Reading, zoe: Bal, name: str) -> frozenset[str]:
    mailbox = reading.mailbox(zoe.id, name)
    assert mailbox is not None
    return reading.messages(mailbox.id)[-1].flags


def test_who_may_remove_nothing_replaces_nothing(store: Store, zoe: Bal) -> None:
    store.write(submitting(store, zoe, letter(1))).result()
    sealed: Letter = store.seal(letter(1, more=b"Bcc: c@x.test\r\n"), may_be_sent=True)

    def job(writing: Writing) -> tuple[Uid, bool]:
        return writing.append_sent(sent(writing, zoe), sealed, SEEN, AT, may_replace=False)

    assert store.write(job).result() == (1, False)


def test_after_a_week_nothing_is_remembered(
    home: Path, store: Store, clock: SteppingClock, zoe: Bal
) -> None:
    store.write(submitting(store, zoe, letter(1))).result()
    clock.advance(timedelta(days=6))
    store.write(lambda w: w.prune(clock.now())).result()
    assert store.write(filing(store, zoe, letter(1))).result() == (1, False)
    clock.advance(timedelta(days=2))
    store.write(lambda w: w.prune(clock.now())).result()
    database = behind(home)
    assert database.execute("SELECT uid FROM sent_copies").fetchall() == []
    database.close()


@pytest.mark.requirement("CL-80")
@pytest.mark.requirement("OP-77")
def test_a_letter_is_joined_before_amid_and_after_a_new_key(store: Store, zoe: Bal) -> None:
    """Twice, so that the row a join has touched is renewed too."""
    for number, size in ((1, 100), (2, 100), (3, 40_000)):
        store.write(submitting(store, zoe, letter(number, size))).result()
    store.write(filing(store, zoe, letter(4))).result()
    assert store.rotate_owners(zoe.id).is_finished
    assert store.write(filing(store, zoe, letter(1))).result() == (1, False)
    (key,) = store.read(lambda r: r.owner_ids(zoe.id)).result()
    store.write(lambda w: w.begin_owners([key])).result()
    assert store.write(filing(store, zoe, letter(2))).result() == (2, False)
    store.write(submitting(store, zoe, letter(5))).result()
    assert store.rotate_owners(zoe.id).is_finished
    assert store.rotate_owners(zoe.id).is_finished
    assert store.write(filing(store, zoe, letter(3, 40_000))).result() == (3, False)
    store.write(submitting(store, zoe, letter(4))).result()
    assert store.write(filing(store, zoe, letter(5))).result() == (5, False)
    assert store.write(filing(store, zoe, letter(1))).result() == (6, True), "a second time"
    assert count(store, zoe) == 6


@pytest.mark.requirement("OP-77")
def test_copies_of_a_store_of_0010_are_joined_and_hold_up_no_new_key(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_new(home)
    zoe = add_bal(before)
    for number in range(3):
        before.write(submitting(before, zoe, letter(number))).result()
    before.close()
    for module in (database, postgres):
        monkeypatch.setattr(module, "run_migrations", MIGRATIONS)
    with closing(behind(home)) as db:
        tables_of_0010(db)
        db.execute("UPDATE alembic_version SET version_num = '0010'")
    with closing(reopen(home)) as store:
        assert store.write(filing(store, zoe, letter(0))).result() == (1, False)
        store.write(submitting(store, zoe, letter(3))).result()
        assert store.rotate_owners(zoe.id).is_finished
        assert store.write(filing(store, zoe, letter(3))).result() == (4, False)
        assert count(store, zoe) == 4
        assert store.check(deep=True).problems == ()


def test_the_box_says_whether_it_wants_a_copy(store: Store, zoe: Bal) -> None:
    assert zoe.keeps_sent
    store.write(lambda w: w.set_sent_copy(zoe.id, on=False)).result()
    assert not store.read(lambda r: r.bal(zoe.address)).result().keeps_sent  # type: ignore[union-attr]
    store.write(lambda w: w.set_sent_copy(zoe.id, on=True)).result()
    assert store.read(lambda r: r.bal(zoe.address)).result().keeps_sent  # type: ignore[union-attr]

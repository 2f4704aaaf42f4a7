"""A COPY of several commits is there whole or not at all, whoever dies (RFC 9051 6.4.7)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.errors import StorageFull, StorageUnavailable
from mssmtp.mail import Bal, MailboxId, ModSeq, Uid
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store, Writing, copying
from mssmtp.storage.copying import CopyId, undo_abandoned
from mssmtp.storage.quotas import OverQuota
from tests.storage.copiers import commit
from tests.storage.support import (
    SteppingClock,
    accept,
    add_bal,
    behind,
    inbox,
    message,
    open_new,
    reopen,
    settings,
    tables_of_0009,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def archive(store: Store, zoe: Bal) -> MailboxId:
    """Beside an INBOX with eight letters."""
    return filled(store, zoe)


def filled(store: Store, bal: Bal) -> MailboxId:
    for number in range(8):
        accept(store, store.seal(message(f"lettre {number}")), [bal])
    found = store.read(lambda r: r.mailbox(bal.id, "Archive")).result()
    assert found is not None
    return found.id


def begun(store: Store, bal: Bal, target: MailboxId, commits: int = 2) -> CopyId:
    """So many commits of two letters each are there, and more are to come."""
    copy = None
    for number in range(commits):
        uids = [Uid(2 * number + 1), Uid(2 * number + 2)]
        copy, _ = commit(store, inbox(store, bal), uids, target, copy)
    assert copy is not None
    return copy


def uids(store: Store, mailbox: MailboxId) -> list[Uid]:
    return store.read(lambda r: r.uids(mailbox)).result()


def left(store: Store) -> list[CopyId]:
    return store.read(lambda r: r.copies_left()).result()


def under_way(store: Store) -> int:
    return store.check().counted["copies under way"]


# ---------------------------------------------------------------- whole, or not at all


def test_a_copy_that_comes_to_its_end_leaves_nothing_behind(
    store: Store, zoe: Bal, archive: MailboxId, clock: SteppingClock
) -> None:
    copy = begun(store, zoe, archive)
    assert under_way(store) == 1
    store.write(lambda w: w.end_copy(copy)).result()
    clock.advance(timedelta(days=1))
    assert undo_abandoned(store) == 0
    assert uids(store, archive) == [1, 2, 3, 4]
    assert under_way(store) == 0


def test_a_copy_that_is_undone_has_burnt_its_uids_and_can_go_on_no_more(
    store: Store, zoe: Bal, archive: MailboxId
) -> None:
    copy = begun(store, zoe, archive)
    assert store.write(lambda w: w.undo_copy(copy)).result() is False
    assert uids(store, archive) == []
    assert store.read(lambda r: r.expunged_since(archive, ModSeq(0))).result() == [1, 2, 3, 4]
    some, source = [Uid(5), Uid(6)], inbox(store, zoe)
    with pytest.raises(StorageUnavailable):
        commit(store, source, some, archive, copy)

    def last(writing: Writing) -> None:
        writing.copy(source, some, archive)
        writing.end_copy(copy)

    with pytest.raises(StorageUnavailable):
        store.write(last).result()
    assert uids(store, archive) == []
    assert len(uids(store, source)) == 8
    whole = store.write(lambda w: w.copy(source, some, archive)).result()
    assert whole == [(5, 5), (6, 6)]


def test_who_undoes_takes_the_copy_from_who_makes_it_with_the_first_commit(
    store: Store, zoe: Bal, archive: MailboxId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "UNDONE_AT_ONCE", 3)
    copy = begun(store, zoe, archive)
    assert store.write(lambda w: w.undo_copy(copy)).result() is True
    assert len(uids(store, archive)) == 1
    with pytest.raises(StorageUnavailable):
        commit(store, inbox(store, zoe), [Uid(5)], archive, copy)
    assert left(store) == [copy]  # whoever undoes may die, too
    assert undo_abandoned(store) == 1
    assert uids(store, archive) == []


def test_letters_that_came_between_stay_and_those_taken_since_are_not_missed(
    store: Store, zoe: Bal, archive: MailboxId
) -> None:
    source = inbox(store, zoe)
    first, _ = commit(store, source, [Uid(1), Uid(2)], archive, None)
    letter = store.seal(message("entre deux"))
    now = SteppingClock().now()
    came = store.write(lambda w: w.append(archive, letter, frozenset(), now)).result()
    commit(store, source, [Uid(3), Uid(4)], archive, first)
    sent = store.read(lambda r: r.mailbox(zoe.id, "Sent")).result()
    assert sent is not None
    store.write(lambda w: w.move(archive, [Uid(1)], sent.id)).result()
    store.write(lambda w: w.discard(archive, [Uid(5)])).result()
    assert uids(store, archive) == [2, came, 4]
    while store.write(lambda w: w.undo_copy(first)).result():
        pass
    assert uids(store, archive) == [came]
    assert uids(store, sent.id) == [1]


def test_a_copy_into_another_box_gives_its_keys_back(store: Store, zoe: Bal) -> None:
    luc = add_bal(store, "luc@hopital-a.test")
    filled(store, zoe)
    target = inbox(store, luc)
    copy = begun(store, zoe, target)
    store.write(lambda w: w.undo_copy(copy)).result()
    assert uids(store, target) == []  # and `check` counts the references


def test_a_mailbox_that_is_gone_took_its_copy_along(
    store: Store, zoe: Bal, archive: MailboxId, clock: SteppingClock
) -> None:
    made = store.write(lambda w: w.create_mailbox(zoe.id, "Vieux")).result()
    begun(store, zoe, made.id)
    store.write(lambda w: w.delete_mailbox(zoe.id, "Vieux")).result()
    clock.advance(copying.LEASE)
    assert undo_abandoned(store) == 1
    assert under_way(store) == 0


# ---------------------------------------------------------------- who has died


@pytest.mark.timeout(60)
def test_a_worker_killed_between_two_commits_is_made_good_by_its_successor(home: Path) -> None:
    store = open_new(home)
    zoe = add_bal(store)
    target = filled(store, zoe)
    store.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.storage.copiers", str(home), "worker-1", "3"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert [process.stdout.readline() for _ in range(3)] == ["1 2\n", "3 4\n", "5 6\n"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()
    beside = Store(settings(home), SystemClock(), SystemEntropy(), worker="worker-2")
    assert undo_abandoned(beside) == 0, "as long as its lease runs it is the other's"
    assert uids(beside, target) == [1, 2, 3, 4, 5, 6]
    assert beside.write(lambda w: w.give_up_copies()).result() == 0
    successor = Store(settings(home), SystemClock(), SystemEntropy(), worker="worker-1")
    assert successor.write(lambda w: w.give_up_copies()).result() == 1
    assert undo_abandoned(beside) == 1
    assert uids(successor, target) == []
    again = successor.write(lambda w: w.copy(inbox(successor, zoe), [Uid(1)], target)).result()
    assert again == [(1, 7)]
    assert successor.check(deep=True).problems == ()
    for each in (beside, successor):
        each.close()


def test_a_worker_that_comes_back_too_late_finds_its_copy_undone(
    store: Store, zoe: Bal, archive: MailboxId, clock: SteppingClock
) -> None:
    copy = begun(store, zoe, archive)
    clock.advance(copying.LEASE - timedelta(seconds=1))
    assert undo_abandoned(store) == 0
    commit(store, inbox(store, zoe), [Uid(5)], archive, copy)  # and the lease is longer
    clock.advance(copying.LEASE - timedelta(seconds=1))
    assert undo_abandoned(store) == 0
    clock.advance(timedelta(seconds=1))
    assert undo_abandoned(store) == 1
    with pytest.raises(StorageUnavailable):
        commit(store, inbox(store, zoe), [Uid(6)], archive, copy)
    assert uids(store, archive) == []


def test_a_clock_that_was_put_back_leaves_no_copy_for_years(
    store: Store, zoe: Bal, archive: MailboxId, clock: SteppingClock
) -> None:
    begun(store, zoe, archive)
    clock.advance(-timedelta(days=365))
    assert undo_abandoned(store) == 1
    clock.advance(timedelta(days=365))
    assert uids(store, archive) == []


def test_one_that_cannot_be_undone_now_does_not_stand_before_the_others(
    store: Store,
    zoe: Bal,
    archive: MailboxId,
    clock: SteppingClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = store.read(lambda r: r.mailbox(zoe.id, "Sent")).result()
    assert sent is not None
    begun(store, zoe, archive)
    begun(store, zoe, sent.id)
    clock.advance(copying.LEASE)
    discard = Writing.discard

    def full(self: Writing, mailbox: MailboxId, named: list[Uid]) -> list[Uid]:
        if mailbox == archive:
            raise StorageFull
        return discard(self, mailbox, named)

    with monkeypatch.context() as patch:
        patch.setattr(Writing, "discard", full)
        assert undo_abandoned(store) == 1
    assert uids(store, sent.id) == []
    assert uids(store, archive) == [1, 2, 3, 4]
    assert undo_abandoned(store) == 1
    assert uids(store, archive) == []


# ---------------------------------------------------------------- room, versions


def test_room_is_asked_for_all_of_it_before_anything_is_copied(store: Store, zoe: Bal) -> None:
    filled(store, zoe)
    source = inbox(store, zoe)
    named = uids(store, source)
    size = sum(row.size_octets for row in store.read(lambda r: r.messages(source)).result())
    store.write(lambda w: w.set_quota(zoe.id, 2 * size, 0)).result()
    store.read(lambda r: r.demand_room_for(source, named, zoe.id)).result()
    store.write(lambda w: w.set_quota(zoe.id, 2 * size - 1, 0)).result()
    with pytest.raises(OverQuota):
        store.read(lambda r: r.demand_room_for(source, named, zoe.id)).result()
    store.read(lambda r: r.demand_room_for(source, named[1:], zoe.id)).result()
    store.write(lambda w: w.set_quota(zoe.id, 0, 15)).result()
    with pytest.raises(OverQuota):
        store.read(lambda r: r.demand_room_for(source, named, zoe.id)).result()


def test_a_store_of_the_version_before_learns_to_copy_in_batches(home: Path) -> None:
    with closing(open_new(home)) as store:
        zoe = add_bal(store)
        target = filled(store, zoe)
    with closing(behind(home)) as db:
        db.execute("DROP TABLE copying")
        tables_of_0009(db)
        db.execute("UPDATE alembic_version SET version_num = '0008'")
    with closing(reopen(home)) as store:
        begun(store, zoe, target)
        assert uids(store, target) == [1, 2, 3, 4]
        assert store.check(deep=True).problems == ()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE copying SET uids = '1:9999'", "a UID is not one of its mailbox"),
        ("UPDATE copying SET uids = '3:1'", "a UID is not one of its mailbox"),
        ("UPDATE copying SET uids = 'abc'", "its UIDs cannot be read"),
    ],
)
def test_a_check_looks_at_what_is_under_way(home: Path, statement: str, problem: str) -> None:
    with closing(open_new(home)) as store:
        zoe = add_bal(store)
        begun(store, zoe, filled(store, zoe))
        assert store.check().problems == ()
    with closing(behind(home)) as db:
        assert db.execute(statement).rowcount == 1
    with closing(reopen(home)) as store:
        assert problem in "\n".join(store.check().problems)

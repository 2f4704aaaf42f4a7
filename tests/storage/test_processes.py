"""Several processes on one home: one order of commits, everybody is told."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mssmtp.mail import Bal, Change, ChangeKind
from mssmtp.storage import Outcome, Reading, Store, Writing, changes
from mssmtp.storage.changes import _ALL_MAILBOXES, _FORGET, _LAST, Bell, Follower
from mssmtp.storage.engine import Rung
from tests.storage.support import (
    TRANSFER,
    SteppingClock,
    accept,
    add_bal,
    inbox,
    message,
    recipients,
    reopen,
)
from tests.storage.test_committer import Failing
from tests.storage.test_crash import subjects, writer


def test_processes_write_side_by_side_without_repeating_a_uid(store: Store, home: Path) -> None:
    bal = add_bal(store)
    processes = [writer(home, 60, "small") for _ in range(2)]
    for _ in range(60):
        accept(store, store.seal(message("own")), [bal])
    acknowledged = []
    for process in processes:
        out, _ = process.communicate(timeout=50)
        assert process.returncode == 0
        acknowledged += [line.split() for line in out.splitlines()[1:]]
    stored = subjects(store, bal)
    assert sorted(stored) == list(range(1, 181))
    assert {int(uid): subject for uid, subject in acknowledged}.items() <= stored.items()


class Ear:
    """Collects changes and says that they came."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.heard = threading.Event()

    def __call__(self, changes: tuple[Change, ...]) -> None:
        self.changes += changes
        self.heard.set()


def test_a_commit_wakes_every_opener_without_a_look_of_its_own(
    store: Store, zoe: Bal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "POLL_S", 3_600.0)
    one, other = reopen(home), reopen(home)
    ears = [Ear(), Ear()]
    stops = [one.subscribe(ears[0]), other.subscribe(ears[1])]
    for _ in range(5):
        for ear in ears:
            ear.heard.clear()
        accept(one, one.seal(message()), [zoe])
        for ear in ears:
            assert ear.heard.wait(20)
    box = inbox(store, zoe)
    for ear in ears:
        assert [change.kind for change in ear.changes] == [ChangeKind.MAIL] * 5
        assert {(change.bal, change.mailbox) for change in ear.changes} == {(zoe.id, box)}
        assert [change.modseq for change in ear.changes] == [2, 3, 4, 5, 6]
    for stop in stops:
        stop()
    accept(store, store.seal(message()), [zoe])
    one.close()
    other.close()
    assert len(ears[0].changes) == 5


def test_a_lost_datagram_is_made_good(
    store: Store, zoe: Bal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Ear()
    store.subscribe(ear)
    monkeypatch.setattr(Bell, "ring", lambda self, rung: None)
    accept(store, store.seal(message()), [zoe])
    assert ear.heard.wait(30)


def test_who_begins_to_listen_is_rung_for_at_once(
    store: Store, zoe: Bal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names in the directory are remembered, and looked at again when it has changed."""
    monkeypatch.setattr(changes, "POLL_S", 60.0)
    first = Ear()
    stops = [store.subscribe(first)]
    others: list[Store] = []
    for _ in range(3):
        accept(store, store.seal(message()), [zoe])
        assert first.heard.wait(5)
        others.append(reopen(home))
        ear = Ear()
        stops.append(others[-1].subscribe(ear))
        first.heard.clear()
        accept(store, store.seal(message()), [zoe])
        assert ear.heard.wait(5)
    for stop in stops:
        stop()
    for other in others:
        other.close()


def test_who_begins_to_listen_is_rung_for_where_directories_have_whole_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems keep no finer times: one who binds within the second changes nothing that
    can be seen, and would be awake by the look of every second alone until another comes."""
    second_ns = 1_700_000_000_000_000_000
    clocks = SimpleNamespace(time_ns=lambda: second_ns + 500_000_000)
    monkeypatch.setattr(changes, "time", clocks)
    bell = Bell(tmp_path)
    ears = []
    for token in ("first", "second"):
        ears.append(changes.Ear(tmp_path, token))
        os.utime(tmp_path, ns=(second_ns, second_ns))
        bell.ring(Rung.CHANGES)
        assert [ear.wait(0) for ear in ears] == [Rung.CHANGES] * len(ears)
    for ear in ears:
        ear.close()
    bell.close()


def test_mail_that_comes_rings_no_bell_of_the_queue(store: Store, zoe: Bal) -> None:
    told: list[int] = []
    rung = threading.Event()

    def listener(found: tuple[Change, ...]) -> None:
        told.append(len(found))
        rung.set()

    store.subscribe(listener)
    for _ in range(3):
        rung.clear()
        accept(store, store.seal(message()), [zoe])
        assert rung.wait(5)
    assert told == [1, 1, 1]
    rung.clear()
    accept(store, store.seal(message()), [], recipients("a@c.test"), owner=zoe.id)
    assert rung.wait(5)
    assert told[3:] == [0]


def test_commits_close_together_are_looked_at_later_while_nobody_hurries(
    store: Store, zoe: Bal, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(changes, "TOGETHER_S", 50.0)
    monkeypatch.setattr(changes, "UNHURRIED_S", 60.0)
    clocks = SimpleNamespace(monotonic=time.monotonic, time_ns=time.time_ns, sleep=slept.append)
    monkeypatch.setattr(changes, "time", clocks)
    ear = Ear()
    hurried: list[bool] = []
    store.subscribe(ear, lambda: bool(hurried))
    for _ in range(3):
        ear.heard.clear()
        accept(store, store.seal(message()), [zoe])
        assert ear.heard.wait(5)
        if len(slept) == 1:
            hurried.append(True)
    assert slept == [60.0, 50.0]
    assert len(ear.changes) == 3


def test_a_failing_listener_silences_nobody(store: Store, zoe: Bal) -> None:
    def broken(changes: tuple[Change, ...]) -> None:
        raise RuntimeError("session bug")

    ear = Ear()
    store.subscribe(broken)
    store.subscribe(ear)
    accept(store, store.seal(message()), [zoe])
    assert ear.heard.wait(30)


def test_what_becomes_due_in_the_queue_wakes_every_process(
    store: Store, zoe: Bal, home: Path, clock: SteppingClock
) -> None:
    other = reopen(home)
    ear = Ear()
    stop = other.subscribe(ear)
    envelope, _ = accept(store, store.seal(message()), [], recipients("a@c.test"), owner=zoe.id)

    def told(job: Callable[[Writing], object]) -> bool:
        ear.heard.clear()
        store.write(job).result()
        return ear.heard.wait(30)

    try:
        assert ear.heard.wait(30)
        now = clock.now()
        store.write(lambda w: w.lease(now, 1, "w1")).result()
        assert told(lambda w: w.release("w1"))
        later = now + timedelta(minutes=5)
        outcome = Outcome(envelope, recipients("a@c.test")[0], "retry", "451", later)
        store.write(lambda w: w.record([outcome], TRANSFER)).result()
        assert told(lambda w: w.retry_now(envelope, now))
        assert ear.changes == []
    finally:
        stop()
        other.close()


def test_a_reading_sees_one_state_whatever_is_committed_meanwhile(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    accept(store, store.seal(message()), [zoe])
    looked, committed = threading.Event(), threading.Event()

    def twice(r: Reading) -> tuple[int, int, int]:
        before = len(r.messages(box))
        looked.set()
        assert committed.wait(30)
        found = r.mailbox_by_id(box)
        assert found is not None
        return before, len(r.messages(box)), found.messages

    reading = store.read(twice)
    assert looked.wait(30)
    accept(store, store.seal(message()), [zoe])
    committed.set()
    assert reading.result(30) == (1, 1, 1)
    assert len(store.read(lambda r: r.messages(box)).result()) == 2


def test_changes_that_cannot_be_read_once_are_read_the_next_time(store: Store, zoe: Bal) -> None:
    """After a long sleep the follower asks for all mailboxes; when that fails, it still sleeps."""
    for _ in range(3):
        accept(store, store.seal(message()), [zoe])
    last = store.read(lambda r: int(r._all(_LAST)[0][0])).result()
    store.write(lambda w: w._run(_FORGET, last=last - 1)).result()
    good = store._engine.connect(writing=False)
    follower: Any = Follower.__new__(Follower)
    follower._db, follower._last = Failing(good, _ALL_MAILBOXES), 1
    with pytest.raises(OSError, match="Input/output"):
        follower._new_changes()
    follower._db = good
    assert inbox(store, zoe) in {change.mailbox for change in follower._new_changes()}
    assert follower._new_changes() == ()
    good.close()

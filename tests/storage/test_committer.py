"""The committer's thread outlives what goes wrong around a commit: every job gets its answer."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mssmtp import metrics
from mssmtp.errors import StorageUnavailable
from mssmtp.mail import Bal, Envelope, Recipient
from mssmtp.storage import Letter, LocalDelivery, Store
from mssmtp.storage import committer as committing
from mssmtp.storage.committer import home_lock
from tests.storage.support import (
    CABINET,
    SENDER,
    SKIP,
    TRANSFER,
    accept,
    inbox,
    message,
    open_new,
    recipients,
)

AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Failing:
    """A connection on which `statement` fails once."""

    def __init__(self, db: Any, statement: str) -> None:
        self._db, self._statement = db, statement

    def execute(self, statement: str, *values: object) -> Any:
        if statement == self._statement:
            self._statement = ""
            raise OSError(5, "Input/output error")
        return self._db.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


@pytest.mark.parametrize("statement", ["ROLLBACK TO job", "COMMIT", "BEGIN IMMEDIATE"])
def test_a_disk_that_fails_once_costs_one_batch(store: Store, zoe: Bal, statement: str) -> None:
    committer: Any = store._committer
    good = committer._db

    def fails(writing: object) -> None:
        raise LookupError

    committer._db = Failing(good, statement)
    with pytest.raises((StorageUnavailable, LookupError)):
        store.write(fails if "job" in statement else lambda w: None).result(30)
    committer._db = good
    accept(store, store.seal(message()), [zoe])


def test_a_rollback_that_fails_does_not_refuse_everything_from_then_on(
    store: Store, zoe: Bal
) -> None:
    committer: Any = store._committer
    good = committer._db
    committer._db = Failing(Failing(good, "COMMIT"), "ROLLBACK")
    with pytest.raises(StorageUnavailable):
        store.write(lambda w: None).result(30)
    committer._db = good
    assert good.in_transaction
    accept(store, store.seal(message()), [zoe])


def test_a_refusal_is_told_after_the_commit_of_what_it_is_about(store: Store, zoe: Bal) -> None:
    """A second CREATE of one batch must not hear of the first while nobody else can see that."""
    committer: Any = store._committer
    good = committer._db
    busy, go = threading.Event(), threading.Event()

    def blocking(writing: object) -> None:
        busy.set()
        go.wait(30)

    blocked = store.write(blocking)
    busy.wait(30)
    made = store.write(lambda w: w.create_mailbox(zoe.id, "Suivi"))
    again = store.write(lambda w: w.create_mailbox(zoe.id, "Suivi"))
    committer._db = Failing(good, "COMMIT")  # of the batch after the one under way
    go.set()
    blocked.result(30)
    for refused in (made, again):  # not MailboxExists: there is none
        with pytest.raises(StorageUnavailable):
            refused.result(30)
    committer._db = good
    assert store.read(lambda r: r.mailbox(zoe.id, "Suivi")).result() is None


def test_what_is_committed_is_answered_whatever_happens_next(
    store: Store, zoe: Bal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(value: float) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(metrics.commit_jobs, "observe", broken)
        assert store.write(lambda w: 7).result(30) == 7
    accept(store, store.seal(message()), [zoe])


def test_a_job_that_comes_while_the_store_closes_is_answered(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_new(home)
    closer = threading.Thread(target=store.close)
    waiting = store._committer._queue

    class Overtaken:
        def put(self, job: Any) -> None:
            if job is not None:
                closer.start()
                closer.join(0.3)  # as long as it could take to close before the job is queued
            waiting.put(job)

        def __getattr__(self, name: str) -> object:
            return getattr(waiting, name)

    monkeypatch.setattr(store._committer, "_queue", Overtaken())
    try:
        assert store.write(lambda w: 7).result(30) == 7
    finally:
        closer.join(30)


def test_a_row_the_engine_refuses_costs_its_job_only(store: Store, zoe: Bal) -> None:
    """Rows of a group are written together: the others are written again, each by itself."""
    letters = [store.seal(message(f"lettre {number}")) for number in range(3)]
    first, _ = accept(store, letters[0], [zoe])
    envelope = Envelope(first, SENDER, recipients("zoe@hopital-a.test"), AT)
    doubled: list[Future[Any]] = []
    hold, held = threading.Event(), threading.Event()

    def holding(writing: object) -> None:
        held.set()
        hold.wait(30)

    holder = store.write(holding)
    assert held.wait(30)
    for identifier, letter in ((store.new_envelope_id(), letters[1]), (first, letters[2])):
        doubled.append(_accepted(store, replace(envelope, id=identifier), letter, zoe))
    hold.set()
    holder.result(30)
    assert len(doubled[0].result(30).stored) == 1
    with pytest.raises(Exception, match="(?i)unique"):  # of either engine
        doubled[1].result(30)
    store.discard(letters[2])
    rows = store.read(lambda r: r.messages(inbox(store, zoe))).result(30)
    assert [row.uid for row in rows] == [1, 2], "the refused one has left no UID behind"


def _accepted(store: Store, envelope: Envelope, letter: Letter, bal: Bal) -> Future[Any]:
    local = [LocalDelivery(bal.id, Recipient(bal.address))]
    return store.write(
        lambda w: w.accept(
            envelope,
            letter,
            local=local,
            queued=(),
            skip=SKIP,
            owner=CABINET,
            transfer=TRANSFER,
            facts=b"{}",
        )
    )


def test_a_group_waits_for_the_letters_that_are_coming_and_no_longer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "HOLD_S", 30.0)
    committer: Any = store._committer
    with store.coming(), store.coming():
        before = committer._commits
        first = store.write(lambda w: None)
        second = store.write(lambda w: None)
        first.result(10)
        second.result(10)
        assert committer._commits == before + 1
    with store.coming():
        store.write(lambda w: None).result(10)  # it is the one that was coming


def test_what_has_come_while_another_process_had_its_turn_joins_the_group(store: Store) -> None:
    committer: Any = store._committer
    before = committer._commits
    with home_lock(store._home):
        waiting = [store.write(lambda w: None) for _ in range(5)]
    for each in waiting:
        each.result(10)
    assert committer._commits == before + 1


def test_a_group_that_waits_is_ended_by_the_end_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "HOLD_S", 30.0)
    store = open_new(tmp_path / "held")
    with store.coming(), store.coming():
        waiting = store.write(lambda w: None)
        store.close()
    waiting.result(0)

"""Whatever the store waits for, its answer comes in time, and it serves again by itself (CL-79)."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from mssmtp.errors import ConfigError, StorageUnavailable
from mssmtp.mail import Bal
from mssmtp.storage import Store, deadlines
from mssmtp.storage.postgres_connection import COMMIT_LOCK
from tests.storage.support import (
    accept,
    add_bal,
    behind,
    database_file,
    inbox,
    message,
    open_new,
    reopen,
)

SOON_S = 0.4
pytestmark = pytest.mark.requirement("CL-79")


@contextmanager
def impatient(store: Store) -> Iterator[None]:
    """What is asked of `store` meanwhile is answered within SOON_S."""
    usual_s, store._deadlines.within_s = store._deadlines.within_s, SOON_S
    try:
        yield
    finally:
        store._deadlines.within_s = usual_s


@contextmanager
def held(home: Path) -> Iterator[None]:
    """The commit lock in the hands of somebody who does not move on."""
    with (home / "commit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def turn_held(home: Path) -> AbstractContextManager[None]:
    """The turn to commit; PostgreSQL keeps that queue itself, and needs the file to open alone."""
    return writing_held(home) if database_file(home).exists() else held(home)


class Gate:
    """A connection whose COMMIT waits, as on a disk that does not answer."""

    def __init__(self, real: object) -> None:
        self.real = real
        self.reached, self.go = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def execute(self, statement: str, *values: object) -> object:
        if statement == "COMMIT":
            self.reached.set()
            assert self.go.wait(15)
        return self.real.execute(statement, *values)  # type: ignore[attr-defined]


def test_a_job_behind_a_held_lock_is_refused_and_never_runs(
    home: Path, store: Store, zoe: Bal
) -> None:
    ran: list[str] = []
    with turn_held(home):
        with impatient(store):
            refused = [store.write(lambda w: ran.append("late")) for _ in range(3)]
            for job in refused:
                assert isinstance(job.exception(15), StorageUnavailable)
        assert len(store.read(lambda r: r.mailboxes(zoe.id)).result()) > 1
    store.write(lambda w: ran.append("next")).result()
    assert ran == ["next"]


def test_a_letter_given_up_behind_a_held_lock_leaves_nothing(
    home: Path, store: Store, zoe: Bal
) -> None:
    letter = store.seal(message(body=b"x" * 200_000))
    with turn_held(home), impatient(store), pytest.raises(StorageUnavailable):
        accept(store, letter, [zoe])
    store.discard(letter)
    store.write(lambda w: None).result()
    assert not list((home / "blobs").glob("*/*"))
    accept(store, store.seal(message()), [zoe])
    assert uids(store, zoe) == [1]


def uids(store: Store, bal: Bal) -> list[int]:
    box = inbox(store, bal)
    return [int(row.uid) for row in store.read(lambda r: r.messages(box)).result()]


def test_a_commit_that_does_not_end_is_a_temporary_failure(store: Store, zoe: Bal) -> None:
    committer = store._committer
    gate = Gate(committer._db)
    committer._db = gate  # type: ignore[assignment]
    letter = store.seal(message(body=b"x" * 200_000))
    with impatient(store), pytest.raises(StorageUnavailable):
        accept(store, letter, [zoe])
    # The door forgets the letter; the commit is still under way, and its outcome not known.
    assert gate.reached.is_set()
    store.discard(letter)
    gate.go.set()
    committer._db = gate.real  # type: ignore[assignment]
    store.write(lambda w: None).result()
    assert uids(store, zoe) == [1]


def test_a_reader_that_gets_no_octet_is_a_temporary_failure(store: Store, zoe: Bal) -> None:
    go = threading.Event()
    with impatient(store):
        stuck = [store.read(lambda r: go.wait(15)) for _ in range(6)]
        for query in stuck:
            assert isinstance(query.exception(15), StorageUnavailable)
    go.set()
    assert uids(store, zoe) == []


@pytest.mark.timeout(60)
def test_a_reader_that_computes_is_left_in_peace(store: Store) -> None:
    def compute(_: object) -> str:
        until = time.thread_time() + 3 * SOON_S
        while time.thread_time() < until:
            pass
        return "found"

    with impatient(store):
        assert store.read(compute).result(50) == "found"


def test_a_command_somebody_watches_may_wait(store: Store) -> None:
    go = threading.Event()
    with impatient(store):
        patient = store.read(lambda r: go.wait(15), patient=True)
        quick = store.read(lambda r: go.wait(15))
        assert isinstance(quick.exception(15), StorageUnavailable)
    assert not patient.done()
    go.set()
    assert patient.result(15)


def test_what_was_answered_is_not_kept(store: Store) -> None:
    for _ in range(50):
        store.read(lambda r: None).result()
    go = threading.Event()
    with impatient(store):
        assert isinstance(store.read(lambda r: go.wait(15)).exception(15), StorageUnavailable)
    go.set()
    assert len(store._deadlines._answers) < 5


def test_a_held_store_is_not_opened_and_the_holder_is_to_be_looked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_new(home)
    add_bal(store)
    store.close()
    with held(home), monkeypatch.context() as patch:
        patch.setattr(deadlines, "ANSWER_WITHIN_S", SOON_S)
        with pytest.raises(ConfigError, match=r"commit\.lock"):
            reopen(home)
    reopen(home).close()


@contextmanager
def writing_held(home: Path) -> Iterator[None]:
    """The database's own lock of writers, in the hands of a foreign tool or of another node."""
    with closing(behind(home)) as db:
        if database_file(home).exists():
            db.execute("SELECT pg_advisory_lock(CAST(? AS bigint))", (COMMIT_LOCK,))
        else:
            db.execute("BEGIN IMMEDIATE")
        yield


def test_what_was_refused_behind_the_lock_of_the_database_is_not_stored_after_it(
    home: Path, store: Store, zoe: Bal
) -> None:
    """Or whoever was told to send again is stored twice (D4)."""
    with writing_held(home), impatient(store), pytest.raises(StorageUnavailable):
        accept(store, store.seal(message()), [zoe])
    store.write(lambda w: None).result(15)
    assert uids(store, zoe) == []

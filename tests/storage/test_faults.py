"""Full disk, read-only disk, too many waiting jobs: refused at once, nothing broken (D9, D11)."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp.errors import StorageBehind, StorageFull, StorageUnavailable
from mssmtp.mail import Bal
from mssmtp.storage import Store
from mssmtp.storage.committer import MAX_BATCH, MAX_WAITING
from mssmtp.storage.database import refusal
from tests.storage.support import accept, add_bal, inbox, message, open_new, reopen


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB; root only."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("no right to mount here")
    yield disk
    # Lazily: a test that failed still holds its store open.
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fits(store: Store, bal: Bal, octets: int) -> bool:
    """Whether one more letter is accepted; False on StorageFull alone."""
    try:
        accept(store, store.seal(message(body=os.urandom(octets))), [bal])
    except StorageFull:
        return False
    return True


def test_a_full_disk_refuses_and_loses_nothing(small_disk: Path) -> None:
    store = open_new(small_disk / "home")
    bal = add_bal(store)
    stored = 0
    while stored < 200 and fits(store, bal, 60_000):
        stored += 1
    with pytest.raises(StorageFull):
        store.seal(os.urandom(6_000_000))
    assert 5 < stored < 200
    box = inbox(store, bal)
    rows = store.read(lambda r: r.messages(box)).result()
    assert [row.uid for row in rows] == list(range(1, stored + 1))
    assert store.check(deep=True).problems == ()
    assert [p.name for p in (small_disk / "home" / "incoming").glob("*/*")] == ["lock"]
    # Space comes back: service too, without a restart.
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    accept(store, store.seal(message()), [bal])
    assert store.check(deep=True).problems == ()
    store.close()


@pytest.mark.parametrize("call", ["link", "unlink"])
def test_a_disk_gone_read_only_under_a_letter_is_a_temporary_refusal(
    home: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = open_new(home)

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    real = os.unlink
    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(os, "unlink", refused if call == "unlink" else real)
    with pytest.raises(StorageUnavailable):
        store.seal(message(body=os.urandom(200_000)))
    monkeypatch.undo()
    store.close()
    again = reopen(home)
    assert [path for path in home.glob("incoming/*/*") if path.name != "lock"] == []
    assert again.check(deep=True).problems == ()
    again.close()


def test_a_crowd_of_jobs_is_refused_at_once(home: Path) -> None:
    store = open_new(home)
    go = threading.Event()
    blocked = store.write(lambda w: go.wait(10))
    jobs = [store.write(lambda w: None) for _ in range(MAX_WAITING + MAX_BATCH + 50)]
    refused = [job for job in jobs if job.done()]
    assert len(refused) >= 49
    assert all(isinstance(job.exception(), StorageBehind) for job in refused)
    go.set()
    assert blocked.result()
    assert all(job.exception() is None for job in jobs if job not in refused)
    store.close()
    assert isinstance(store.write(lambda w: None).exception(), StorageUnavailable)


def test_a_cancelled_job_does_not_run(store: Store) -> None:
    go = threading.Event()
    ran: list[int] = []
    blocked = store.write(lambda w: go.wait(10))
    job = store.write(lambda w: ran.append(1))
    assert job.cancel()
    go.set()
    blocked.result()
    store.write(lambda w: None).result()
    assert ran == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EROFS, StorageUnavailable),
        (errno.EIO, StorageUnavailable),
        (errno.EBADF, OSError),
    ],
)
def test_what_an_error_means(number: int, kind: type[Exception]) -> None:
    assert type(refusal(OSError(number, "x"))) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StorageFull),
        (sqlite3.SQLITE_BUSY, StorageUnavailable),
        (sqlite3.SQLITE_LOCKED, StorageUnavailable),
        (sqlite3.SQLITE_READONLY, StorageUnavailable),
        (sqlite3.SQLITE_READONLY | 4 << 8, StorageUnavailable),  # SQLITE_READONLY_DBMOVED
        (sqlite3.SQLITE_IOERR, StorageUnavailable),
        (sqlite3.SQLITE_CANTOPEN, StorageUnavailable),
        (sqlite3.SQLITE_PERM, StorageUnavailable),
        (sqlite3.SQLITE_PROTOCOL, StorageUnavailable),
        (sqlite3.SQLITE_CONSTRAINT, sqlite3.OperationalError),
    ],
)
def test_what_an_error_of_the_database_means(code: int, kind: type[Exception]) -> None:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    assert type(refusal(error)) is kind


def test_a_database_that_may_not_be_written_is_unavailable_for_a_while() -> None:
    """SQLite's own error, as on a disk that has gone read-only."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (a)")
    database.execute("PRAGMA query_only = 1")
    with pytest.raises(sqlite3.OperationalError) as caught:
        database.execute("INSERT INTO t VALUES (1)")
    database.close()
    assert isinstance(refusal(caught.value), StorageUnavailable)


def test_our_own_bugs_stay_bugs() -> None:
    bug = sqlite3.ProgrammingError("x")
    assert refusal(bug) is bug
    assert isinstance(refusal(KeyError("x")), KeyError)

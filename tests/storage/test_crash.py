"""Killed at any moment: what was acknowledged is there once, nothing else is (D1, D2, D5)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from mssmtp.errors import StorageUnavailable
from mssmtp.mail import Bal, Uid
from mssmtp.message import Summary
from mssmtp.storage import Store, files
from mssmtp.storage.files import BlobFiles
from mssmtp.storage.schema import doomed_files, sql
from tests.storage.support import accept, add_bal, inbox, message, open_new, reopen

ROOT = Path(__file__).parents[2]


def writer(home: Path, count: int, size: str) -> subprocess.Popen[str]:
    """A writing process."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.storage.writers", str(home), str(count), size],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def subjects(store: Store, bal: Bal) -> dict[int, str]:
    """Subject of every stored message by UID; every body is opened."""
    box = inbox(store, bal)
    uids = [row.uid for row in store.read(lambda r: r.messages(box)).result()]
    found = {}
    for uid, octets in store.read(lambda r: list(r.summaries(box, uids))).result():
        Summary.from_bytes(octets)
        body = store.read(lambda r, u=uid: r.body(box, u)).result()  # type: ignore[misc]
        found[int(uid)] = body.split(b"Subject: ")[1].split(b"\r\n")[0].decode()
    return found


@pytest.mark.timeout(60)  # processes that start, on a machine that may be busy
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_killed_writer_loses_nothing_acknowledged(home: Path, size: str) -> None:
    store = open_new(home)
    bal = add_bal(store)
    store.close()
    acknowledged: dict[int, str] = {}
    seed = random.Random(size)  # noqa: S311
    for _ in range(2):  # many more, and at chosen moments: tests/crash
        process = writer(home, 10_000, size)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(seed.randrange(1, 25)):
            uid, subject = process.stdout.readline().split()
            acknowledged[int(uid)] = subject
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):
                uid, subject = line.split()
                assert int(uid) not in acknowledged, "a UID came twice"
                acknowledged[int(uid)] = subject
        process.wait()
        process.stdout.close()
        store = reopen(home)
        stored = subjects(store, bal)
        assert acknowledged.items() <= stored.items()
        assert len(set(stored.values())) == len(stored)
        # At most the one letter whose answer was still on its way.
        unanswered = stored.keys() - acknowledged.keys()
        assert len(unanswered) <= 1
        acknowledged |= {uid: stored[uid] for uid in unanswered}
        assert store.check(deep=True).problems == ()
        store.close()


def test_a_file_without_row_is_swept_at_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_new(home)
    bal = add_bal(store)
    accept(store, store.seal(message(body=os.urandom(200_000))), [bal])
    # Crash between the file's final name and its row: process gone, nothing tidied.
    letter = store.seal(message(body=os.urandom(200_000)))
    letter.blob.keep()
    half = store.writer()
    half.write(message(body=os.urandom(300_000)))
    assert half._forget is not None
    assert half._file is not None
    half._forget.detach()
    half._file.close()
    die(store, monkeypatch)
    assert len(list((home / "blobs").glob("*/*"))) == 2
    again = reopen(home)
    assert len(list((home / "blobs").glob("*/*"))) == 1
    assert len(list((home / "incoming").iterdir())) == 1
    assert again.check(deep=True).problems == ()
    again.close()


def die(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Close a store as if its process had been killed: its directory stays."""
    with monkeypatch.context() as patch:
        patch.setattr(BlobFiles, "close", lambda self: os.close(self._lock))
        store.close()
    (store._home / "store.db-wal").touch()  # nobody who is killed removes it


def contents(home: Path) -> list[str]:
    """Names of the files of large letters."""
    return sorted(path.name for path in (home / "blobs").glob("*/*"))


def test_a_file_whose_partial_name_the_power_cut_took_is_swept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_new(home)
    bal = add_bal(store)
    accept(store, store.seal(message(body=os.urandom(200_000))), [bal])
    kept = contents(home)
    letter = store.seal(message(body=os.urandom(200_000)))
    letter.blob.keep()
    partial = home / "incoming" / f"test-{store._started.hex()}" / letter.blob.id.hex()
    partial.unlink()
    living = reopen(home)
    in_hand = living.seal(message(body=os.urandom(200_000)))
    die(store, monkeypatch)
    again = reopen(home)
    assert contents(home) == sorted([*kept, in_hand.blob.id.hex()])
    living.discard(in_hand)
    assert again.check(deep=True).problems == ()
    for one in (again, living):
        one.close()


def test_what_an_older_release_left_is_swept_too(home: Path) -> None:
    store = open_new(home)
    letter = store.seal(message(body=os.urandom(200_000)))
    letter.blob.keep()
    store.close()
    left = next((home / "incoming").iterdir())
    left.rename(left.with_name("worker0-0011223344556677"))
    again = reopen(home)
    assert contents(home) == []
    again.close()


def test_a_removed_file_is_forgotten_only_once_its_removal_is_on_disk(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bal = add_bal(store)
    accept(store, store.seal(message(body=os.urandom(200_000))), [bal])
    shard = next((home / "blobs").glob("*/*")).parent
    box = inbox(store, bal)
    store.write(lambda w: w.store_flags(box, [Uid(1)], "+", frozenset({"\\Deleted"}))).result()
    store.write(lambda w: w.expunge(box)).result()
    store.write(lambda w: None).result()
    doomed = sql(select(func.count()).select_from(doomed_files))
    counts = [store._committer._db.execute(doomed).fetchone()[0]]

    def sync(path: Path) -> None:
        assert path == shard
        counts.append(store._committer._db.execute(doomed).fetchone()[0])

    monkeypatch.setattr(files, "sync_directory", sync)
    store.write(lambda w: w.prune(datetime(2026, 3, 2, tzinfo=UTC))).result()
    counts.append(store._committer._db.execute(doomed).fetchone()[0])
    assert counts == [1, 1, 0]
    monkeypatch.undo()


def test_the_sweep_spares_living_writers_and_committed_files(store: Store, home: Path) -> None:
    bal = add_bal(store)
    half = store.writer()
    half.write(message(body=os.urandom(300_000)))
    other = reopen(home)
    letter = half.finish()
    accept(store, letter, [bal])
    other.close()
    box = inbox(store, bal)
    assert len(store.read(lambda r: r.body(box, Uid(1))).result()) == letter.size_octets


def test_a_failed_commit_fails_every_job_and_keeps_nothing(
    home: Path,
) -> None:
    store = open_new(home)
    bal = add_bal(store)
    committer = store._committer
    real = committer._db

    class Failing:
        """A connection whose COMMIT fails, as on a lost disk."""

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def execute(self, statement: str, values: dict[str, int] | None = None) -> object:
            if statement == "COMMIT":
                raise OSError(5, "I/O error")
            return real.execute(statement, values or {})

    committer._db = Failing()  # type: ignore[assignment]
    jobs = [store.write(lambda w: w.create_mailbox(bal.id, "A")) for _ in range(1)]
    jobs += [store.write(lambda w: w.create_mailbox(bal.id, "B"))]
    for job in jobs:
        assert isinstance(job.exception(), StorageUnavailable)
    committer._db = real
    assert store.read(lambda r: r.mailbox(bal.id, "A")).result() is None
    store.write(lambda w: w.create_mailbox(bal.id, "A")).result()
    assert store.check().problems == ()
    store.close()

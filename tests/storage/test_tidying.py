"""What is cleared away later: doomed files, old changes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mssmtp.mail import Bal, Change, Uid
from mssmtp.storage import Store, changes
from mssmtp.storage.files import BlobFiles
from tests.storage.support import SteppingClock, accept, behind, inbox, message

NOW = SteppingClock().now()


def blob_files(home: Path) -> int:
    return len([path for path in (home / "blobs").rglob("*") if path.is_file()])


def expunge_all(store: Store, bal: Bal) -> None:
    box = inbox(store, bal)
    store.write(lambda w: w.store_flags(box, [Uid(1)], "+", frozenset({"\\Deleted"}))).result()
    store.write(lambda w: w.expunge(box)).result()
    store.write(lambda w: None).result()


def test_the_file_of_an_expunged_letter_goes(store: Store, zoe: Bal, home: Path) -> None:
    accept(store, store.seal(message(body=os.urandom(200_000))), [zoe])
    assert blob_files(home) == 1
    expunge_all(store, zoe)
    assert blob_files(home) == 0


def test_a_removal_that_a_crash_prevented_is_made_good(
    store: Store, zoe: Bal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(store, store.seal(message(body=os.urandom(200_000))), [zoe])
    monkeypatch.setattr(BlobFiles, "remove", lambda self, blob: None)
    expunge_all(store, zoe)
    monkeypatch.undo()
    assert blob_files(home) == 1
    assert store.check(deep=True).problems == ()
    for _ in range(2):  # the first removes the file, the second forgets its name
        store.write(lambda w: w.prune(NOW)).result()
    store.write(lambda w: None).result()
    assert blob_files(home) == 0


def test_who_missed_pruned_changes_hears_of_every_mailbox(
    store: Store, zoe: Bal, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Change] = []
    told = threading.Event()

    def listener(found: tuple[Change, ...]) -> None:
        heard.extend(found)
        told.set()

    monkeypatch.setattr(changes.Follower, "_look", lambda self, rung: None)
    store.subscribe(listener)
    for _ in range(3):
        accept(store, store.seal(message()), [zoe])
    monkeypatch.setattr(changes, "KEPT_CHANGES", 1)
    store.write(lambda w: changes.forget_changes(w._db)).result()
    monkeypatch.undo()
    accept(store, store.seal(message()), [zoe])
    assert told.wait(30)
    mailboxes = store.read(lambda r: r.mailboxes(zoe.id)).result()
    assert {change.mailbox for change in heard} == {mailbox.id for mailbox in mailboxes}


def test_a_database_that_fell_back_makes_everybody_look_at_everything(
    store: Store, zoe: Bal, home: Path
) -> None:
    """A standby that lagged behind took over: its numbers come again."""
    heard: list[Change] = []
    followed, told = threading.Event(), threading.Event()

    def listener(found: tuple[Change, ...]) -> None:
        heard.extend(found)
        if any(change.modseq == 3 for change in found):
            followed.set()
        if len({change.mailbox for change in found}) > 1:
            told.set()

    store.subscribe(listener)
    for _ in range(2):
        accept(store, store.seal(message()), [zoe])
    assert followed.wait(30)
    db = behind(home)
    db.execute("DELETE FROM changes WHERE number = (SELECT max(number) FROM changes)")
    db.close()
    assert told.wait(30)
    mailboxes = store.read(lambda r: r.mailboxes(zoe.id)).result()
    assert {change.mailbox for change in heard} == {mailbox.id for mailbox in mailboxes}

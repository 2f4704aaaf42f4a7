"""Answers read a moment ago: never one that a commit, of whatever process, has made wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Bal
from mssmtp.storage import Store
from mssmtp.storage.answers import FRESH_S, REMEMBERED
from tests.storage.support import SteppingClock, inbox, message, reopen


@pytest.fixture(params=["sqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    """On PostgreSQL nothing is remembered: the last test has one of its own."""
    return str(request.param)


@pytest.fixture
def store(store: Store) -> Store:
    """As a door has it."""
    store.answers.begin()
    return store


def looked(store: Store, zoe: Bal, question: str = "uids") -> tuple[list[int], bool]:
    """As a door does: asked first, then looked up; and whether it was known."""
    asked = store.answers.asked(question)
    if isinstance(asked.known, list):
        return asked.known, True
    box = inbox(store, zoe)
    found = [int(uid) for uid in store.read(lambda r: r.uids(box)).result()]
    store.answers.keep(asked, found)
    return found, False


def deliver(store: Store, into: Store, zoe: Bal, clock: SteppingClock) -> None:
    box, letter = inbox(store, zoe), into.seal(message())
    into.write(lambda w: w.append(box, letter, frozenset(), clock.now())).result()


def test_what_nobody_has_changed_is_known_for_a_second(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    assert looked(store, zoe) == ([], False)
    assert looked(store, zoe) == ([], True)
    assert looked(store, zoe, "another question") == ([], False)
    clock.advance(timedelta(seconds=FRESH_S))
    assert looked(store, zoe) == ([], False), "a right may have ended by its date"


@pytest.mark.attack
def test_att_25_a_commit_of_any_process_ends_every_answer(
    store: Store, zoe: Bal, clock: SteppingClock, home: Path
) -> None:
    looked(store, zoe)
    deliver(store, store, zoe, clock)
    assert looked(store, zoe) == ([1], False)
    assert looked(store, zoe) == ([1], True)
    other = reopen(home)
    try:
        deliver(store, other, zoe, clock)
        assert looked(store, zoe) == ([1, 2], False)
    finally:
        other.close()


def test_an_answer_looked_up_while_somebody_commits_is_not_given_again(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    before = store.answers.asked("uids")
    deliver(store, store, zoe, clock)
    store.answers.keep(before, [])
    assert looked(store, zoe) == ([1], False)
    assert looked(store, zoe) == ([1], True)
    store.answers.keep(before, [])
    assert looked(store, zoe) == ([1], True), "nor does it take the place of a newer one"


def test_what_is_rolled_back_was_never_there(store: Store, zoe: Bal) -> None:
    looked(store, zoe)
    with pytest.raises(ZeroDivisionError):
        store.write(lambda w: (w.create_mailbox(zoe.id, "Perdu"), 1 // 0)).result()
    assert looked(store, zoe)[0] == []


def test_the_number_of_answers_is_bounded(store: Store, zoe: Bal) -> None:
    for number in range(3 * REMEMBERED):
        looked(store, zoe, f"question {number}")
    known = [looked(store, zoe, f"question {number}")[1] for number in range(3 * REMEMBERED)]
    assert sum(known) <= REMEMBERED


def test_a_process_stopped_with_a_lock_holds_up_nobody_who_asks(
    store: Store, zoe: Bal, home: Path
) -> None:
    """CL-79: who waits for the database is a thread, never the loop."""
    looked(store, zoe)
    other = reopen(home)
    try:
        db = other._engine.connect(writing=True)
        db.execute("BEGIN EXCLUSIVE")
        assert looked(store, zoe) == ([], True)
        db.execute("ROLLBACK")
        db.close()
    finally:
        other.close()


def test_a_database_that_cannot_be_watched_is_asked_each_time(
    store: Store, zoe: Bal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.answers, "_make", lambda: None)
    store.answers.close()
    store.answers.begin()
    assert looked(store, zoe) == ([], False)
    assert looked(store, zoe) == ([], False)

"""A clock that goes back a year: nothing comes twice, nothing waits for it to catch up (D5, D9)."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Bal, BlobId, ModSeq
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Outcome, Store
from tests.storage.support import (
    TRANSFER,
    SteppingClock,
    accept,
    inbox,
    message,
    recipients,
    settings,
)

YEAR = timedelta(days=365)
RETRY = timedelta(minutes=5)


@pytest.fixture
def back(clock: SteppingClock) -> SteppingClock:
    """The test puts it back; the end of every test checks the store a year earlier."""
    return clock


def reopened(home: Path, clock: SteppingClock) -> Store:
    """The same store in a process that knows only the new time."""
    return Store(settings(home), clock, SystemEntropy(), worker="later")


def test_uids_modseqs_uid_validities_and_ids_go_on(
    store: Store, zoe: Bal, home: Path, back: SteppingClock
) -> None:
    box = inbox(store, zoe)
    first, before = accept(store, store.seal(message()), [zoe])
    made = store.write(lambda w: w.create_mailbox(zoe.id, "Avant")).result()
    back.advance(-YEAR)
    with closing(reopened(home, back)) as later:
        second, after = accept(later, later.seal(message()), [zoe])
        assert after.stored[zoe.id].uid == before.stored[zoe.id].uid + 1
        assert second != first
        next_one = later.write(lambda w: w.create_mailbox(zoe.id, "Après")).result()
        assert next_one.uid_validity > made.uid_validity
        rows = later.read(lambda r: r.messages(box, changed_since=ModSeq(0))).result()
        assert [row.modseq for row in rows] == sorted({row.modseq for row in rows})
    here, there = store.new_envelope_id(), store.new_envelope_id()
    assert first < here < there, "within one process ids never go back"


def test_the_ledger_goes_on_and_says_that_the_clock_went_back(
    store: Store, zoe: Bal, back: SteppingClock
) -> None:
    accept(store, store.seal(message()), [zoe])
    was = back.now()
    back.advance(-YEAR)
    envelope, _ = accept(store, store.seal(message()), [zoe])
    told = [json.loads(e.clear) for e in store.read(lambda r: r.events(envelope)).result()]
    assert [event["number"] for event in told] == [3, 4]
    assert told[0]["clock_was"] == was.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert "clock_was" not in told[1], "once, at the jump"


def test_what_waited_is_due_now_and_gives_up_in_time(
    store: Store, zoe: Bal, back: SteppingClock
) -> None:
    envelope, _ = accept(store, store.seal(message()), queued=recipients("a@c.test", "b@d.test"))
    first, _ = store.write(lambda w: w.lease(back.now(), 9, "mort")).result()
    retried = Outcome(envelope, first.recipients[0], "retry", "451 plus tard", back.now() + RETRY)
    store.write(lambda w: w.record([retried], TRANSFER)).result()
    back.advance(-YEAR)
    now = back.now()
    (lease,) = store.write(lambda w: w.lease(now, 9, "vif")).result()
    assert lease.recipients == first.recipients, "the other is still in somebody's hand"
    assert lease.queued_at == now, "its 48 hours begin now, not in a year"
    back.advance(timedelta(minutes=16))
    left = store.write(lambda w: w.lease(back.now(), 9, "vif")).result()
    assert {to.address.domain for each in left for to in each.recipients} == {"c.test", "d.test"}


def test_facts_are_not_kept_a_year_longer(store: Store, zoe: Bal, back: SteppingClock) -> None:
    envelope, _ = accept(store, store.seal(message()), [zoe])
    back.advance(-YEAR)
    store.write(lambda w: w.prune(back.now())).result()
    assert store.read(lambda r: r.facts(envelope)).result() is not None
    back.advance(timedelta(days=8))
    store.write(lambda w: w.prune(back.now())).result()
    assert store.read(lambda r: r.facts(envelope)).result() is None


def test_a_file_of_next_year_that_nobody_refers_to_is_reported(
    store: Store, home: Path, back: SteppingClock
) -> None:
    stray = BlobId(store._ids.new_octets())
    path = home / "blobs" / stray.hex()[-2:] / stray.hex()
    back.advance(-YEAR)
    path.write_bytes(b"x")
    assert store.check().problems == (f"file {stray.hex()}: no blob refers to it",)
    path.unlink()

"""The outbound queue: leases, outcomes, conservation."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Bal, Door, EnvelopeId, Recipient
from mssmtp.storage import Lease, NoSuchMessage, Outcome, Store, Transfer
from mssmtp.storage.model import OutcomeResult
from tests.storage.support import SKIP, SteppingClock, accept, behind, message, recipients

OUT = Transfer("out", Door.OPERATOR, "192.0.2.9", "relais", "250 2.0.0 ok bob@cabinet-c.test")
TO = recipients("bob@cabinet-c.test", "eva@cabinet-c.test", "ida@clinique-d.test")


def queued(store: Store, zoe: Bal, to: tuple[Recipient, ...] = TO) -> EnvelopeId:
    return accept(store, store.seal(message()), [], to, owner=zoe.id)[0]


def lease(store: Store, clock: SteppingClock, worker: str = "w1") -> tuple[Lease, ...]:
    now = clock.now()
    return store.write(lambda w: w.lease(now, 100, worker)).result()


def record(store: Store, envelope: EnvelopeId, to: Recipient, result: OutcomeResult) -> None:
    outcome = Outcome(envelope, to, result, "250 ok")
    store.write(lambda w: w.record([outcome], OUT)).result()


def test_leases_are_grouped_by_envelope_and_domain(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    envelope = queued(store, zoe)
    first, second = lease(store, clock)
    assert first.recipients == TO[:2]
    assert second.recipients == TO[2:]
    assert (first.envelope.id, first.domain, first.owner) == (envelope, "cabinet-c.test", zoe.id)
    assert first.envelope.recipients == TO
    octets = store.read(lambda r: r.letter_octets(envelope, first.skip)).result()
    assert first.skip == SKIP
    assert octets == message()[SKIP:]


def test_a_lease_is_held_until_it_runs_out(store: Store, zoe: Bal, clock: SteppingClock) -> None:
    queued(store, zoe)
    assert len(lease(store, clock)) == 2
    assert lease(store, clock, "w2") == ()
    entries = store.read(lambda r: r.queue()).result()
    assert {entry.leased_by for entry in entries} == {"w1"}
    clock.advance(timedelta(minutes=16))
    assert len(lease(store, clock, "w2")) == 2
    assert store.write(lambda w: w.release("w2")).result() == 3
    assert len(lease(store, clock, "w3")) == 2


def test_a_retry_that_comes_late_gives_nobody_elses_lease_away(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    """D4: a store that was away let a lease run out before its outcome could be written."""
    envelope = queued(store, zoe, TO[:1])
    (late,) = lease(store, clock)
    clock.advance(timedelta(minutes=16))
    (held,) = lease(store, clock, "w2")
    now = clock.now()
    retry = Outcome(envelope, TO[0], "retry", "451 4.4.2 lost", now)
    for until, counted in ((late.until, []), (held.until, [retry])):
        assert (
            store.write(lambda w, until=until: w.record([retry], OUT, held_until=until)).result()  # type: ignore[misc]
            == counted
        )
        assert len(lease(store, clock, "w3")) == len(counted)


def doubts(store: Store, envelope: EnvelopeId) -> list[tuple[str, ...]]:
    """Recipients of each trace that says "in doubt"."""
    found = store.read(lambda r: r.transfers(envelope)).result()
    return [each.recipients for each in found if each.transfer.verdict == "in doubt"]


@pytest.mark.requirement("SEED-58")
def test_what_a_dead_worker_held_is_marked_in_doubt(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    """D4: nobody knows whether a peer took it before the worker died."""
    envelope = queued(store, zoe)
    lease(store, clock, "w1")
    record(store, envelope, TO[2], "delivered")
    assert store.write(lambda w: w.take_back("w1")).result() == 2
    entries = store.read(lambda r: r.queue()).result()
    assert {str(entry.last_reply)[:9] for entry in entries} == {"451 4.4.2"}
    assert doubts(store, envelope) == [("bob@cabinet-c.test", "eva@cabinet-c.test")]
    assert len(lease(store, clock, "w2")) == 1
    assert store.check(deep=True).problems == ()


def test_a_lease_that_ran_out_is_marked_in_doubt_when_taken_over(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    envelope = queued(store, zoe)
    lease(store, clock, "w1")
    clock.advance(timedelta(minutes=16))
    lease(store, clock, "w2")
    assert [len(each) for each in doubts(store, envelope)] == [3]


def test_leases_given_back_in_order_are_not_in_doubt(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    envelope = queued(store, zoe)
    lease(store, clock, "w1")
    store.write(lambda w: w.release("w1")).result()
    lease(store, clock, "w1")
    assert doubts(store, envelope) == []


def test_every_outcome_is_counted_once(store: Store, zoe: Bal, clock: SteppingClock) -> None:
    envelope = queued(store, zoe)
    lease(store, clock)
    record(store, envelope, TO[0], "delivered")
    record(store, envelope, TO[0], "failed")  # too late: another worker was faster
    record(store, envelope, TO[1], "failed")
    assert [entry.recipient for entry in store.read(lambda r: r.queue()).result()] == [TO[2]]
    record(store, envelope, TO[2], "expired")
    kinds = [event.kind for event in store.read(lambda r: r.events(envelope)).result()]
    assert kinds == ["scellement", "relais", "rejet", "rejet"]
    with pytest.raises(NoSuchMessage):
        store.read(lambda r: r.letter_octets(envelope)).result()
    assert store.check().counted["blobs"] == 0
    traces = store.read(lambda r: r.transfers(envelope)).result()
    assert traces[1].message_id == "<1@cabinet-b.test>"
    assert traces[1].transfer == OUT


def test_a_retry_waits_for_its_time_and_keeps_the_reply(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    envelope = queued(store, zoe, TO[:1])
    lease(store, clock)
    later = clock.now() + timedelta(minutes=5)
    outcome = Outcome(envelope, TO[0], "retry", "451 4.3.0 plus tard", later, warned=True)
    store.write(lambda w: w.record([outcome], OUT)).result()
    assert lease(store, clock) == ()
    (entry,) = store.read(lambda r: r.queue_entry(envelope)).result()
    assert (entry.attempts, entry.last_reply) == (1, "451 4.3.0 plus tard")
    assert entry.next_attempt == later
    clock.advance(timedelta(minutes=5))
    (again,) = lease(store, clock)
    assert (again.attempts, again.warned) == (1, True)


def test_holding_dropping_and_retrying_by_hand(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    envelope = queued(store, zoe)
    assert store.write(lambda w: w.hold(envelope)).result() == 3
    assert lease(store, clock) == ()
    store.write(lambda w: w.hold(envelope, on=False)).result()
    later = clock.now() + timedelta(hours=1)
    outcomes = [Outcome(envelope, to, "retry", "451", later) for to in TO]
    store.write(lambda w: w.record(outcomes, OUT)).result()
    now = clock.now()
    assert store.write(lambda w: w.retry_now(None, now)).result() == 3
    assert len(lease(store, clock)) == 2
    assert store.write(lambda w: w.drop(envelope, "demande de l'expéditeur")).result() == 3
    assert store.write(lambda w: w.drop(envelope, "encore")).result() == 0
    assert store.read(lambda r: r.queue_depth()).result() == 0


def test_a_local_copy_outlives_the_queue(store: Store, zoe: Bal, clock: SteppingClock) -> None:
    envelope, accepted = accept(store, store.seal(message()), [zoe], TO[:1], owner=zoe.id)
    lease(store, clock)
    record(store, envelope, TO[0], "delivered")
    where = accepted.stored[zoe.id]
    assert store.read(lambda r: r.body(where.mailbox, where.uid)).result() == message()


@pytest.mark.parametrize(
    ("look", "change"),
    [
        (
            "SELECT sealed FROM queue WHERE envelope = ?",
            "UPDATE queue SET sealed = ? WHERE envelope = ?",
        ),
        (
            "SELECT sealed FROM envelopes WHERE id = ?",
            "UPDATE envelopes SET sealed = ? WHERE id = ?",
        ),
    ],
)
def test_a_damaged_row_is_held_and_the_others_are_leased(
    store: Store, zoe: Bal, home: Path, clock: SteppingClock, look: str, change: str
) -> None:
    bad, good = queued(store, zoe, TO[:1]), queued(store, zoe, TO[2:])
    with closing(behind(home)) as db:
        (sealed,) = db.execute(look, (bad,)).fetchone()
        db.execute(change, (sealed[::-1], bad))
    assert [each.envelope.id for each in lease(store, clock)] == [good]
    first, second = store.read(lambda r: r.queue()).result()
    assert (first.envelope, first.damaged, first.held) == (bad, True, True)
    assert (first.recipient.address.domain, first.leased_by) == ("cabinet-c.test", None)
    assert (second.envelope, second.damaged, second.recipient) == (good, False, TO[2])
    assert f"a recipient of {bad} does not authenticate" in store.check(deep=True).problems[0]
    with closing(behind(home)) as db:
        db.execute(change, (sealed, bad))


def test_a_damaged_row_can_be_dropped(
    store: Store, zoe: Bal, home: Path, clock: SteppingClock
) -> None:
    envelope = queued(store, zoe, TO[:1])
    with closing(behind(home)) as db:
        db.execute("UPDATE queue SET sealed = zeroblob(90)")
    assert lease(store, clock) == ()
    assert store.write(lambda w: w.drop(envelope, "illisible")).result() == 1
    assert store.read(lambda r: r.queue_depth()).result() == 0
    assert store.check(deep=True).problems == ()


def test_a_retry_needs_a_time() -> None:
    with pytest.raises(ValueError, match="next_attempt"):
        Outcome(EnvelopeId("x"), TO[0], "retry", "451")

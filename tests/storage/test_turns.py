"""Whose turn it is: fair between senders, urgent first, held until its time, paged."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Address, Bal, BalType, DeliverBy, Domain, Envelope, EnvelopeId, Recipient
from mssmtp.storage import (
    QUEUE_BEGIN,
    Handed,
    Lease,
    Outcome,
    Owner,
    QueuePlace,
    RelayJournal,
    Store,
    Want,
    Writing,
    leasing,
)
from tests.storage.support import SENDER, SKIP, TRANSFER, SteppingClock, message, recipients

B = Domain("cabinet-b.test")
C = Domain("cabinet-c.test")


def put(
    store: Store, clock: SteppingClock, owner: Owner, to: tuple[Recipient, ...], **wishes: object
) -> EnvelopeId:
    envelope = Envelope(store.new_envelope_id(), SENDER, to, clock.now())
    envelope = replace(envelope, **wishes)  # type: ignore[arg-type]
    letter = store.seal(message())

    def job(writing: Writing) -> None:
        writing.accept(
            envelope,
            letter,
            local=(),
            queued=to,
            skip=SKIP,
            owner=owner,
            transfer=TRANSFER,
            facts=b"{}",
        )

    store.write(job).result()
    return envelope.id


def take(store: Store, clock: SteppingClock, *wants: Want, worker: str = "w1") -> list[Lease]:
    now = clock.now()
    return list(store.write(lambda w: w.lease_for(now, wants, worker)).result())


@pytest.fixture
def ida(store: Store) -> Bal:
    address = Address.parse("ida@hopital-a.test")
    store.write(lambda w: w.create_bal(address, BalType.ORG)).result()
    found = store.read(lambda r: r.bal(address)).result()
    assert found is not None
    return found


def test_who_sends_one_letter_does_not_wait_behind_who_sends_many(
    store: Store, zoe: Bal, ida: Bal, clock: SteppingClock
) -> None:
    for _ in range(30):
        put(store, clock, zoe.id, recipients("luc@cabinet-b.test"))
    clock.advance(timedelta(seconds=1))
    late = put(store, clock, ida.id, recipients("luc@cabinet-b.test"))
    first = take(store, clock, Want(B, 4))
    assert late in [lease.envelope.id for lease in first]
    assert len(first) == 4
    turn = first[-1].turn
    second = take(store, clock, Want(B, 4, after=turn))
    assert {lease.owner for lease in second} == {zoe.id}, "nobody else has anything left"
    assert len(second) == 4


def test_turns_go_round_when_there_is_room_for_one_sender_only(
    store: Store, zoe: Bal, ida: Bal, clock: SteppingClock
) -> None:
    for owner in (zoe, ida) * 3:
        put(store, clock, owner.id, recipients("luc@cabinet-b.test"))
    turn, owners = 0, []
    for _ in range(6):
        (lease,) = take(store, clock, Want(B, 1, after=turn))
        turn = lease.turn
        owners.append(lease.owner)
    assert owners == [zoe.id, ida.id] * 3


def test_senders_whose_letters_wait_for_another_try_hide_nobodys_new_one(
    store: Store, zoe: Bal, ida: Bal, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "MOST_OWNERS", 1)
    put(store, clock, zoe.id, recipients("luc@cabinet-b.test"))
    (tried,) = take(store, clock, Want(B, 20))
    again = clock.now() + timedelta(hours=1)
    outcome = Outcome(tried.envelope.id, tried.recipients[0], "retry", "451 4.3.0 later", again)
    store.write(lambda w: w.record([outcome], TRANSFER)).result()
    new = put(store, clock, ida.id, recipients("luc@cabinet-b.test"))
    assert [lease.envelope.id for lease in take(store, clock, Want(B, 20))] == [new]


def test_urgent_results_overtake(store: Store, zoe: Bal, clock: SteppingClock) -> None:
    """RFC 6710."""
    ids = [
        put(store, clock, zoe.id, recipients("luc@cabinet-b.test"), priority=priority)
        for priority in (0, 0, -4, 6, 9)
    ]
    found = [lease.envelope.id for lease in take(store, clock, Want(B, 3))]
    assert found == [ids[4], ids[3], ids[0]]
    assert take(store, clock, Want(B, 0, 5)) == []
    urgent = put(store, clock, zoe.id, recipients("luc@cabinet-b.test"), priority=1)
    (express,) = take(store, clock, Want(B, 0, 5))
    assert (express.envelope.id, express.envelope.priority) == (urgent, 1)


def test_a_flood_of_urgent_letters_leaves_a_quarter_to_the_others(
    store: Store, zoe: Bal, ida: Bal, clock: SteppingClock
) -> None:
    for _ in range(12):
        put(store, clock, zoe.id, recipients("luc@cabinet-b.test"), priority=9)
    usual = put(store, clock, ida.id, recipients("luc@cabinet-b.test"))
    slow = put(store, clock, ida.id, recipients("luc@cabinet-b.test"), priority=-3)
    found = [lease.envelope.id for lease in take(store, clock, Want(B, 8))]
    assert len(found) == 10
    assert found[8:] == [usual, slow]


def test_the_recipients_of_a_letter_at_one_domain_come_together(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    to = recipients(*(f"r{number}@cabinet-b.test" for number in range(7)), "x@cabinet-c.test")
    put(store, clock, zoe.id, to)
    (lease,) = take(store, clock, Want(B, 2))
    assert lease.recipients == to[:7]
    assert lease.positions == tuple(range(7))
    assert [len(each.recipients) for each in take(store, clock, Want(B, 2), Want(C, 2))] == [1]


def test_nothing_leaves_before_the_time_its_sender_wants(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    """RFC 4865; the 48 hours of its retries begin then."""
    until = clock.now() + timedelta(days=3)
    id = put(store, clock, zoe.id, recipients("luc@cabinet-b.test"), hold_until=until)
    assert take(store, clock, Want(B, 2)) == []
    now = clock.now()
    assert store.write(lambda w: w.heed_clock(now)).result() == 0, "it has not strayed"
    assert store.write(lambda w: w.retry_now(None, now)).result() == 0, "all does not mean it"
    assert store.read(lambda r: r.queue_due()).result() == ((B, until),)
    clock.advance(timedelta(days=3))
    (lease,) = take(store, clock, Want(B, 2))
    assert (lease.envelope.id, lease.queued_at) == (id, until)
    assert lease.envelope.hold_until == until


def test_to_try_everything_again_decides_about_nothing_else(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    """RFC 4865: a letter leaves before the time its sender wants only when it is named."""
    to, until = recipients("luc@cabinet-b.test"), clock.now() + timedelta(hours=3)
    later = put(store, clock, zoe.id, to, hold_until=until)
    held, plain = put(store, clock, zoe.id, to), put(store, clock, zoe.id, to)
    store.write(lambda w: w.hold(held)).result()
    now = clock.now()

    def job(writing: Writing) -> list[int]:
        return [
            writing.decide(each, "retried", "admin", now, is_named=False)
            for each in (later, held, plain)
        ]

    assert store.write(job).result() == [0, 0, 1]
    assert [lease.envelope.id for lease in take(store, clock, Want(B, 9))] == [plain]
    assert store.write(lambda w: w.decide(later, "retried", "admin", now)).result() == 1
    assert [lease.envelope.id for lease in take(store, clock, Want(B, 9))] == [later]


def test_the_wishes_of_the_sender_are_kept(store: Store, zoe: Bal, clock: SteppingClock) -> None:
    by = DeliverBy(clock.now() + timedelta(hours=1), "R", trace=True)
    id = put(
        store, clock, zoe.id, recipients("luc@cabinet-b.test"), require_tls=True, deliver_by=by
    )
    (lease,) = take(store, clock, Want(B, 1))
    assert (lease.envelope.require_tls, lease.envelope.deliver_by) == (True, by)
    (entry,) = store.read(lambda r: r.queue_entry(id)).result()
    assert (entry.require_tls, entry.deliver_by, entry.priority) == (True, by, 0)


def test_a_lease_that_was_not_begun_is_given_back_without_doubt(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    id = put(store, clock, zoe.id, recipients("luc@cabinet-b.test"))
    leases = take(store, clock, Want(B, 1))
    assert store.write(lambda w: w.give_back(leases, "other")).result() == 0
    assert store.write(lambda w: w.give_back(leases, "w1")).result() == 1
    assert [lease.envelope.id for lease in take(store, clock, Want(B, 1), worker="w2")] == [id]
    assert store.write(lambda w: w.give_back(leases, "w1")).result() == 0, "another has it now"
    verdicts = [t.transfer.verdict for t in store.read(lambda r: r.transfers(id)).result()]
    assert "in doubt" not in verdicts


@pytest.mark.requirement("SEED-58")
def test_a_journal_tells_what_a_dead_worker_had_begun_and_what_was_taken(
    store: Store, zoe: Bal, clock: SteppingClock, tmp_path: Path
) -> None:
    """D4: what a peer has taken is not delivered again; what was not begun is in no doubt."""
    ids = [put(store, clock, zoe.id, recipients("luc@cabinet-b.test")) for _ in range(3)]
    leases = take(store, clock, Want(B, 3))
    journal = RelayJournal(tmp_path / "relay.journal")
    assert journal.left() is None
    journal.begin()
    steps: tuple[tuple[Handed, ...], ...] = (("begun", "taken"), ("begun",), ())
    for lease, said in zip(leases, steps, strict=True):
        for handed in said:
            journal.note(lease.envelope.id, lease.positions, handed)
    journal.close()  # as a kill does
    left = RelayJournal(tmp_path / "relay.journal").left()
    assert left == {QueuePlace(ids[0], 0): "taken", QueuePlace(ids[1], 0): "begun"}
    store.write(lambda w: w.take_back("w1", left)).result()
    entries = {entry.envelope: entry for entry in store.read(lambda r: r.queue()).result()}
    assert set(entries) == set(ids[1:])
    assert str(entries[ids[1]].last_reply).startswith("451 4.4.2")
    assert entries[ids[2]].last_reply is None
    results = [event.kind for event in store.read(lambda r: r.events(ids[0])).result()]
    assert results == ["scellement", "relais"]
    assert store.check().problems == ()


def test_what_was_taken_stays_so_while_the_rest_of_the_letter_is_under_way(tmp_path: Path) -> None:
    """RFC 9422: to a peer that takes few recipients at once a letter goes in several pieces."""
    name = EnvelopeId("01AAAAAAAAAAAAAAAAAAAAAAAA")
    journal = RelayJournal(tmp_path / "relay.journal")
    journal.begin()
    journal.note(name, (0, 1), "begun")
    journal.note(name, (0,), "taken")
    journal.note(name, (0, 1), "begun")
    journal.close()
    left = RelayJournal(tmp_path / "relay.journal").left()
    assert left == {QueuePlace(name, 0): "taken", QueuePlace(name, 1): "begun"}


def test_a_journal_of_another_boot_or_cut_short_is_not_believed_too_far(tmp_path: Path) -> None:
    path = tmp_path / "relay.journal"
    journal = RelayJournal(path)
    journal.begin()
    journal.note(EnvelopeId("01AAAAAAAAAAAAAAAAAAAAAAAA"), (0, 1), "begun")
    whole = path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole[:-1])
    left = RelayJournal(path).left()
    assert left is not None
    assert list(left.values()) == ["begun"]
    path.write_bytes(b"another-boot\n" + whole.partition(b"\n")[2])
    assert RelayJournal(path).left() is None
    path.write_bytes(whole + b"nonsense\n")
    assert RelayJournal(path).left() is None
    journal.end()
    assert not path.exists()


def test_a_journal_is_written_anew_without_what_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.storage.relay_journal.REWRITTEN_FROM_OCTETS", 200)
    journal = RelayJournal(tmp_path / "relay.journal")
    journal.begin()
    ids = [EnvelopeId(f"01AAAAAAAAAAAAAAAAAAAAAA{number:02d}") for number in range(20)]
    for id in ids:
        journal.note(id, (0,), "begun")
    for id in ids[1:]:
        journal.settled(id, (0,))
    left = journal.left()
    assert left is not None
    assert QueuePlace(ids[0], 0) in left
    assert len(left) < 10
    assert len((tmp_path / "relay.journal").read_bytes().rstrip(b"\0")) < 200
    journal.end()


def test_a_journal_outlives_a_kill_and_a_full_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.storage.relay_journal.REWRITTEN_FROM_OCTETS", 100)
    monkeypatch.setattr("mssmtp.storage.relay_journal._ROOM_OCTETS", 200)
    ids = [EnvelopeId(f"01AAAAAAAAAAAAAAAAAAAAAA{number:02d}") for number in range(40)]
    child = os.fork()
    if not child:
        journal = RelayJournal(tmp_path / "relay.journal")
        journal.begin()
        for id in ids:
            journal.note(id, (0,), "begun")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    left = RelayJournal(tmp_path / "relay.journal").left()
    assert left == {QueuePlace(id, 0): "begun" for id in ids}


def test_without_room_for_a_journal_everything_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int, start: int, octets: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "posix_fallocate", full)
    journal = RelayJournal(tmp_path / "relay.journal")
    journal.begin()
    journal.note(EnvelopeId("01AAAAAAAAAAAAAAAAAAAAAAAA"), (0,), "begun")
    assert journal.left() is None
    assert not list(tmp_path.iterdir())


def test_pages_hold_everything_once_in_the_order_of_arrival(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    ids = [
        put(store, clock, zoe.id, recipients("a@cabinet-b.test", "b@cabinet-c.test"))
        for _ in range(5)
    ]
    store.write(lambda w: w.hold(ids[2])).result()
    place, seen = QUEUE_BEGIN, []
    while place is not None:
        at = place
        page, place = store.read(lambda r, at=at: r.queue_page(at, 4)).result()  # type: ignore[misc]
        assert len(page) <= 4
        seen += [(entry.envelope, entry.position) for entry in page]
    assert seen == [(id, position) for id in ids for position in (0, 1)]
    of_c, _ = store.read(lambda r: r.queue_page(QUEUE_BEGIN, 9, domain=C)).result()
    assert [entry.envelope for entry in of_c] == ids
    held, _ = store.read(lambda r: r.queue_page(QUEUE_BEGIN, 9, held=True)).result()
    assert {entry.envelope for entry in held} == {ids[2]}


def test_the_queue_is_counted_by_domain_by_sender_and_as_a_whole(
    store: Store, zoe: Bal, ida: Bal, clock: SteppingClock
) -> None:
    for _ in range(3):
        put(store, clock, zoe.id, recipients("a@cabinet-b.test"))
    clock.advance(timedelta(hours=5))
    held = put(store, clock, ida.id, recipients("a@cabinet-b.test", "b@cabinet-c.test"))
    store.write(lambda w: w.hold(held)).result()
    take(store, clock, Want(B, 1))
    now = clock.now()
    b, c = store.read(lambda r: r.queue_top(now, 9)).result()
    assert (b.of, b.waiting, b.held, b.leased, b.younger_than) == (B, 4, 1, 1, (1, 1, 1, 4))
    assert (c.of, c.waiting, c.held, c.due) == (C, 1, 1, None)
    senders = store.read(lambda r: r.queue_senders(now, 9)).result()
    assert [(each.of, each.waiting) for each in senders] == [(zoe.id, 3), (ida.id, 2)]
    counts = store.read(lambda r: r.queue_counts(now, timedelta(hours=4))).result()
    assert (counts.waiting, counts.held, counts.leased, counts.late) == (5, 2, 1, 3)
    assert store.read(lambda r: r.conservation()).result() == (4, 5, 0, 0, 0, 5)


@pytest.mark.parametrize("decision", ["held", "released", "retried", "dropped"])
def test_what_the_administrator_decides_is_in_the_ledger(
    store: Store, zoe: Bal, clock: SteppingClock, decision: str
) -> None:
    id = put(store, clock, zoe.id, recipients("a@cabinet-b.test"))
    if decision == "released":
        store.write(lambda w: w.hold(id)).result()
    now = clock.now()
    assert store.write(lambda w: w.decide(id, decision, "root: demande", now)).result() == 1  # type: ignore[arg-type]
    *_, event = store.read(lambda r: r.events(id)).result()
    assert f'"result":"{decision}"' in event.clear
    assert [(kind, value) for _, kind, value in event.opened][-1] == ("reply", "root: demande")
    assert (take(store, clock, Want(B, 1)) == []) == (decision in ("held", "dropped"))
    assert store.check().problems == ()


def test_who_is_held_while_under_way_stays_held(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    id = put(store, clock, zoe.id, recipients("a@cabinet-b.test"))
    (lease,) = take(store, clock, Want(B, 1))
    store.write(lambda w: w.hold(id)).result()
    retry = Outcome(id, lease.recipients[0], "retry", "451", clock.now())
    store.write(lambda w: w.record([retry], TRANSFER)).result()
    assert take(store, clock, Want(B, 1)) == []
    store.write(lambda w: w.hold(id, on=False)).result()
    assert len(take(store, clock, Want(B, 1))) == 1

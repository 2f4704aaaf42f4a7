"""Accepting an envelope: everything it causes, in one commit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial

import pytest

from mssmtp.mail import Address, Bal, BalId, Domain, Envelope, Recipient, Uid
from mssmtp.storage import Letter, LocalDelivery, NoSuchBal, Reading, Store, Writing
from tests.storage.support import (
    SENDER,
    SKIP,
    TRANSFER,
    SteppingClock,
    accept,
    add_bal,
    inbox,
    message,
    recipients,
)

NOW = SteppingClock().now()


@pytest.mark.requirement("SEED-58")
def test_an_accepted_letter_is_read_back_octet_for_octet(store: Store, zoe: Bal) -> None:
    octets = message(body=bytes(range(256)) * 20)
    _, accepted = accept(store, store.seal(octets), [zoe])
    where = accepted.stored[zoe.id]
    assert store.read(lambda r: r.body(where.mailbox, where.uid)).result() == octets
    assert store.read(lambda r: r.body(where.mailbox, where.uid, 10, 30)).result() == octets[10:30]
    row = store.read(lambda r: r.messages(where.mailbox)).result()[0]
    assert (row.uid, row.size_octets, row.flags) == (1, len(octets), frozenset())


@pytest.mark.requirement("SEED-66")
def test_events_are_written_in_the_commit_of_what_they_record(store: Store, zoe: Bal) -> None:
    octets = message()
    envelope, accepted = accept(store, store.seal(octets), [zoe])
    events = store.read(lambda r: r.events(envelope)).result()
    assert [event.kind for event in events] == ["scellement", "remise"]
    assert tuple(event.digest for event in events) == accepted.events
    stated = json.loads(events[0].clear)
    assert stated["sha256"] == hashlib.sha256(octets).hexdigest()
    assert events[1].previous == events[0].digest
    assert {line[1:] for line in events[0].opened} == {
        ("sender", str(SENDER)),
        ("recipient", "zoe@hopital-a.test"),
    }
    for event in events:
        for line in event.opened:
            text = json.dumps(list(line), separators=(",", ":"), ensure_ascii=False)
            digest = hashlib.sha256(text.encode()).hexdigest()
            assert digest in json.loads(event.clear)["sealed"]
        assert "@" not in event.clear.replace("<1@cabinet-b.test>", "")


def test_an_event_of_a_failed_job_does_not_exist(store: Store, zoe: Bal) -> None:
    letter = store.seal(message())
    envelope = Envelope(store.new_envelope_id(), SENDER, (), NOW)

    def fails(writing: Writing) -> None:
        writing.accept(
            envelope,
            letter,
            local=[LocalDelivery(zoe.id, Recipient(zoe.address))],
            queued=(),
            skip=0,
            owner=zoe.id,
            transfer=TRANSFER,
            facts=b"",
        )
        raise RuntimeError("after accept")

    with pytest.raises(RuntimeError):
        store.write(fails).result()
    assert store.read(lambda r: r.events(envelope.id)).result() == ()
    box = inbox(store, zoe)
    assert store.read(lambda r: r.messages(box)).result() == []


def test_one_failing_job_harms_no_other_of_its_batch(store: Store, zoe: Bal) -> None:
    jobs = []
    for number in range(30):
        letter = store.seal(message())
        bal = BalId(999) if number % 3 == 0 else zoe.id
        envelope = Envelope(store.new_envelope_id(), SENDER, (), NOW)
        jobs.append(store.write(_accepting(envelope, letter, bal, zoe)))
    failed = [job for job in jobs if isinstance(job.exception(), NoSuchBal)]
    assert len(failed) == 10
    box = inbox(store, zoe)
    rows = store.read(lambda r: r.messages(box)).result()
    assert [row.uid for row in rows] == list(range(1, 21))


def test_one_content_serves_many_boxes_and_one_copy_each(store: Store, zoe: Bal) -> None:
    other = add_bal(store, "ana@hopital-a.test")
    accept(store, store.seal(message()), [zoe, other, zoe])
    assert store.check().counted["blobs"] == 1
    for bal in (zoe, other):
        mailbox = inbox(store, bal)
        assert store.read(partial(Reading.body, mailbox=mailbox, uid=Uid(1))).result() == message()
        assert len(store.read(partial(Reading.messages, mailbox=mailbox)).result()) == 1


def test_who_wrote_is_remembered_per_box(store: Store, zoe: Bal) -> None:
    other = add_bal(store, "ana@hopital-a.test")
    accept(store, store.seal(message()), [zoe])
    upper = Address.parse(str(SENDER).upper())
    assert store.read(lambda r: r.has_written(zoe.id, upper)).result()
    assert not store.read(lambda r: r.has_written(other.id, SENDER)).result()


@pytest.mark.requirement("OP-74")
def test_a_transfer_is_traced_with_its_fields(store: Store, zoe: Bal) -> None:
    queued = recipients("bob@cabinet-c.test")
    envelope, _ = accept(store, store.seal(message()), [zoe], queued)
    (trace,) = store.read(lambda r: r.transfers(envelope)).result()
    assert trace.transfer == TRANSFER
    assert trace.message_id == "<1@cabinet-b.test>"
    assert trace.headers == (("x-mss-nil", "ESSAI-0001"),)
    assert trace.sender == SENDER
    assert trace.recipients == ("zoe@hopital-a.test", "bob@cabinet-c.test")
    assert trace.domains == ("cabinet-b.test", "cabinet-c.test", "hopital-a.test")
    assert trace.size_octets == len(message())


def test_a_refusal_is_recorded_without_the_message(store: Store) -> None:
    envelope = Envelope(store.new_envelope_id(), SENDER, recipients("x@hopital-a.test"), NOW)
    for _ in range(2):
        store.write(
            lambda w: w.reject(envelope, TRANSFER, b"{}", owner=Domain("cabinet-b.test"))
        ).result()
    kinds = [event.kind for event in store.read(lambda r: r.events(envelope.id)).result()]
    assert kinds == ["rejet", "rejet"]
    assert store.check().counted["blobs"] == 0


def test_facts_are_kept_for_their_time_only(store: Store, zoe: Bal) -> None:
    envelope, _ = accept(store, store.seal(message()), [zoe])
    assert store.read(lambda r: r.facts(envelope)).result() == b'{"rule":"listed"}'
    store.write(lambda w: w.prune(NOW.replace(year=2027))).result()
    assert store.read(lambda r: r.facts(envelope)).result() is None
    assert len(store.read(lambda r: r.events(envelope)).result()) == 2


def test_a_delivery_to_a_mailbox_that_is_gone_goes_to_inbox(store: Store, zoe: Bal) -> None:
    letter = store.seal(message())
    envelope = Envelope(store.new_envelope_id(), None, (Recipient(zoe.address),), NOW)
    accepted = store.write(
        lambda w: w.accept(
            envelope,
            letter,
            local=[LocalDelivery(zoe.id, Recipient(zoe.address), "Gone", frozenset({"\\Seen"}))],
            queued=(),
            skip=0,
            owner=zoe.id,
            transfer=TRANSFER,
            facts=b"",
        )
    ).result()
    assert accepted.stored[zoe.id].mailbox == inbox(store, zoe)


def test_the_content_of_what_bounces_for_everybody_is_not_kept(store: Store, zoe: Bal) -> None:
    envelope = Envelope(store.new_envelope_id(), SENDER, recipients("a@c.test"), NOW)
    letter = store.seal(message(body=bytes(200_000)))
    store.write(
        lambda w: w.accept(
            envelope,
            letter,
            local=(),
            queued=(),
            skip=0,
            owner=zoe.id,
            transfer=TRANSFER,
            facts=b"",
        )
    ).result()
    assert store.check().counted["blobs"] == 0
    assert len(store.read(lambda r: r.events(envelope.id)).result()) == 1


def _accepting(
    envelope: Envelope, letter: Letter, bal: BalId, zoe: Bal
) -> Callable[[Writing], None]:
    def job(writing: Writing) -> None:
        writing.accept(
            envelope,
            letter,
            local=[LocalDelivery(bal, Recipient(zoe.address))],
            queued=(),
            skip=SKIP,
            owner=zoe.id,
            transfer=TRANSFER,
            facts=b"",
        )

    return job

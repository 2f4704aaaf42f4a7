"""The scripted workload: every kind of write the store knows, in a seeded order.

An operation is a function of a `Hand` (one process with the store open); each of its commits is a
step with its own answer. What it picks comes from the number of the operation and the seed alone:
the same script on the same store does the same.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from mssmtp.config import StoreSettings
from mssmtp.mail import (
    Address,
    BalId,
    BalType,
    Envelope,
    EnvelopeId,
    MailboxId,
    Recipient,
    Uid,
)
from mssmtp.storage import (
    Accepted,
    LocalDelivery,
    Outcome,
    Store,
    Transfer,
    Writing,
)
from mssmtp.storage.copying import CopyId
from tests.crash import people as holders
from tests.crash.ledger import Place, Reply
from tests.storage.support import CABINET, RPPS, SENDER, TRANSFER

T = TypeVar("T")

PEOPLE = ("zoe@hopital-a.test", "ana@hopital-a.test")
STARTED = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SMALL_OCTETS = 16_384
"""Letters above it become files; the least the settings allow would do as well."""
REMOTE = ("luc@cabinet-b.test", "eva@cabinet-b.test", "max@clinique-c.test")


class LabClock:
    """A clock that is told what time it is."""

    def __init__(self) -> None:
        self.time = STARTED

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


class LabEntropy:
    """Randomness that comes again with the same seed: runs can be compared octet for octet."""

    def __init__(self, seed: str) -> None:
        self._source = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def begin(self, seed: str) -> None:
        """From here on as after the same beginning in any other run."""
        self._source.seed(seed)

    def token_bytes(self, octets: int) -> bytes:
        return self._source.randbytes(octets)


def settings(home: Path) -> StoreSettings:
    """Settings of a store of the laboratory."""
    return StoreSettings.model_validate(
        {
            "home": home,
            "master_key_file": home / "master.key",
            "small_octets": SMALL_OCTETS,
            "read_threads": 1,
        }
    )


class Teller(Protocol):
    """Who is told of every step."""

    def begins(self) -> None:
        """A commit may happen from now on."""
        ...

    def answered(self, reply: Reply) -> None:
        """It was acknowledged."""
        ...


class Hand:
    """One process at work: its store, and the chance of the operation it is doing."""

    def __init__(self, home: Path, number: int, seed: int, teller: Teller) -> None:
        self.number = number
        self._teller = teller
        self._home = home
        self._seed = seed
        self._clock = LabClock()
        self._entropy = LabEntropy(f"{seed}/{number}")
        self.operation = 0
        self.jumps = False
        self._store: Store | None = None
        self.random = random.Random()  # noqa: S311

    @property
    def store(self) -> Store:
        """The open store, opened now if it is not."""
        if self._store is None:
            self._store = Store(
                settings(self._home), self._clock, self._entropy, worker=f"hand{self.number}"
            )
        return self._store

    @property
    def is_open(self) -> bool:
        """Whether this process has the store open."""
        return self._store is not None

    @property
    def now(self) -> datetime:
        """The time of the operation."""
        return self._clock.time

    def create(self) -> None:
        """Make the store."""
        Store.create(settings(self._home), self._clock, self._entropy)

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def begin(self, operation: int) -> None:
        """Be ready for an operation: its time, its chance."""
        self.operation = operation
        jump = timedelta(days=365 * (operation % 3 - 1)) if self.jumps else timedelta()
        self._clock.time = STARTED + timedelta(seconds=operation) + jump
        self.random.seed(f"{self._seed}/{operation}")
        self._entropy.begin(f"{self._seed}/{self.number}/{operation}")

    def settle(self) -> None:
        """Wait until what follows the last answer is done too."""
        if self._store is not None:
            self._store.write(lambda w: None).result()

    # ------------------------------------------------------------ what operations are made of

    def do(self, job: Callable[[Writing], T], said: Callable[[T], Reply] | None = None) -> T:
        """One step: one job in one commit. `said` makes of its result what it promises."""
        return self.together([job], (lambda found: said(found[0])) if said else None)[0]

    def together(
        self,
        jobs: Sequence[Callable[[Writing], T]],
        said: Callable[[list[T]], Reply] | None = None,
    ) -> list[T]:
        """One step: several jobs in one commit, for they wait behind one that waits for them."""
        reached, gate = threading.Event(), threading.Event()

        def wait(writing: Writing) -> None:
            reached.set()
            gate.wait(60)

        self._teller.begins()
        blocked = self.store.write(wait)
        reached.wait(60)  # what comes now is not in its commit
        futures = [self.store.write(job) for job in jobs]
        gate.set()
        blocked.result()
        found = [future.result() for future in futures]
        self._teller.answered(said(found) if said else Reply())
        self.settle()
        return found

    @contextmanager
    def stepping(self) -> Iterator[Store]:
        """The store, each of whose commits is a step: for what makes many by itself."""
        store = self.store
        real = store.write

        def write(job: Callable[[Writing], T], **options: int) -> Future[T]:
            self._teller.begins()
            future = real(job, **options)
            if future.exception() is None:
                self._teller.answered(Reply())
            return future

        store.write = write  # type: ignore[method-assign]
        try:
            yield store
        finally:
            store.write = real  # type: ignore[method-assign]

    def octets(self, size: int) -> bytes:
        """A letter like no other."""
        name = f"{self.operation}.{self.random.randrange(1 << 48):012x}"
        head = (
            f"Return-Path: <{SENDER}>\r\nMessage-ID: <{name}@cabinet-b.test>\r\n"
            f"From: {SENDER}\r\nTo: {PEOPLE[0]}\r\nSubject: essai {name}\r\n\r\n"
        ).encode()
        # Hexadecimal of chance: half of it is left after compression.
        return head + self.random.randbytes(max(0, size - len(head)) // 2).hex().encode()

    @staticmethod
    def sha256(octets: bytes) -> str:
        """As the ledger names what was sent."""
        return hashlib.sha256(octets).hexdigest()

    def bal(self, number: int) -> BalId:
        """One of the people."""
        address = Address.parse(PEOPLE[number])
        found = self.store.read(lambda r: r.bal(address)).result()
        assert found is not None
        return found.id

    def mailbox(self, number: int, name: str) -> MailboxId:
        """Id of a mailbox of one of the people."""
        bal = self.bal(number)
        found = self.store.read(lambda r: r.mailbox(bal, name)).result()
        assert found is not None, name
        return found.id

    def uids(self, mailbox: MailboxId) -> list[Uid]:
        """UIDs there are."""
        return self.store.read(lambda r: r.uids(mailbox)).result()

    def some(self, mailbox: MailboxId, most: int) -> list[Uid]:
        """A few UIDs."""
        there = self.uids(mailbox)
        return sorted(self.random.sample(there, min(most, len(there))))


# ---------------------------------------------------------------- delivery


def accepting(
    hand: Hand, octets: bytes, bals: Sequence[BalId], remote: Sequence[str] = ()
) -> Callable[[Writing], Reply]:
    """The job of a door that takes a letter; the letter is sealed already when this returns."""
    letter = hand.store.seal(octets)
    local = [
        LocalDelivery(bal, Recipient(Address.parse(PEOPLE[index])))
        for index, bal in enumerate(bals)
    ]
    queued = [Recipient(Address.parse(address)) for address in remote]
    envelope = Envelope(
        hand.store.new_envelope_id(),
        SENDER,
        (*(delivery.recipient for delivery in local), *queued),
        hand.now,
    )
    sha = hand.sha256(octets)

    def job(writing: Writing) -> Reply:
        done: Accepted = writing.accept(
            envelope,
            letter,
            local=local,
            queued=queued,
            skip=octets.index(b"\r\n") + 2,
            owner=CABINET,
            transfer=TRANSFER,
            facts=b'{"rule":"listed"}',
        )
        return Reply(
            stored={(copy.mailbox, copy.uid): sha for copy in done.stored.values()},
            queued={f"{envelope.id}/{position}" for position in range(len(queued))},
        )

    return job


def _same(reply: Reply) -> Reply:
    return reply


def merged(replies: Sequence[Reply]) -> Reply:
    """Several answers as one."""
    whole = Reply()
    for reply in replies:
        whole.stored |= reply.stored
        whole.copied |= reply.copied
        whole.gone |= reply.gone
        whole.queued |= reply.queued
        whole.unqueued |= reply.unqueued
    return whole


def deliver(hand: Hand) -> None:
    """A small letter for both."""
    hand.do(accepting(hand, hand.octets(700), [hand.bal(0), hand.bal(1)]), _same)


def deliver_large(hand: Hand) -> None:
    """A letter that becomes a file, for both."""
    hand.do(accepting(hand, hand.octets(40_000), [hand.bal(0), hand.bal(1)]), _same)


def deliver_huge(hand: Hand) -> None:
    """A letter of several chunks, for one here and one elsewhere."""
    hand.do(accepting(hand, hand.octets(300_000), [hand.bal(0)], REMOTE[:1]), _same)


def deliver_together(hand: Hand) -> None:
    """Nine letters in one commit, two of them files."""
    sizes = [700] * 7 + [36_000] * 2
    both = [hand.bal(0), hand.bal(1)]
    jobs = [accepting(hand, hand.octets(size), both[:1] if size < 900 else both) for size in sizes]
    hand.together(jobs, merged)


def bulk(hand: Hand) -> None:
    """Many small letters in one commit."""
    bal = hand.bal(0)
    hand.together([accepting(hand, hand.octets(400), [bal]) for _ in range(130)], merged)


def append(hand: Hand) -> None:
    """APPEND, small or large."""
    octets = hand.octets(hand.random.choice((500, 40_000)))
    mailbox = hand.mailbox(1, "Sent")
    letter = hand.store.seal(octets)
    flags = frozenset({"\\Seen", "$Envoi"})
    hand.do(
        lambda w: w.append(mailbox, letter, flags, hand.now),
        lambda uid: Reply(stored={(mailbox, uid): hashlib.sha256(octets).hexdigest()}),
    )


# ---------------------------------------------------------------- mailboxes


def flag(hand: Hand) -> None:
    """Set, take and replace flags, one of them a keyword."""
    mailbox = hand.mailbox(0, "INBOX")
    uids = hand.some(mailbox, 6)
    hand.do(lambda w: w.store_flags(mailbox, uids, "+", frozenset({"\\Seen", "Urgent"})))
    hand.do(lambda w: w.store_flags(mailbox, uids[:2], "-", frozenset({"\\Seen"})))


def expunge(hand: Hand) -> None:
    """Two messages, files among them."""
    mailbox = hand.mailbox(1, "INBOX")
    uids = hand.some(mailbox, 2)
    hand.do(lambda w: w.store_flags(mailbox, uids, "+", frozenset({"\\Deleted"})))
    hand.do(
        lambda w: w.expunge(mailbox),
        lambda gone: Reply(gone={(mailbox, uid) for uid in gone}),
    )


def move(hand: Hand) -> None:
    """MOVE to the archive."""
    source, target = hand.mailbox(0, "INBOX"), hand.mailbox(0, "Archive")
    uids = hand.some(source, 3)
    hand.do(
        lambda w: w.move(source, uids, target),
        lambda pairs: Reply(
            copied={(target, new): (source, old) for old, new in pairs},
            gone={(source, old) for old, _ in pairs},
        ),
    )


def copy(hand: Hand) -> None:
    """COPY to another person's mailbox, as of a shared one."""
    source, target = hand.mailbox(0, "INBOX"), hand.mailbox(1, "Drafts")
    uids = hand.some(source, 3)
    hand.do(
        lambda w: w.copy(source, uids, target),
        lambda pairs: Reply(copied={(target, new): (source, old) for old, new in pairs}),
    )


def copy_in_batches(hand: Hand) -> None:
    """Two COPYs of several commits: one comes to its end, one is undone half way."""
    source, target = hand.mailbox(0, "INBOX"), hand.mailbox(0, "Drafts")
    uids = hand.some(source, 4)
    for is_whole in (True, False):
        copy, _ = hand.do(
            lambda w: _batch(w, source, uids[:2], target),
            lambda done: Reply(copied={(target, new): (source, old) for old, new in done[1]}),
        )

        def last(w: Writing, copy: CopyId = copy) -> list[tuple[Uid, Uid]]:
            pairs = w.copy(source, uids[2:], target)
            w.end_copy(copy)
            return pairs

        def undo(w: Writing, copy: CopyId = copy) -> list[Uid]:
            before = w.uids(target)
            w.undo_copy(copy)
            return sorted(set(before) - set(w.uids(target)))

        if is_whole:
            hand.do(
                last,
                lambda pairs: Reply(copied={(target, new): (source, old) for old, new in pairs}),
            )
        else:
            hand.do(undo, lambda gone: Reply(gone={(target, uid) for uid in gone}))


def _batch(
    writing: Writing, source: MailboxId, uids: Sequence[Uid], target: MailboxId
) -> tuple[CopyId, list[tuple[Uid, Uid]]]:
    pairs = writing.copy(source, uids, target)
    return writing.begin_copy(target, [uid for _, uid in pairs]), pairs


def create_mailbox(hand: Hand) -> None:
    """CREATE with a parent, and a letter in it."""
    octets = hand.octets(600)
    bal, letter = hand.bal(0), hand.store.seal(octets)
    name = f"Patients/{hand.operation}"

    def job(writing: Writing) -> Place:
        made = writing.create_mailbox(bal, name)
        return made.id, writing.append(made.id, letter, frozenset(), hand.now)

    hand.do(job, lambda place: Reply(stored={place: hashlib.sha256(octets).hexdigest()}))


def _made(hand: Hand) -> list[str]:
    bal = hand.bal(0)
    found = hand.store.read(lambda r: r.mailboxes(bal)).result()
    return [box.name for box in found if box.name.startswith("Patients/")]


def rename_mailbox(hand: Hand) -> None:
    """RENAME, if there is anything to rename."""
    bal, names = hand.bal(0), _made(hand)
    if names:
        new = f"Patients/renommé {hand.operation}"
        hand.do(lambda w: w.rename_mailbox(bal, names[0], new))


def delete_mailbox(hand: Hand) -> None:
    """DELETE with what is in it, and CREATE of the same name: another UIDVALIDITY."""
    bal, names = hand.bal(0), _made(hand)
    if not names:
        return
    mailbox = hand.mailbox(0, names[-1])
    gone = {(int(mailbox), int(uid)) for uid in hand.uids(mailbox)}

    def job(writing: Writing) -> None:
        writing.delete_mailbox(bal, names[-1])
        writing.create_mailbox(bal, names[-1])

    hand.do(job, lambda _: Reply(gone=gone))


# ---------------------------------------------------------------- queue, people, upkeep


def enqueue(hand: Hand) -> None:
    """A letter for three elsewhere."""
    hand.do(accepting(hand, hand.octets(900), [], REMOTE), _same)


def work_queue(hand: Hand) -> None:
    """Lease, then delivered, to be tried again, failed."""
    outcomes = []
    for lease in hand.do(lambda w: w.lease(hand.now, 4, f"hand{hand.number}")):
        for recipient in lease.recipients:
            result = hand.random.choice(("delivered", "retry", "failed"))
            outcomes.append(_outcome(lease.envelope.id, recipient, result, hand.now))
    done = {_waiting(o.envelope, o.recipient) for o in outcomes if o.result != "retry"}
    hand.do(lambda w: w.record(outcomes, OUTBOUND), lambda _: Reply(unqueued=done))


OUTBOUND = Transfer(
    direction="out",
    door=TRANSFER.door,
    peer_address="192.0.2.9",
    verdict="delivered",
    reply="250 2.0.0 ok",
)


def _waiting(envelope: EnvelopeId, recipient: Recipient) -> str:
    """Name of a row of the queue: envelope and position."""
    return f"{envelope}/{REMOTE.index(str(recipient.address))}"


def _outcome(envelope: EnvelopeId, recipient: Recipient, result: str, now: datetime) -> Outcome:
    if result == "retry":
        later = now + timedelta(minutes=5)
        return Outcome(envelope, recipient, "retry", "451 4.7.1 later", later)
    if result == "failed":
        return Outcome(envelope, recipient, "failed", "550 5.1.1 unknown")
    return Outcome(envelope, recipient, "delivered", "250 2.0.0 ok")


def drop(hand: Hand) -> None:
    """The administrator gives up the oldest envelope."""
    waiting = hand.store.read(lambda r: r.queue()).result()
    if not waiting:
        return
    oldest = waiting[0].envelope
    gone = {_waiting(oldest, e.recipient) for e in waiting if e.envelope == oldest}
    hand.do(lambda w: w.drop(oldest, "essai"), lambda _: Reply(unqueued=gone))


def reject(hand: Hand) -> None:
    """A refusal: evidence alone."""
    to = Recipient(Address.parse(PEOPLE[0]))
    envelope = Envelope(hand.store.new_envelope_id(), SENDER, (to,), hand.now)
    hand.do(lambda w: w.reject(envelope, TRANSFER, b"{}", owner=CABINET))


def people(hand: Hand) -> None:
    """A password made and revoked, a subscription."""
    bal = hand.bal(0)
    account = hand.store.read(lambda r: r.account(PEOPLE[0])).result()
    assert account is not None
    made = hand.do(lambda w: w.add_app_password(account.id, "poste", "argon2", "scram"))
    is_odd = bool(hand.operation % 2)
    jobs = (lambda w: w.revoke_app_password(made), lambda w: w.subscribe(bal, "Junk", on=is_odd))
    hand.together(jobs)


def fold(hand: Hand) -> None:
    """Throw packs away, read all summaries: packs of full windows are made again."""
    hand.do(lambda w: w.drop_packs())
    mailbox = hand.mailbox(0, "INBOX")
    uids = hand.uids(mailbox)
    hand.store.read(lambda r: list(r.summaries(mailbox, uids))).result()


def prune(hand: Hand) -> None:
    """The daily upkeep, long after: facts go, files of shredded messages too."""
    hand.do(lambda w: w.prune(hand.now + timedelta(days=4_000)))
    hand.do(lambda w: w.prune(hand.now))


def rotate(hand: Hand) -> None:
    """Every key replaced, those of the messages too: all rows and files anew."""
    with hand.stepping() as store:
        assert store.rotate_master().is_finished
        assert store.rotate_owners(None).is_finished
        assert store.rotate_messages(None).is_finished


def create_people(hand: Hand) -> None:
    """The people of the script."""
    for address in map(Address.parse, PEOPLE):
        hand.do(partial(_create_person, address))


def _create_person(address: Address, writing: Writing) -> None:
    writing.create_bal(address, BalType.PER, national_id=RPPS, login=str(address))


def create(hand: Hand) -> None:
    """The store itself."""
    hand.create()


def start(hand: Hand) -> None:
    """Open the store."""
    assert hand.store


def stop(hand: Hand) -> None:
    """Close it: whoever is last makes one file of it."""
    hand.close()


def look(hand: Hand) -> None:
    """A commit without rows, and every invariant."""
    hand.settle()
    problems = hand.store.check().problems
    assert problems == (), problems


MIXED: tuple[Callable[[Hand], None], ...] = (
    deliver,
    deliver_large,
    deliver_huge,
    deliver_together,
    append,
    flag,
    expunge,
    move,
    copy,
    copy_in_batches,
    create_mailbox,
    rename_mailbox,
    delete_mailbox,
    enqueue,
    work_queue,
    drop,
    reject,
    people,
    fold,
    prune,
    rotate,
    *holders.OPERATIONS,
)
OPERATIONS: dict[str, Callable[[Hand], None]] = {
    operation.__name__: operation
    for operation in (*MIXED, create_people, bulk, create, start, stop, look)
}

OPENING_STEPS = ("create", "start", "create_people")

Step = tuple[int, str]
"""Which hand does what."""


def script(seed: int, rounds: int, bulks: int) -> tuple[Step, ...]:
    """`rounds` times every mixed operation in another order by two hands taking turns, after
    `bulks` commits of 130 letters; a restart of both after each round."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    steps: list[Step] = [*((0, name) for name in OPENING_STEPS), (1, "start")]
    steps += [(number % 2, "bulk") for number in range(bulks)]
    for _ in range(rounds):
        names = [operation.__name__ for operation in MIXED]
        names += ["deliver", "deliver_together", "enqueue"]
        chance.shuffle(names)
        steps += [(chance.randrange(2), name) for name in ["deliver", "create_mailbox", *names]]
        steps += [(0, "stop"), (1, "stop"), (1, "start"), (0, "start")]
    return tuple(steps)

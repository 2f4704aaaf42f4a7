"""Make a big store fast: for benchmarks of search, start-up, check.

    python -m bench.fill DIR --messages 1000000 [--boxes 1] [--mailboxes 1] [--octets 3000]
                             [--distinct 2000] [--delivered 0] [--queued 0]

DIR is a new directory, then it is the store's home and holds `master.key`; of a directory made by
`mssmtp init` the store named by its settings is filled. Messages are sealed one by one under keys
of their own; only their texts repeat (`--distinct` of them). They are written by jobs of the store,
many rows at once; `--delivered` and `--queued` go through `accept`, with envelope, ledger and
trace, and are slower. `Store.check` finds the result sound.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import bindparam, insert, select, update

from bench.letters import letter
from mssmtp.config import StoreSettings, load
from mssmtp.mail import (
    Address,
    Bal,
    BalType,
    BlobId,
    Domain,
    Door,
    Envelope,
    MailboxId,
    Recipient,
)
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Letter, LocalDelivery, Store, Transfer, Writing
from mssmtp.storage.contents import SUMMARY
from mssmtp.storage.keys import KEY_OCTETS
from mssmtp.storage.letters import SealedBlob
from mssmtp.storage.model import to_us
from mssmtp.storage.schema import blob_keys, blobs, mailboxes, messages, sql
from mssmtp.storage.sealing import CHUNK_OCTETS, ChunkSealer

BATCH = 4_000
ACCEPTED_AT_ONCE = 200
DOMAIN = "hopital-a.test"
PEER = Domain("cabinet-b.test")
SENDER = Address.parse("marius@cabinet-b.test")
BEGIN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
CLOCK, ENTROPY = SystemClock(), SystemEntropy()
_TRANSFER = Transfer("in", Door.OPERATOR, "192.0.2.7", "accept", "250 2.0.0 pris en charge")
_SEEN = 1
_UNSEEN_EVERY = 4

_COLUMNS = ("id", "size", "envelope", "chunks", "data")
_NEW_BLOB = sql(insert(blobs).values({name: bindparam(name) for name in _COLUMNS}))
_NUMBERS = sql(
    select(blobs.c.number)
    .where(blobs.c.id.between(bindparam("low"), bindparam("high")))
    .order_by(blobs.c.id)
)
_NEW_KEY = sql(insert(blob_keys))
_NEW_MESSAGE = sql(insert(messages))
_COUNTERS = sql(
    select(mailboxes.c.uid_next, mailboxes.c.highest_modseq).where(
        mailboxes.c.id == bindparam("mailbox")
    )
)
_ADD = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox"))
    .values(
        uid_next=mailboxes.c.uid_next + bindparam("more"),
        highest_modseq=mailboxes.c.highest_modseq + bindparam("more"),
        messages=mailboxes.c.messages + bindparam("more"),
        unseen=mailboxes.c.unseen + bindparam("more_unseen"),
        size=mailboxes.c.size + bindparam("more_size"),
    )
)

Jobs = Iterator[tuple[int, Future[None]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make. `octets`: about, of one message; all but `messages` and `octets` are counts."""

    messages: int
    boxes: int = 1
    mailboxes: int = 1
    octets: int = 3_000
    distinct: int = 2_000
    delivered: int = 0
    queued: int = 0

    @property
    def total(self) -> int:
        """How many messages that is."""
        return self.messages + self.delivered + self.queued


@dataclass(frozen=True, slots=True)
class _Text:
    """One distinct letter, scanned once."""

    octets: bytes
    letter: Letter

    def sealed(self, id: BlobId) -> SealedBlob:
        """The same text as one more message: another id, another key."""
        key = ENTROPY.token_bytes(KEY_OCTETS)
        sealer = ChunkSealer(id, key)
        data = sealer.seal(self.octets, last=True)
        return SealedBlob(id, key, sealer.index(), data)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Messages for one mailbox, sealed already; `write` is the job."""

    bal: Bal
    mailbox: MailboxId
    texts: list[_Text]
    blobs: list[SealedBlob]

    def write(self, writing: Writing) -> None:
        numbers = self._add_blobs(writing)
        key = writing._bal_key(self.bal.id)
        keys = [
            {
                "blob": number,
                "owner": key.id,
                "references": 1,
                "wrapped": key.wrap(blob.id, blob.key),
                "summary": key.seal(SUMMARY + blob.id, text.letter.summary),
            }
            for number, text, blob in zip(numbers, self.texts, self.blobs, strict=True)
        ]
        writing._db.executemany(_NEW_KEY, keys)
        self._add_messages(writing, numbers)

    def _add_blobs(self, writing: Writing) -> list[int]:
        rows = [
            {
                "id": blob.id,
                "size": len(text.octets),
                "envelope": None,
                "chunks": blob.index,
                "data": blob.data,
            }
            for text, blob in zip(self.texts, self.blobs, strict=True)
        ]
        writing._db.executemany(_NEW_BLOB, rows)
        # Ids ascend, so their order is that of the batch.
        found = writing._all(_NUMBERS, low=self.blobs[0].id, high=self.blobs[-1].id)
        return [number for (number,) in found]

    def _add_messages(self, writing: Writing, numbers: list[int]) -> None:
        uid, modseq = writing._new(_COUNTERS, mailbox=self.mailbox)
        flags = [_SEEN if (uid + step) % _UNSEEN_EVERY else 0 for step in range(len(numbers))]
        rows = [
            {
                "mailbox": self.mailbox,
                "uid": uid + step,
                "modseq": modseq + step + 1,
                "flags": flags[step],
                "size": len(self.texts[step].octets),
                "internal_date": to_us(BEGIN + timedelta(minutes=uid + step)),
                "blob": number,
                "saved_at": None,
            }
            for step, number in enumerate(numbers)
        ]
        writing._db.executemany(_NEW_MESSAGE, rows)
        writing._run(
            _ADD,
            mailbox=self.mailbox,
            more=len(rows),
            more_unseen=flags.count(0),
            more_size=sum(len(text.octets) for text in self.texts),
        )


class Filler:
    """Fills one store by `plan`."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self._store = store
        self._plan = plan
        count = max(1, min(plan.distinct, plan.total))
        octets = [letter(number, plan.octets) for number in range(count)]
        if max(map(len, octets)) > CHUNK_OCTETS:
            raise SystemExit("--octets: at most about 40,000")
        self._texts = itertools.cycle([_Text(each, store.seal(each)) for each in octets])

    def run(self) -> Iterator[int]:
        """Write everything; yields how many messages are on disk so far."""
        written = 0
        waiting: deque[tuple[int, Future[None]]] = deque()
        for job in itertools.chain(self._appended(), self._accepted(), self._relayed()):
            waiting.append(job)
            while len(waiting) > 1:  # one is written while the next is sealed
                count, future = waiting.popleft()
                future.result()
                written += count
                yield written
        for count, future in waiting:
            future.result()
            written += count
            yield written

    def _boxes(self) -> list[Bal]:
        def job(writing: Writing) -> list[Bal]:
            addresses = [Address.parse(f"boite{n:05d}@{DOMAIN}") for n in range(self._plan.boxes)]
            return [
                writing.bal(each) or writing.create_bal(each, BalType.MED, login=str(each))
                for each in addresses
            ]

        return self._store.write(job).result()

    def _places(self) -> list[tuple[Bal, MailboxId]]:
        """The mailboxes to fill: INBOX first, made when they are not there."""
        names = ["INBOX", *(f"Dossier {n:05d}" for n in range(1, self._plan.mailboxes))]

        places: list[tuple[Bal, MailboxId]] = []
        for bal in self._boxes():

            def job(writing: Writing, bal: Bal = bal) -> None:
                for name in names:
                    found = writing.mailbox(bal.id, name) or writing.create_mailbox(bal.id, name)
                    places.append((bal, found.id))

            self._store.write(job).result()
        return places

    def _appended(self) -> Jobs:
        places = self._places()
        share, rest = divmod(self._plan.messages, len(places))
        for index, (bal, mailbox) in enumerate(places):
            for count in _shares(share + (index < rest), BATCH):
                texts = list(itertools.islice(self._texts, count))
                batch = _Batch(bal, mailbox, texts, [self._sealed(text) for text in texts])
                yield count, self._store.write(batch.write)

    def _accepted(self) -> Jobs:
        """Messages that came by an envelope: with ledger, trace and facts."""
        bals = itertools.cycle(self._boxes() if self._plan.delivered else ())
        for count in _shares(self._plan.delivered, ACCEPTED_AT_ONCE):
            chosen = [(next(bals), self._copy()) for _ in range(count)]

            def job(writing: Writing, chosen: list[tuple[Bal, Letter]] = chosen) -> None:
                for bal, found in chosen:
                    self._accept(writing, found, Recipient(bal.address), bal)

            yield count, self._store.write(job)

    def _relayed(self) -> Jobs:
        """Messages that wait for another operator."""
        for count in _shares(self._plan.queued, ACCEPTED_AT_ONCE):
            chosen = [self._copy() for _ in range(count)]

            def job(writing: Writing, chosen: list[Letter] = chosen) -> None:
                for number, found in enumerate(chosen):
                    to = Recipient(Address.parse(f"medecin{number:03d}@{PEER}"))
                    self._accept(writing, found, to, None)

            yield count, self._store.write(job)

    def _accept(self, writing: Writing, found: Letter, to: Recipient, bal: Bal | None) -> None:
        envelope = Envelope(self._store.new_envelope_id(), SENDER, (to,), CLOCK.now())
        writing.accept(
            envelope,
            found,
            local=[LocalDelivery(bal.id, to)] if bal else [],
            queued=[] if bal else [to],
            skip=0,
            owner=PEER,
            transfer=_TRANSFER,
            facts=b"{}",
        )

    def _sealed(self, text: _Text) -> SealedBlob:
        return text.sealed(BlobId(self._store._ids.new_octets()))

    def _copy(self) -> Letter:
        text = next(self._texts)
        return replace(text.letter, blob=self._sealed(text))


def _shares(whole: int, most: int) -> Iterator[int]:
    while whole > 0:
        yield min(whole, most)
        whole -= most


def settings_of(directory: Path) -> StoreSettings:
    """Of the home in `directory`; a store is made when there is none."""
    file = directory / "mssmtp.toml"
    if file.exists():
        return load(file).store
    found = StoreSettings(home=directory, master_key_file=directory / "master.key", quota_octets=0)
    if not (directory / "store.db").exists():
        Store.create(found, CLOCK, ENTROPY)
    return found


def main() -> None:
    """Fill DIR and print how fast it went."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    for name in ("messages", "boxes", "mailboxes", "octets", "distinct", "delivered", "queued"):
        default = getattr(Plan(0), name)
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    given = vars(parser.parse_args())
    directory: Path = given.pop("directory")
    plan = Plan(**given)
    with closing(Store(settings_of(directory), CLOCK, ENTROPY, worker="fill")) as store:
        filler = Filler(store, plan)
        began = time.monotonic()
        for written in filler.run():
            sys.stderr.write(f"\r{written:>9} of {plan.total}")
            sys.stderr.flush()
        seconds = time.monotonic() - began
    sys.stderr.write("\n")
    print(f"{plan.total} messages in {seconds:.1f} s: {plan.total / seconds:.0f}/s")


if __name__ == "__main__":
    main()

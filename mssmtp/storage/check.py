"""The invariants of a store, stated once (attacks.md §2). Nothing is repaired here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

from sqlalchemy import and_, func, literal_column, or_, select

from mssmtp.errors import Damaged
from mssmtp.mail import BlobId
from mssmtp.storage.contents import SUMMARY
from mssmtp.storage.identifiers import made_at_ms
from mssmtp.storage.ledger import FIRST_PREVIOUS, LINES, chain_digest, line_digest
from mssmtp.storage.model import CheckReport, to_us
from mssmtp.storage.queue import QueueReading
from mssmtp.storage.schema import (
    bals,
    blob_keys,
    blobs,
    doomed_files,
    envelopes,
    event_lines,
    events,
    expunged,
    mailboxes,
    messages,
    owners,
    packs,
    queue,
    sql,
)
from mssmtp.storage.sealing import ChunkReader
from mssmtp.storage.view import Row, Vault

MAX_PROBLEMS = 1_000

_COUNTED = {
    table.name: sql(select(func.count()).select_from(table))
    for table in (bals, mailboxes, messages, blobs, envelopes, queue, events)
}
_SEEN = messages.c.flags.bitwise_and(1)
_MAILBOXES = sql(
    select(
        mailboxes.c.id,
        mailboxes.c.bal,
        mailboxes.c.uid_validity,
        mailboxes.c.uid_next,
        mailboxes.c.highest_modseq,
        mailboxes.c.messages,
        mailboxes.c.unseen,
        mailboxes.c.size,
        mailboxes.c.recent_from,
    )
)
_TOTALS = sql(
    select(
        messages.c.mailbox,
        func.max(messages.c.uid),
        func.max(messages.c.modseq),
        func.count(),
        func.sum(1 - _SEEN),
        func.sum(messages.c.size),
        func.min(messages.c.uid),
    ).group_by(messages.c.mailbox)
)
_TOMBSTONES = sql(
    select(expunged.c.mailbox, func.max(expunged.c.uid), func.max(expunged.c.modseq)).group_by(
        expunged.c.mailbox
    )
)
_ZOMBIES = sql(
    select(messages.c.mailbox, messages.c.uid).join_from(
        messages,
        expunged,
        and_(expunged.c.mailbox == messages.c.mailbox, expunged.c.uid == messages.c.uid),
    )
)
_MISFITS = sql(
    select(messages.c.mailbox, messages.c.uid)
    .join_from(messages, blobs, blobs.c.number == messages.c.blob, isouter=True)
    .where(or_(blobs.c.number.is_(None), blobs.c.size != messages.c.size))
)
_MESSAGE_REFERENCES = sql(
    select(messages.c.blob, owners.c.id, func.count())
    .join_from(messages, mailboxes, mailboxes.c.id == messages.c.mailbox)
    .join(owners, owners.c.bal == mailboxes.c.bal)
    .group_by(messages.c.blob, owners.c.id)
)
_QUEUE_REFERENCES = sql(
    select(envelopes.c.blob, envelopes.c.owner).where(envelopes.c.blob.is_not(None))
)
_REFERENCES = sql(select(blob_keys.c.blob, blob_keys.c.owner, blob_keys.c.references))
_UNREFERRED = sql(
    select(blobs.c.number)
    .join_from(blobs, blob_keys, blob_keys.c.blob == blobs.c.number, isouter=True)
    .where(blob_keys.c.blob.is_(None))
)
_EVENTS = sql(
    select(events.c.number, events.c.clear, events.c.previous, events.c.digest).order_by(
        events.c.number
    )
)
_LINES = sql(select(event_lines.c.event, event_lines.c.owner, event_lines.c.sealed))
_CLEAR = sql(select(events.c.number, events.c.clear))
_WAITING = select(queue.c.envelope, func.count().label("waiting")).group_by(queue.c.envelope)
_LOST = sql(
    select(envelopes.c.id)
    .join_from(
        envelopes,
        _WAITING.subquery("w"),
        literal_column("w.envelope") == envelopes.c.id,
        isouter=True,
    )
    .where(
        envelopes.c.accepted
        != envelopes.c.delivered
        + envelopes.c.bounced
        + envelopes.c.dropped
        + func.coalesce(literal_column("w.waiting"), 0)
    )
)
_CONTENTLESS = sql(
    select(queue.c.envelope)
    .join_from(queue, envelopes, envelopes.c.id == queue.c.envelope, isouter=True)
    .where(or_(envelopes.c.id.is_(None), envelopes.c.blob.is_(None)))
)
_FILED = sql(select(blobs.c.id).where(blobs.c.data.is_(None)))
_DOOMED = sql(select(doomed_files.c.id))
_BLOBS = sql(
    select(
        blobs.c.number,
        blobs.c.id,
        blobs.c.size,
        blobs.c.chunks,
        blobs.c.data,
        blob_keys.c.owner,
        blob_keys.c.wrapped,
        blob_keys.c.summary,
    ).join_from(blobs, blob_keys, blob_keys.c.blob == blobs.c.number)
)
_PACKS = sql(
    select(packs.c.mailbox, packs.c.window, packs.c.count, func.count(messages.c.uid))
    .join_from(
        packs,
        messages,
        and_(
            messages.c.mailbox == packs.c.mailbox,
            messages.c.uid >= packs.c.window * literal_column("512"),
            messages.c.uid < (packs.c.window + 1) * literal_column("512"),
        ),
        isouter=True,
    )
    .group_by(packs.c.mailbox, packs.c.window, packs.c.count)
)


def check(view: QueueReading, vault: Vault, *, deep: bool) -> CheckReport:
    """Every invariant on one snapshot; `deep` also opens every sealed content and line.

    Problems name ids only. At most MAX_PROBLEMS are listed.
    """
    checker = _Checker(view, vault)
    counted = {name: int(checker.all(statement)[0][0]) for name, statement in _COUNTED.items()}
    parts: list[Callable[[], Iterator[str]]] = [
        checker.mailboxes,
        checker.contents,
        checker.references,
        checker.chain,
        checker.conservation,
        checker.files,
        checker.packs,
    ]
    if deep:
        parts += [checker.sealed_contents, checker.sealed_lines, checker.sealed_queue]
    problems: list[str] = []
    for part in parts:
        for problem in part():
            problems.append(problem)
            if len(problems) >= MAX_PROBLEMS:
                return CheckReport(counted, tuple(problems))
    return CheckReport(counted, tuple(problems))


class _Checker:
    def __init__(self, view: QueueReading, vault: Vault) -> None:
        self._view = view
        self._vault = vault
        # Before the snapshot is taken: what is unfinished now, or begun from now on, has no row.
        self._started_ms = to_us(vault.clock.now()) // 1_000
        self._partial = set(vault.files.unfinished())

    def all(self, statement: str) -> list[Row]:
        return self._view._all(statement)

    def mailboxes(self) -> Iterator[str]:
        """UIDs below UIDNEXT, modseqs at most the highest, counters right, UIDVALIDITY unique."""
        totals = {row[0]: row[1:] for row in self.all(_TOTALS)}
        buried = {row[0]: row[1:] for row in self.all(_TOMBSTONES)}
        validities: Counter[tuple[int, int]] = Counter()
        known = set()
        for id, bal, validity, uid_next, highest, *counters in self.all(_MAILBOXES):
            known.add(id)
            validities[bal, validity] += 1
            top_uid, top_modseq, count, unseen, size, least = totals.get(id, (0, 0, 0, 0, 0, 1))
            dead_uid, dead_modseq = buried.get(id, (0, 0))
            if max(top_uid, dead_uid) >= uid_next or least < 1:
                yield f"mailbox {id}: a UID is not below UIDNEXT"
            if max(top_modseq, dead_modseq) > highest:
                yield f"mailbox {id}: a modseq is above the highest"
            if [count, unseen, size] != counters[:3]:
                yield f"mailbox {id}: counters do not fit its messages"
            if not 0 < validity < 1 << 32:
                yield f"mailbox {id}: impossible UIDVALIDITY"
            if not 1 <= counters[3] <= uid_next:
                yield f"mailbox {id}: \\Recent beyond UIDNEXT"
        for (bal, validity), times in validities.items():
            if times > 1:
                yield f"bal {bal}: UIDVALIDITY {validity} is shared"
        for id in (totals.keys() | buried.keys()) - known:
            yield f"mailbox {id}: rows without mailbox"
        for mailbox, uid in self.all(_ZOMBIES):
            yield f"mailbox {mailbox}: UID {uid} is both there and expunged"

    def contents(self) -> Iterator[str]:
        """Every message has a blob of its size; every blob is referred to."""
        for mailbox, uid in self.all(_MISFITS):
            yield f"mailbox {mailbox}: UID {uid} has no content of its size"
        for (number,) in self.all(_UNREFERRED):
            yield f"blob {number}: nobody refers to it"

    def references(self) -> Iterator[str]:
        """Counted references of each owner are those there are."""
        expected: Counter[tuple[int, int]] = Counter()
        for blob, owner, count in self.all(_MESSAGE_REFERENCES):
            expected[blob, owner] += count
        for blob, owner in self.all(_QUEUE_REFERENCES):
            expected[blob, owner] += 1
        counted = {(blob, owner): count for blob, owner, count in self.all(_REFERENCES)}
        for key in expected.keys() | counted.keys():
            if expected.get(key, 0) != counted.get(key, 0):
                yield f"blob {key[0]}: references of owner {key[1]} are miscounted"

    def chain(self) -> Iterator[str]:
        """Every event names the digest of the one before, without a gap."""
        previous, number = FIRST_PREVIOUS, 0
        for found, clear, named, digest in self.all(_EVENTS):
            if found != number + 1:
                yield f"event {found}: {number + 1} is missing"
            stated = json.loads(clear)
            if named != previous or stated["previous"] != previous.hex():
                yield f"event {found}: the chain is broken"
            if chain_digest(clear) != digest or stated["number"] != found:
                yield f"event {found}: its digest does not fit"
            previous, number = digest, found

    def conservation(self) -> Iterator[str]:
        """accepted = delivered + bounced + dropped + waiting, for each envelope (D3)."""
        for (id,) in self.all(_LOST):
            yield f"envelope {id}: recipients are lost or counted twice"
        for (id,) in self.all(_CONTENTLESS):
            yield f"envelope {id}: waits without content"

    def files(self) -> Iterator[str]:
        """Every large blob has its file, every file its blob."""
        filed = {bytes(row[0]) for row in self.all(_FILED)}
        doomed = {bytes(row[0]) for row in self.all(_DOOMED)}
        there = set(self._vault.files.names())
        for id in sorted(filed - there):
            yield f"blob {id.hex()}: its file is missing"
        for id in sorted(there - filed - doomed - self._partial):
            if made_at_ms(id) < self._started_ms:
                yield f"file {id.hex()}: no blob refers to it"

    def packs(self) -> Iterator[str]:
        """A pack holds as many summaries as its window has messages."""
        for mailbox, window, count, actual in self.all(_PACKS):
            if count != actual:
                yield f"mailbox {mailbox}: pack {window} is out of date"

    def sealed_contents(self) -> Iterator[str]:
        """Every content and summary authenticates under every owner's key."""
        # One at a time: contents do not fit into memory together.
        for row in self._view._each(_BLOBS):
            number, id, size, index, data, owner, wrapped, summary = row
            try:
                key = self._view._owner_key(owner)
                opened = key.unwrap(id, wrapped)
                if summary is not None:
                    key.open(SUMMARY + id, summary)
                ChunkReader(id, opened, index, size, self._source(BlobId(id), data)).verify()
            except Damaged as error:
                yield f"blob {number}: {error}"

    def sealed_lines(self) -> Iterator[str]:
        """Every sealed line opens and has the digest the chain holds."""
        clear: dict[int, str] = {row[0]: row[1] for row in self.all(_CLEAR)}
        for event, owner, sealed in self.all(_LINES):
            try:
                octets = self._view._owner_key(owner).open(LINES + str(event).encode(), sealed)
            except Damaged:
                yield f"event {event}: its lines do not authenticate"
                continue
            digests = [line_digest(line) for line in json.loads(octets)]
            if digests != json.loads(clear[event])["sealed"]:
                yield f"event {event}: its lines are not those of the chain"

    def sealed_queue(self) -> Iterator[str]:
        """Every waiting recipient can be read."""
        for entry in self._view.queue():
            if entry.damaged:
                yield f"queue: a recipient of {entry.envelope} does not authenticate"

    def _source(self, blob: BlobId, data: bytes | None) -> Callable[[int, int], bytes]:
        if data is None:
            return self._vault.files.source(blob)
        return lambda offset, octets: data[offset : offset + octets]

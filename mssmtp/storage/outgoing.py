"""What a busy relay reads and writes down of many letters at once.

One by one a letter is five reads and a dozen statements, and as many changes of threads; most are
alike: to one recipient, who has it. Everything else goes the long way (`queue.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, delete, exists, insert, or_, select, update

from mssmtp.errors import Damaged, MailError
from mssmtp.mail import BlobId, EnvelopeId
from mssmtp.storage.contents import ContentReading
from mssmtp.storage.delivery import StoredEnvelope
from mssmtp.storage.model import NoSuchMessage, Settled
from mssmtp.storage.portions import portions, several
from mssmtp.storage.queue import QueueWriting
from mssmtp.storage.schema import blob_keys, blobs, doomed_files, envelopes, queue, sql
from mssmtp.storage.sealing import ChunkReader

_CONTENTS = sql(
    select(
        envelopes.c.id,
        envelopes.c.owner,
        blobs.c.id,
        blobs.c.size,
        blobs.c.chunks,
        blobs.c.data,
        blob_keys.c.wrapped,
    )
    .join_from(envelopes, blobs, blobs.c.number == envelopes.c.blob)
    .join(
        blob_keys,
        and_(blob_keys.c.blob == blobs.c.number, blob_keys.c.owner == envelopes.c.owner),
    )
    .where(envelopes.c.id.in_(several("envelope_")))
)
_TAKEN = sql(
    delete(queue).where(queue.c.envelope.in_(several("envelope_"))).returning(queue.c.envelope)
)
_OVER = sql(
    update(envelopes)
    .where(envelopes.c.id.in_(several("envelope_")))
    .values(delivered=envelopes.c.delivered + 1, blob=None)
)
_KEYS = or_(
    *(
        and_(blob_keys.c.blob == blob, blob_keys.c.owner == owner)
        for blob, owner in zip(several("blob_"), several("owner_"), strict=True)
    )
)
_ONE_LESS = sql(update(blob_keys).where(_KEYS).values(references=blob_keys.c.references - 1))
_DROP_KEYS = sql(delete(blob_keys).where(_KEYS).where(blob_keys.c.references <= 0))
_HAS_KEY = exists().where(blob_keys.c.blob == blobs.c.number).correlate(blobs)
_ORPHANS = sql(
    select(blobs.c.number, blobs.c.id, blobs.c.data.is_(None))
    .where(blobs.c.number.in_(several("blob_")))
    .where(~_HAS_KEY)
)
_DROP_BLOBS = sql(delete(blobs).where(blobs.c.number.in_(several("blob_"))))
_DOOM = sql(insert(doomed_files))


class OutgoingReading(ContentReading):
    """Reading."""

    def letters_octets(self, ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, bytes | MailError]:
        """Whole messages that are in the queue, for small ones; in the place of one that cannot be
        read, why. Nobody waits any more for those that are missing."""
        found: dict[EnvelopeId, bytes | MailError] = {}
        for values in portions(envelope_=ids):
            for name, owner, blob, size, index, data, wrapped in self._all(_CONTENTS, **values):
                try:
                    key = self._owner_key(owner).unwrap(blob, wrapped)
                    source = self._source(BlobId(blob), data)
                    content = ChunkReader(blob, key, index, size, source)
                    found[EnvelopeId(name)] = content.read()
                except (Damaged, NoSuchMessage) as error:
                    found[EnvelopeId(name)] = error
        return found


class OutgoingWriting(QueueWriting):
    """Writing down."""

    def record_all(self, settled: Sequence[Settled]) -> None:
        """`record` of several letters in one commit (D3, D4): what it would write, it writes."""
        known = self._envelopes_of([one.outcome.envelope for one in settled])
        alike: dict[EnvelopeId, Settled] = {}
        contents: set[int] = set()
        others = []
        for one in settled:
            id = one.outcome.envelope
            stored = known.get(id)
            if stored is None or id in alike or not _is_simple(one, stored, contents):
                others.append(one)
            else:
                alike[id] = one
        taken = self._take(list(alike))
        self._end([known[id] for id in taken])
        for id in taken:
            self._tell_of(known[id], alike.pop(id))
        for one in (*others, *alike.values()):
            self.record([one.outcome], one.transfer, held_until=one.held_until)

    def _take(self, ids: Sequence[EnvelopeId]) -> list[EnvelopeId]:
        """Of letters to one recipient, those that were still in the queue."""
        taken = []
        for values in portions(envelope_=ids):
            taken += [EnvelopeId(row[0]) for row in self._all(_TAKEN, **values)]
        if len(taken) != len(set(taken)):
            raise Damaged("one recipient waits twice")
        return taken

    def _end(self, letters: Sequence[StoredEnvelope]) -> None:
        """Count them, and let go of their content: nobody else waits for it."""
        for values in portions(envelope_=[each.envelope.id for each in letters]):
            self._run(_OVER, **values)
        orphans = []
        contents = [each.blob for each in letters]
        for values in portions(blob_=contents, owner_=[each.owner for each in letters]):
            self._run(_ONE_LESS, **values)
            self._run(_DROP_KEYS, **values)
        for values in portions(blob_=contents):
            orphans += self._all(_ORPHANS, **values)
        for values in portions(blob_=[number for number, _, _ in orphans]):
            self._run(_DROP_BLOBS, **values)
        for _, id, is_file in orphans:
            if is_file:
                self._run(_DOOM, id=id)
                self.effects.doomed.append(BlobId(id))

    def _tell_of(self, stored: StoredEnvelope, one: Settled) -> None:
        key = self._owner_key(stored.owner)
        self._outcome_event(key, one.outcome)
        addresses = [one.outcome.recipient.address]
        trace = (stored.size, stored.traced)
        self._trace_transfer(stored.envelope, addresses, one.transfer, key, trace)


def _is_simple(one: Settled, stored: StoredEnvelope, contents: set[int]) -> bool:
    """To one recipient, who has it; and no other of the group has the same content."""
    if one.outcome.result != "delivered" or stored.blob is None or stored.blob in contents:
        return False
    named = [each.address for each in stored.envelope.recipients]
    if named != [one.outcome.recipient.address]:
        return False
    contents.add(stored.blob)
    return True

"""The outbound queue: one row per envelope and recipient, leased to workers (OP-18, D3, D4).

A row leaves the queue only in the commit that counts it as delivered, bounced or dropped. A lease
of a dead worker runs out by itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, case, delete, func, select, update

from mssmtp import metrics
from mssmtp.errors import Damaged
from mssmtp.mail import Address, Domain, Door, EnvelopeId, Recipient
from mssmtp.storage.contents import ContentReading
from mssmtp.storage.delivery import (
    RECIPIENT,
    DeliveryWriting,
    EnvelopeReading,
    StoredEnvelope,
    recipient_purpose,
    unpacked_recipient,
)
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.ledger import Line
from mssmtp.storage.model import (
    EventKind,
    Lease,
    NoSuchMessage,
    Outcome,
    QueueEntry,
    Transfer,
    from_us,
    to_us,
)
from mssmtp.storage.schema import envelopes, queue, sql
from mssmtp.storage.view import Row

logger = logging.getLogger(__name__)

FAR = timedelta(days=1)
"""Beyond every next attempt: retries grow up to an hour (OP-18)."""

_ILLEGIBLE = "illisible"
_DIED = Transfer(
    direction="out",
    door=Door.OPERATOR,
    peer_address="",
    verdict="in doubt",
    reply="451 4.4.2 the worker ended before the outcome was recorded",
)

_ROW = select(
    queue.c.envelope,
    queue.c.position,
    queue.c.domain,
    queue.c.sealed,
    queue.c.held,
    queue.c.attempts,
    queue.c.warned,
    queue.c.queued_at,
    queue.c.next_attempt,
    queue.c.lease_until,
    queue.c.lease_worker,
    queue.c.last_reply,
)
_ALL = sql(_ROW.order_by(queue.c.queued_at, queue.c.envelope, queue.c.position))
_OF_ENVELOPE = sql(_ROW.where(queue.c.envelope == bindparam("envelope")).order_by(queue.c.position))
_DUE = sql(
    _ROW.where(queue.c.held.is_(False))
    .where(queue.c.next_attempt <= bindparam("now"))
    .where(queue.c.lease_until <= bindparam("now"))
    .order_by(queue.c.next_attempt, queue.c.envelope, queue.c.position)
    .limit(bindparam("most"))
)
_STRAYED = sql(
    update(queue)
    .where(queue.c.held.is_(False))
    .where(queue.c.next_attempt > bindparam("far"))
    .values(
        next_attempt=bindparam("now"),
        queued_at=case(
            (queue.c.queued_at > bindparam("now"), bindparam("now")), else_=queue.c.queued_at
        ),
        lease_until=case(
            (queue.c.lease_until > bindparam("until"), bindparam("until")),
            else_=queue.c.lease_until,
        ),
    )
)
_ONE = and_(queue.c.envelope == bindparam("envelope_"), queue.c.position == bindparam("position_"))
_LEASE = sql(
    update(queue)
    .where(_ONE)
    .values(lease_until=bindparam("until"), lease_worker=bindparam("worker"))
)
_RELEASE = sql(
    update(queue)
    .where(queue.c.lease_worker == bindparam("worker"))
    .values(lease_until=0, lease_worker=None)
)
_LEFT_BEHIND = sql(
    _ROW.where(queue.c.lease_worker == bindparam("worker")).order_by(
        queue.c.envelope, queue.c.position
    )
)
_DOUBT = sql(update(queue).where(_ONE).values(last_reply=bindparam("reply")))
_BYRECIPIENT = sql(
    select(queue.c.position, queue.c.lease_until)
    .where(queue.c.envelope == bindparam("envelope"))
    .where(queue.c.digest == bindparam("digest"))
)
_RETRY = sql(
    update(queue)
    .where(_ONE)
    .values(
        attempts=queue.c.attempts + 1,
        next_attempt=bindparam("next"),
        last_reply=bindparam("reply"),
        warned=queue.c.warned | bindparam("new_warned"),
        lease_until=0,
        lease_worker=None,
    )
)
_DONE = sql(delete(queue).where(_ONE))
_LEFT = sql(
    select(func.count()).select_from(queue).where(queue.c.envelope == bindparam("envelope"))
)
_COUNT = sql(
    update(envelopes)
    .where(envelopes.c.id == bindparam("envelope"))
    .values(
        delivered=envelopes.c.delivered + bindparam("more_delivered"),
        bounced=envelopes.c.bounced + bindparam("more_bounced"),
        dropped=envelopes.c.dropped + bindparam("more_dropped"),
    )
)
_FORGET_BLOB = sql(
    update(envelopes).where(envelopes.c.id == bindparam("envelope")).values(blob=None)
)
_HOLD = sql(
    update(queue).where(queue.c.envelope == bindparam("envelope_")).values(held=bindparam("on"))
)
_PARK = sql(update(queue).where(_ONE).values(held=True, lease_until=0, lease_worker=None))
_NOW = sql(
    update(queue)
    .where(queue.c.envelope == bindparam("envelope_"))
    .where(queue.c.next_attempt > bindparam("now"))
    .values(next_attempt=bindparam("now"))
)
_ALL_NOW = sql(
    update(queue)
    .where(queue.c.next_attempt > bindparam("now"))
    .values(next_attempt=bindparam("now"))
)
_DOMAINS = sql(select(queue.c.domain).where(queue.c.held.is_(False)).distinct())
_DOMAIN_NOW = sql(
    update(queue)
    .where(queue.c.domain == bindparam("domain_"))
    .where(queue.c.next_attempt > bindparam("now"))
    .values(next_attempt=bindparam("now"))
)
_DEPTH = sql(select(func.count()).select_from(queue))


class QueueReading(EnvelopeReading, ContentReading):
    """Looking at the queue."""

    def queue(self) -> tuple[QueueEntry, ...]:
        """Every waiting recipient, oldest first."""
        return self._entries(self._all(_ALL))

    def queue_entry(self, envelope: EnvelopeId) -> tuple[QueueEntry, ...]:
        """The waiting recipients of one envelope; empty when there is none."""
        return self._entries(self._all(_OF_ENVELOPE, envelope=envelope))

    def queue_depth(self) -> int:
        """How many recipients wait."""
        row = self._one(_DEPTH)
        return int(row[0]) if row else 0

    def queue_domains(self) -> frozenset[Domain]:
        """The domains that somebody's letter waits for, those held apart."""
        return frozenset(Domain(row[0]) for row in self._all(_DOMAINS))

    def letter_octets(self, envelope: EnvelopeId, start: int = 0, stop: int | None = None) -> bytes:
        """Octets of a message that is in the queue; from `skip` on is what goes on the wire.

        Raises NoSuchMessage once nobody waits for it any more, Damaged.
        """
        found = self._envelope(envelope)
        if found is None or found.blob is None:
            raise NoSuchMessage
        return self._content(found.blob, found.owner).read(start, stop)

    def _entries(self, rows: Sequence[Row]) -> tuple[QueueEntry, ...]:
        opened: dict[str, StoredEnvelope] = {}
        entries = []
        for row in rows:
            id = EnvelopeId(row[0])
            try:
                if id not in opened:
                    opened[id] = self._known_envelope(id)
                entries.append(self._entry(row, opened[id]))
            except (Damaged, NoSuchMessage):
                entries.append(_damaged_entry(row))
        return tuple(entries)

    def _known_envelope(self, id: EnvelopeId) -> StoredEnvelope:
        found = self._envelope(id)
        if found is None:
            raise NoSuchMessage
        return found

    def _entry(self, row: Row, stored: StoredEnvelope) -> QueueEntry:
        key = self._owner_key(stored.owner)
        id = stored.envelope.id
        reply = row[11]
        return QueueEntry(
            envelope=id,
            sender=stored.envelope.sender,
            recipient=self._opened_recipient(key, row),
            queued_at=from_us(row[7]),
            next_attempt=from_us(row[8]),
            attempts=row[5],
            held=bool(row[4]),
            leased_by=row[10] if row[9] > to_us(self._vault.clock.now()) else None,
            last_reply=None
            if reply is None
            else key.open(reply_purpose(id, row[1]), reply).decode(),
            size_octets=stored.size,
            skip=stored.skip,
            owner=self._named_owner(stored.owner),
        )

    @staticmethod
    def _opened_recipient(key: OwnerKey, row: Row) -> Recipient:
        return unpacked_recipient(json.loads(key.open(recipient_purpose(row[0], row[1]), row[3])))


class QueueWriting(QueueReading, DeliveryWriting):
    """Working the queue off."""

    def lease(
        self,
        now: datetime,
        limit: int,
        worker: str,
        *,
        duration: timedelta = timedelta(minutes=15),
    ) -> tuple[Lease, ...]:
        """At most `limit` due recipients, held for `worker` until `now + duration`.

        Grouped by envelope, domain and number of attempts; oldest due first. A row that cannot be
        read is held from now on and reported, so that it never stands before the others (D10).
        What another worker held until its lease ran out is marked as in `take_back`.
        """
        until = now + duration
        # The clock was put back: nobody waits for it to come to where it was. What a worker may
        # have in hand stays its own for one lease more.
        self._run(_STRAYED, now=to_us(now), far=to_us(now + FAR), until=to_us(until))
        groups: dict[tuple[str, str, int, bool], list[Row]] = {}
        due = self._all(_DUE, now=to_us(now), most=limit)
        self._mark_in_doubt([row for row in due if row[10] is not None])
        for row in due:
            self._run(_LEASE, envelope_=row[0], position_=row[1], until=to_us(until), worker=worker)
            groups.setdefault((row[0], row[2], row[5], bool(row[6])), []).append(row)
        leases = []
        for (id, domain, _, _), rows in groups.items():
            try:
                leases.append(self._leased(rows, Domain(domain), until))
            except (Damaged, NoSuchMessage):
                self._park(EnvelopeId(id), rows)
        return tuple(leases)

    def record(
        self,
        outcomes: Sequence[Outcome],
        transfer: Transfer,
        *,
        held_until: datetime | None = None,
    ) -> list[Outcome]:
        """What became of recipients, with event and trace, in one commit; those that counted.

        An outcome of a recipient that is no longer queued (dropped, or its lease ran out and
        another worker was faster) changes nothing but the trace. Nor does a "retry" of who held a
        lease until `held_until`, when another worker holds the recipient now: it would give that
        lease away, and a third would deliver at the same time (D4). For "failed" and "expired" that
        counted the caller writes the DSN with `accept` in the same job.
        """
        by_envelope: dict[EnvelopeId, list[Outcome]] = {}
        for outcome in outcomes:
            by_envelope.setdefault(outcome.envelope, []).append(outcome)
        counted: list[Outcome] = []
        for id, group in by_envelope.items():
            stored = self._known_envelope(id)
            counted += self._record_envelope(stored, group, transfer, held_until)
        return counted

    def release(self, worker: str) -> int:
        """Give back every lease of `worker`, all of whose attempts are recorded; how many."""
        return self._woken(self._run(_RELEASE, worker=worker))

    def take_back(self, worker: str) -> int:
        """Give back the leases of a `worker` that died; how many.

        How far it came with them is not known: a peer may have taken a letter and its reply is
        lost. Each is marked "in doubt", in the queue and in a trace of its own (D4).
        """
        self._mark_in_doubt(self._all(_LEFT_BEHIND, worker=worker))
        return self.release(worker)

    def hold(self, envelope: EnvelopeId, *, on: bool = True) -> int:
        """Stop or resume trying; how many recipients."""
        return self._woken(self._run(_HOLD, envelope_=envelope, on=on))

    def drop(self, envelope: EnvelopeId, reason: str) -> int:
        """Discard waiting recipients by decision of the administrator; how many.

        The ledger keeps who and why; no DSN is written.
        """
        stored = self._envelope(envelope)
        rows = self._all(_OF_ENVELOPE, envelope=envelope)
        if stored is None or not rows:
            return 0
        key = self._owner_key(stored.owner)
        for row in rows:
            lines: list[Line] = [("reply", reason)]
            try:
                to = self._opened_recipient(key, row)
                lines.insert(0, ("recipient", str(to.address)))
            except Damaged:
                lines.insert(0, ("recipient", f"{_ILLEGIBLE}@{row[2]}"))
            self._event("rejet", envelope, lines, (key,), result="dropped")
            self._run(_DONE, envelope_=envelope, position_=row[1])
        self._count(stored, dropped=len(rows))
        return len(rows)

    def retry_now(self, envelope: EnvelopeId | None, now: datetime) -> int:
        """Make waiting recipients due, of one envelope or of all; how many."""
        if envelope is None:
            return self._woken(self._run(_ALL_NOW, now=to_us(now)))
        return self._woken(self._run(_NOW, envelope_=envelope, now=to_us(now)))

    def retry_domains(self, domains: Iterable[Domain], now: datetime) -> int:
        """Make what waits for these domains due; how many recipients (OP-34)."""
        rows = sum(self._run(_DOMAIN_NOW, domain_=each, now=to_us(now)) for each in domains)
        return self._woken(rows)

    def _woken(self, rows: int) -> int:
        """`rows` may be due now: whoever works the queue off is told."""
        self.effects.queued = self.effects.queued or rows > 0
        return rows

    def _mark_in_doubt(self, rows: Sequence[Row]) -> None:
        by_envelope: dict[EnvelopeId, list[Row]] = {}
        for row in rows:
            by_envelope.setdefault(EnvelopeId(row[0]), []).append(row)
        for id, group in by_envelope.items():
            try:
                stored = self._known_envelope(id)
                key = self._owner_key(stored.owner)
                addresses = [self._opened_recipient(key, row).address for row in group]
            except (Damaged, NoSuchMessage):
                continue  # `lease` holds it back and reports it
            for row in group:
                reply = key.seal(reply_purpose(id, row[1]), _DIED.reply.encode())
                self._run(_DOUBT, envelope_=id, position_=row[1], reply=reply)
            trace = (stored.size, stored.traced)
            self._trace_transfer(stored.envelope, addresses, _DIED, key, trace)

    def _park(self, envelope: EnvelopeId, rows: Sequence[Row]) -> None:
        for row in rows:
            self._run(_PARK, envelope_=row[0], position_=row[1])
        metrics.internal_errors.labels("storage").inc()
        logger.error("queue rows do not authenticate; held", extra={"envelope": envelope})

    def _leased(self, rows: Sequence[Row], domain: Domain, until: datetime) -> Lease:
        stored = self._known_envelope(EnvelopeId(rows[0][0]))
        key = self._owner_key(stored.owner)
        return Lease(
            envelope=stored.envelope,
            domain=domain,
            recipients=tuple(self._opened_recipient(key, row) for row in rows),
            attempts=rows[0][5],
            warned=bool(rows[0][6]),
            queued_at=from_us(rows[0][7]),
            until=until,
            skip=stored.skip,
            size_octets=stored.size,
            owner=self._named_owner(stored.owner),
        )

    def _record_envelope(
        self,
        stored: StoredEnvelope,
        outcomes: Sequence[Outcome],
        transfer: Transfer,
        held_until: datetime | None,
    ) -> list[Outcome]:
        key = self._owner_key(stored.owner)
        id = stored.envelope.id
        delivered = bounced = 0
        counted = []
        for outcome in outcomes:
            digests = key.digests(RECIPIENT, outcome.recipient.address.key)
            rows = [row for d in digests for row in self._all(_BYRECIPIENT, envelope=id, digest=d)]
            if outcome.result == "retry" and held_until is not None:
                # Whoever leased it since has a lease that ends later.
                rows = [row for row in rows if row[1] <= to_us(held_until)]
            if rows:
                counted.append(outcome)
            for position, _ in rows:
                if outcome.result == "retry":
                    self._retry(key, position, outcome)
                    continue
                self._run(_DONE, envelope_=id, position_=position)
                delivered += outcome.result == "delivered"
                bounced += outcome.result != "delivered"
                self._outcome_event(key, outcome)
        addresses: list[Address] = [outcome.recipient.address for outcome in outcomes]
        trace = (stored.size, stored.traced)
        self._trace_transfer(stored.envelope, addresses, transfer, key, trace)
        self._count(stored, delivered=delivered, bounced=bounced)
        return counted

    def _retry(self, key: OwnerKey, position: int, outcome: Outcome) -> None:
        if outcome.next_attempt is None:
            raise ValueError("a retry needs its time")
        id = outcome.envelope
        self._run(
            _RETRY,
            envelope_=id,
            position_=position,
            next=to_us(outcome.next_attempt),
            reply=key.seal(reply_purpose(id, position), outcome.reply.encode("utf-8", "replace")),
            new_warned=outcome.warned,
        )

    def _outcome_event(self, key: OwnerKey, outcome: Outcome) -> None:
        lines: list[Line] = [("recipient", str(outcome.recipient.address))]
        lines.append(("reply", outcome.reply))
        kind: EventKind = "relais" if outcome.result == "delivered" else "rejet"
        self._event(kind, outcome.envelope, lines, (key,), result=outcome.result)

    def _count(
        self, stored: StoredEnvelope, *, delivered: int = 0, bounced: int = 0, dropped: int = 0
    ) -> None:
        """Count what left the queue; when nobody is left, drop the content."""
        id = stored.envelope.id
        if delivered or bounced or dropped:
            self._run(
                _COUNT,
                envelope=id,
                more_delivered=delivered,
                more_bounced=bounced,
                more_dropped=dropped,
            )
        left = self._new(_LEFT, envelope=id)[0]
        if not left and stored.blob is not None:
            self._run(_FORGET_BLOB, envelope=id)
            self._release(stored.blob, stored.owner)


def reply_purpose(envelope: str, position: int) -> bytes:
    """What a peer's last words about a recipient are bound to."""
    return b"queue-reply\0" + envelope.encode() + b"\0%d" % position


def _damaged_entry(row: Row) -> QueueEntry:
    domain = Domain(row[2])
    return QueueEntry(
        envelope=EnvelopeId(row[0]),
        sender=None,
        recipient=Recipient(Address(_ILLEGIBLE, domain)),
        queued_at=from_us(row[7]),
        next_attempt=from_us(row[8]),
        attempts=row[5],
        held=bool(row[4]),
        leased_by=None,
        last_reply=None,
        size_octets=0,
        skip=0,
        owner=domain,
        damaged=True,
    )

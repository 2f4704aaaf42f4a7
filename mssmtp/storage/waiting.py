"""Looking at the outbound queue: what waits, for whom, until when (OP-18, D3).

Everything here is bounded: a queue of 100,000 recipients is read page by page or counted by the
engine, never held as a whole by anybody but `queue`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, bindparam, func, literal_column, select, tuple_

from mssmtp.errors import Damaged
from mssmtp.mail import Address, Domain, EnvelopeId, Recipient
from mssmtp.storage.contents import ContentReading
from mssmtp.storage.delivery import (
    EnvelopeReading,
    StoredEnvelope,
    recipient_purpose,
)
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.model import (
    Backlog,
    NoSuchMessage,
    Owner,
    QueueCounts,
    QueueEntry,
    QueuePlace,
    from_us,
    to_us,
)
from mssmtp.storage.packing import unpacked_recipient
from mssmtp.storage.schema import AT_ONCE, NEVER, envelopes, invited, queue, sql
from mssmtp.storage.view import Row

ILLEGIBLE = "illisible"
AGES = tuple(timedelta(minutes=minutes) for minutes in (5, 60, 240, 1440))
"""Where `Backlog.younger_than` is cut: 5 minutes, 1, 4 and 24 hours."""

ROW = select(
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
    queue.c.owner,
)
_ALL = sql(ROW.order_by(queue.c.queued_at, queue.c.envelope, queue.c.position))
OF_ENVELOPE = sql(ROW.where(queue.c.envelope == bindparam("envelope")).order_by(queue.c.position))
# Envelope ids are ordered by time: the primary key is the order of arrival.
_PAGE_ROWS = (
    ROW.where(
        tuple_(queue.c.envelope, queue.c.position)
        > tuple_(bindparam("envelope"), bindparam("position"))
    )
    .order_by(queue.c.envelope, queue.c.position)
    .limit(bindparam("most"))
)
_PAGE = sql(_PAGE_ROWS)
_PAGE_OF_DOMAIN = sql(_PAGE_ROWS.where(queue.c.domain == bindparam("domain")))
_PAGE_HELD = sql(_PAGE_ROWS.where(queue.c.held.is_(True)))
_DEPTH = sql(select(func.count()).select_from(queue))

# One seek for each domain instead of a walk over all rows.
_NAMES = select(func.min(queue.c.domain).label("domain")).cte("names", recursive=True)
_AFTER = queue.alias("after")
_NAMES = _NAMES.union_all(
    select(
        select(func.min(_AFTER.c.domain))
        .where(_AFTER.c.domain > _NAMES.c.domain)
        .correlate(_NAMES)
        .scalar_subquery()
    ).where(_NAMES.c.domain.is_not(None))
)
BY_HAND = from_us(AT_ONCE)
"""When nothing becomes due by itself: an administrator, or a new list, wants it tried now."""
_FIRST = queue.alias("first")
_FIRST_DUE = (
    select(func.min(_FIRST.c.due))
    .where(_FIRST.c.domain == _NAMES.c.domain)
    .correlate(_NAMES)
    .scalar_subquery()
)
_DOMAINS = sql(select(_NAMES.c.domain, _FIRST_DUE).where(_NAMES.c.domain.is_not(None)))


def _sum(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(condition)


_LEASED = queue.c.lease_until > bindparam("now")
_YOUNGER = tuple(_sum(queue.c.queued_at > bindparam(f"age{number}")) for number in range(len(AGES)))
_BACKLOG = (
    func.count(),
    _sum(queue.c.held.is_(True)),
    _sum(_LEASED),
    func.min(queue.c.queued_at),
    func.min(queue.c.due),
    *_YOUNGER,
)
# Not the column itself: SQLite would walk its index and look every row up, at twice the cost.
_NAME: ColumnElement[str] = literal_column("queue.domain || ''")
_BY_DOMAIN = sql(
    select(_NAME, *_BACKLOG)
    .select_from(queue)
    .group_by(_NAME)
    .order_by(func.count().desc(), _NAME)
    .limit(bindparam("most"))
)
_BY_OWNER = sql(
    select(queue.c.owner, *_BACKLOG)
    .group_by(queue.c.owner)
    .order_by(func.count().desc(), queue.c.owner)
    .limit(bindparam("most"))
)
_COUNTS = sql(
    select(
        func.count(),
        _sum(queue.c.held.is_(True)),
        _sum(_LEASED),
        _sum(queue.c.queued_at <= bindparam("late")),
        func.min(queue.c.queued_at),
    )
)
_SAID = sql(
    ROW.where(queue.c.domain == bindparam("domain"))
    .where(queue.c.last_reply.is_not(None))
    .order_by(queue.c.attempts.desc(), queue.c.due.desc())
    .limit(1)
)
_AHEAD = sql(
    select(func.count())
    .select_from(queue)
    .where(queue.c.domain == bindparam("domain"))
    .where(queue.c.due < bindparam("due"))
)
_TOTALS = sql(
    select(
        func.count(),
        *(
            func.coalesce(func.sum(column), 0)
            for column in (
                envelopes.c.accepted,
                envelopes.c.delivered,
                envelopes.c.bounced,
                envelopes.c.dropped,
            )
        ),
    )
)

_INVITED_DEPTH = sql(select(func.count()).select_from(invited))


class QueueReading(EnvelopeReading, ContentReading):
    """Looking at the queue."""

    def queue(self) -> tuple[QueueEntry, ...]:
        """Every waiting recipient, oldest first: for small queues and tests."""
        return self._entries(self._all(_ALL))

    def queue_page(
        self,
        after: QueuePlace,
        most: int,
        *,
        domain: Domain | None = None,
        held: bool = False,
    ) -> tuple[tuple[QueueEntry, ...], QueuePlace | None]:
        """At most `most` waiting recipients behind `after` in the order of arrival, those of one
        domain or those held if asked; and where the next page begins, None when there is none."""
        given = {"envelope": after.envelope, "position": after.position, "most": most}
        if domain is not None:
            rows = self._all(_PAGE_OF_DOMAIN, **given, domain=domain)
        else:
            rows = self._all(_PAGE_HELD if held else _PAGE, **given)
        entries = self._entries(rows)
        if domain is not None and held:
            entries = tuple(each for each in entries if each.held)
        following = QueuePlace(EnvelopeId(rows[-1][0]), rows[-1][1]) if len(rows) == most else None
        return entries, following

    def queue_entry(self, envelope: EnvelopeId) -> tuple[QueueEntry, ...]:
        """The waiting recipients of one envelope; empty when there is none."""
        return self._entries(self._all(OF_ENVELOPE, envelope=envelope))

    def queue_depth(self) -> int:
        """How many recipients wait."""
        row = self._one(_DEPTH)
        return int(row[0]) if row else 0

    def queue_counts(self, now: datetime, late_after: timedelta) -> QueueCounts:
        """The queue in five numbers, counted by the engine; `late`: older than `late_after`."""
        row = self._one(_COUNTS, now=to_us(now), late=to_us(now - late_after))
        waiting, held, leased, late, oldest = row or (0, 0, 0, 0, None)
        since = None if oldest is None else from_us(oldest)
        return QueueCounts(int(waiting), int(held), int(leased), int(late), since)

    def queue_due(self) -> tuple[tuple[Domain, datetime | None], ...]:
        """Every domain that somebody's letter waits for, and when the first may be leased; None:
        all are held. BY_HAND and before: somebody wants it tried now."""
        return tuple(
            (Domain(name), None if first >= NEVER else from_us(first))
            for name, first in self._all(_DOMAINS)
        )

    def queue_domains(self) -> frozenset[Domain]:
        """The domains that somebody's letter waits for, those held apart."""
        return frozenset(domain for domain, first in self.queue_due() if first is not None)

    def queue_top(self, now: datetime, most: int) -> tuple[Backlog, ...]:
        """The domains that most recipients wait for, the longest first."""
        rows = self._all(_BY_DOMAIN, **_ages(now), most=most)
        return tuple(_backlog(Domain(row[0]), row) for row in rows)

    def queue_senders(self, now: datetime, most: int) -> tuple[Backlog, ...]:
        """On whose behalf most recipients wait."""
        rows = self._all(_BY_OWNER, **_ages(now), most=most)
        return tuple(_backlog(self._named_owner(row[0]), row) for row in rows)

    def queue_said(self, domain: Domain) -> QueueEntry | None:
        """Of what waits for `domain`, what was tried most often: its last reply tells why."""
        row = self._one(_SAID, domain=domain)
        return self._entries([row])[0] if row is not None else None

    def queue_ahead(self, domain: Domain, due: datetime) -> int:
        """How many recipients of `domain` may be leased before `due`."""
        row = self._one(_AHEAD, domain=domain, due=to_us(due))
        return int(row[0]) if row else 0

    def conservation(self) -> tuple[int, int, int, int, int, int]:
        """Of all envelopes together (D3): how many, recipients accepted, delivered, bounced,
        dropped with audit, waiting."""
        row = self._one(_TOTALS) or (0, 0, 0, 0, 0)
        envelopes_, accepted, delivered, bounced, dropped = map(int, row)
        waiting = self.queue_depth() + self._invited_depth()
        return envelopes_, accepted, delivered, bounced, dropped, waiting

    def _invited_depth(self) -> int:
        row = self._one(_INVITED_DEPTH)
        return int(row[0]) if row else 0

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
        envelope = stored.envelope
        reply = row[11]
        return QueueEntry(
            envelope=envelope.id,
            position=row[1],
            sender=envelope.sender,
            recipient=self._opened_recipient(key, row),
            queued_at=from_us(row[7]),
            next_attempt=from_us(row[8]),
            attempts=row[5],
            held=bool(row[4]),
            leased_by=row[10] if row[9] > to_us(self._vault.clock.now()) else None,
            last_reply=None
            if reply is None
            else key.open(reply_purpose(envelope.id, row[1]), reply).decode(),
            size_octets=stored.size,
            skip=stored.skip,
            owner=self._named_owner(stored.owner),
            warned=bool(row[6]),
            priority=envelope.priority,
            hold_until=envelope.hold_until,
            deliver_by=envelope.deliver_by,
            require_tls=envelope.require_tls,
        )

    @staticmethod
    def _opened_recipient(key: OwnerKey, row: Row) -> Recipient:
        return unpacked_recipient(json.loads(key.open(recipient_purpose(row[0], row[1]), row[3])))


def reply_purpose(envelope: str, position: int) -> bytes:
    """What a peer's last words about a recipient are bound to."""
    return b"queue-reply\0" + envelope.encode() + b"\0%d" % position


def _ages(now: datetime) -> dict[str, int]:
    ages = {f"age{number}": to_us(now - age) for number, age in enumerate(AGES)}
    return {"now": to_us(now), **ages}


def _backlog(of: Owner, row: Row) -> Backlog:
    _, waiting, held, leased, oldest, due, *younger = row
    return Backlog(
        of=of,
        waiting=int(waiting),
        held=int(held),
        leased=int(leased),
        oldest=from_us(oldest),
        due=None if due >= NEVER else from_us(max(due, oldest)),
        younger_than=tuple(map(int, younger)),
    )


def _damaged_entry(row: Row) -> QueueEntry:
    domain = Domain(row[2])
    return QueueEntry(
        envelope=EnvelopeId(row[0]),
        position=row[1],
        sender=None,
        recipient=Recipient(Address(ILLEGIBLE, domain)),
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

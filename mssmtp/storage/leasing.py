"""Who may try what: leases on waiting recipients, fair between senders, urgent ones first.

A lease of a dead worker runs out by itself; what is known of how far it came decides between "was
delivered", "in doubt" and "was not begun" (D4).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, case, func, or_, select, update

from mssmtp import metrics
from mssmtp.errors import Damaged
from mssmtp.mail import Domain, Door, EnvelopeId
from mssmtp.storage.delivery import DeliveryWriting, StoredEnvelope
from mssmtp.storage.model import (
    Handed,
    Lease,
    NoSuchMessage,
    QueuePlace,
    Transfer,
    Want,
    from_us,
    to_us,
)
from mssmtp.storage.portions import portions, several
from mssmtp.storage.schema import NEVER, queue, sql
from mssmtp.storage.view import Row
from mssmtp.storage.waiting import ROW, QueueReading, reply_purpose

logger = logging.getLogger(__name__)

FAR = timedelta(days=1)
"""Beyond every next attempt: retries grow up to an hour (OP-18)."""
MOST_OWNERS = 200
"""Senders with something due, of one want; the next one goes on behind them."""
MOST_OF_LETTER = 1_000
"""Recipients of one letter in one lease: they go out in one transaction, or a few (RFC 9422)."""

_DIED = Transfer(
    direction="out",
    door=Door.OPERATOR,
    peer_address="",
    verdict="in doubt",
    reply="451 4.4.2 the worker ended before the outcome was recorded",
)

ONE = and_(queue.c.envelope == bindparam("envelope_"), queue.c.position == bindparam("position_"))
_IS_DUE = queue.c.due <= bindparam("now")
_DUE = sql(
    ROW.where(_IS_DUE)
    .order_by(queue.c.due, queue.c.envelope, queue.c.position)
    .limit(bindparam("most"))
)
_URGENCIES = sql(
    select(queue.c.urgency)
    .where(queue.c.domain == bindparam("domain"))
    .where(queue.c.urgency > bindparam("above"))
    .order_by(queue.c.urgency)
    .limit(1)
)
_GROUP = and_(queue.c.domain == bindparam("domain"), queue.c.urgency == bindparam("urgency"))

# One seek for each sender instead of a walk over all that one of them has sent.
_NEXT = queue.alias("next_owner")
_NEXT_GROUP = and_(_NEXT.c.domain == bindparam("domain"), _NEXT.c.urgency == bindparam("urgency"))
_OWNERS = (
    select(func.min(queue.c.owner).label("owner"))
    .where(_GROUP)
    .where(queue.c.owner > bindparam("after"))
    .cte("owners_", recursive=True)
)
_OWNERS = _OWNERS.union_all(
    select(
        select(func.min(_NEXT.c.owner))
        .where(_NEXT_GROUP)
        .where(_NEXT.c.owner > _OWNERS.c.owner)
        .correlate(_OWNERS)
        .scalar_subquery()
    ).where(_OWNERS.c.owner.is_not(None))
)
_FIRST = (
    select(func.min(_NEXT.c.due))
    .where(_NEXT_GROUP)
    .where(_NEXT.c.owner == _OWNERS.c.owner)
    .correlate(_OWNERS)
    .scalar_subquery()
)
# Those of whom nothing is due are passed over here: they must not fill the places of one look.
_TURNS = sql(
    select(_OWNERS.c.owner)
    .where(_OWNERS.c.owner.is_not(None))
    .where(bindparam("now") >= _FIRST)
    .limit(bindparam("most"))
)
_TAKE = sql(
    ROW.where(_GROUP)
    .where(queue.c.owner == bindparam("owner"))
    .where(_IS_DUE)
    .order_by(queue.c.due, queue.c.envelope, queue.c.position)
    .limit(bindparam("most"))
)
_REST = sql(
    ROW.where(queue.c.envelope == bindparam("envelope"))
    .where(queue.c.domain == bindparam("domain"))
    .where(_IS_DUE)
    .order_by(queue.c.position)
    .limit(bindparam("most"))
)
_STRAYED = sql(
    update(queue)
    .where(queue.c.due > bindparam("far"))
    .where(queue.c.due < NEVER)
    .where(queue.c.release_at <= bindparam("now"))
    .values(
        next_attempt=bindparam("now"),
        queued_at=case(
            (queue.c.queued_at > bindparam("now"), bindparam("now")), else_=queue.c.queued_at
        ),
        lease_until=case(
            (queue.c.lease_until > bindparam("until"), bindparam("until")),
            else_=queue.c.lease_until,
        ),
        due=case(
            (queue.c.lease_until > bindparam("until"), bindparam("until")),
            (queue.c.lease_until > bindparam("now"), queue.c.lease_until),
            else_=bindparam("now"),
        ),
    )
)
_LEASE = sql(
    update(queue)
    .where(ONE)
    .values(
        lease_until=bindparam("until"), lease_worker=bindparam("worker"), due=bindparam("until")
    )
)
_LEASE_ROWS = sql(
    update(queue)
    .where(
        or_(
            *(
                and_(queue.c.envelope == envelope, queue.c.position == position)
                for envelope, position in zip(
                    several("envelope_"), several("position_"), strict=True
                )
            )
        )
    )
    .values(
        lease_until=bindparam("until"), lease_worker=bindparam("worker"), due=bindparam("until")
    )
)
FREE_AGAIN = case((queue.c.held.is_(True), NEVER), else_=queue.c.next_attempt)
_RELEASE = sql(
    update(queue)
    .where(queue.c.lease_worker == bindparam("worker"))
    .values(lease_until=0, lease_worker=None, due=FREE_AGAIN)
)
_GIVE_BACK = sql(
    update(queue)
    .where(ONE)
    .where(queue.c.lease_worker == bindparam("worker"))
    .where(queue.c.lease_until == bindparam("until"))
    .values(lease_until=0, lease_worker=None, due=FREE_AGAIN)
)
_LEFT_BEHIND = sql(
    ROW.where(queue.c.lease_worker == bindparam("worker")).order_by(
        queue.c.envelope, queue.c.position
    )
)
_DOUBT = sql(update(queue).where(ONE).values(last_reply=bindparam("reply")))
_PARK = sql(update(queue).where(ONE).values(held=True, lease_until=0, lease_worker=None, due=NEVER))


class LeaseWriting(QueueReading, DeliveryWriting):
    """Handing the queue out to workers."""

    def lease(
        self,
        now: datetime,
        limit: int,
        worker: str,
        *,
        duration: timedelta = timedelta(minutes=15),
    ) -> tuple[Lease, ...]:
        """At most `limit` due recipients of any domain, held for `worker` until `now + duration`.

        Grouped by envelope, domain and number of attempts; oldest due first. A row that cannot be
        read is held from now on and reported, so that it never stands before the others (D10).
        What another worker held until its lease ran out is marked as in `take_back`.
        """
        self.heed_clock(now, duration)
        due = self._all(_DUE, now=to_us(now), most=limit)
        return self._lease_rows(due, now + duration, worker)

    def lease_for(
        self,
        now: datetime,
        wants: Iterable[Want],
        worker: str,
        *,
        duration: timedelta = timedelta(minutes=15),
    ) -> tuple[Lease, ...]:
        """As `lease`, of each domain what is wanted of it.

        Urgent ones first (RFC 6710); among equals the senders take turns, so that who sends one
        letter does not wait behind who sends ten thousand. A letter is not cut: its recipients of
        one domain come together, though that be more than wanted.
        """
        rows = [row for want in wants for row in self._wanted(want, to_us(now))]
        return self._lease_rows(rows, now + duration, worker)

    def heed_clock(self, now: datetime, duration: timedelta = timedelta(minutes=15)) -> int:
        """The clock was put back: nobody waits for it to come to where it was; how many did.

        What a worker may have in hand stays its own for one lease more.
        """
        far, until = to_us(now + FAR), to_us(now + duration)
        return self._run(_STRAYED, now=to_us(now), far=far, until=until)

    def release(self, worker: str) -> int:
        """Give back every lease of `worker`, all of whose attempts are recorded; how many."""
        return self._woken(self._run(_RELEASE, worker=worker))

    def give_back(self, leases: Iterable[Lease], worker: str) -> int:
        """Give back leases that were not begun, before they run out; how many recipients."""
        returned = 0
        for lease in leases:
            until = to_us(lease.until)
            for position in lease.positions:
                returned += self._run(
                    _GIVE_BACK,
                    envelope_=lease.envelope.id,
                    position_=position,
                    worker=worker,
                    until=until,
                )
        return self._woken(returned)

    def take_back(self, worker: str, journal: Mapping[QueuePlace, Handed] | None = None) -> int:
        """Give back the leases of a `worker` that died; how many.

        How far it came is known from its `journal`, if that was kept: what it had not begun is
        simply free again, what a peer has taken is delivered. Of everything else nobody knows: a
        peer may have taken the letter and its reply is lost. Each such is marked "in doubt", in the
        queue and in a trace of its own (D4).
        """
        left = self._all(_LEFT_BEHIND, worker=worker)
        taken, doubtful = [], left
        if journal is not None:
            places = [(row, journal.get(QueuePlace(EnvelopeId(row[0]), row[1]))) for row in left]
            taken = [row for row, handed in places if handed == "taken"]
            doubtful = [row for row, handed in places if handed == "begun"]
        self._mark_in_doubt(doubtful)
        self._were_taken(taken)
        return self.release(worker)

    def taken_over(
        self, worker: str, journal: Mapping[QueuePlace, Handed], until: datetime
    ) -> tuple[Lease, ...]:
        """What peers have taken from a `worker` that died, as far as senders want to hear of it
        (RFC 3461 5.2.2): leases for its successor, who has only the outcome left to record.

        To be asked before `take_back`, which settles the rest without a word.
        """
        groups: dict[tuple[str, str, int, bool], list[Row]] = {}
        for row in self._all(_LEFT_BEHIND, worker=worker):
            if journal.get(QueuePlace(EnvelopeId(row[0]), row[1])) == "taken":
                groups.setdefault((row[0], row[2], row[5], bool(row[6])), []).append(row)
        leases = []
        for (_, domain, _, _), group in groups.items():
            try:
                lease = self._leased(group, Domain(domain), until)
            except (Damaged, NoSuchMessage):
                continue  # `take_back` leaves it to be held and reported
            wishes = [one.notify or frozenset() for one in lease.recipients]
            if lease.envelope.sender is not None and any("SUCCESS" in each for each in wishes):
                leases.append(lease)
        for lease in leases:
            for at in lease.positions:
                place: dict[str, object] = {"envelope_": lease.envelope.id, "position_": at}
                self._run(_LEASE, **place, until=to_us(until), worker=worker)
        return tuple(leases)

    def _were_taken(self, rows: Sequence[Row]) -> None:
        raise NotImplementedError

    def _woken(self, rows: int) -> int:
        """`rows` may be due now: whoever works the queue off is told."""
        self.effects.queued = self.effects.queued or rows > 0
        return rows

    # ------------------------------------------------------------ whose turn it is

    def _wanted(self, want: Want, now: int) -> list[Row]:
        rows: list[Row] = []
        above, urgent = -(1 << 16), 0
        while (found := self._one(_URGENCIES, domain=want.domain, above=above)) is not None:
            above = int(found[0])
            room = want.most - len(rows)
            if above < 0:
                room += want.express
            else:
                # A quarter is theirs, however much somebody calls urgent.
                room = max(room, want.most // 4 - (len(rows) - urgent))
            if room > 0:
                rows += self._turns(want, above, room, now)
                urgent = len(rows) if above < 0 else urgent
        return rows

    def _turns(self, want: Want, urgency: int, room: int, now: int) -> list[Row]:
        """Of one urgency, at most `room` rows, by turns; a letter may make them more."""
        group: dict[str, object] = {"domain": want.domain, "urgency": urgency}
        asked: dict[str, object] = {**group, "now": now, "most": MOST_OWNERS}
        owners = [row[0] for row in self._all(_TURNS, **asked, after=want.after)]
        if len(owners) < MOST_OWNERS and want.after:
            first = [row[0] for row in self._all(_TURNS, **asked, after=0)]
            owners = list(dict.fromkeys(owners + first))
        taken: dict[int, list[Row]] = {}
        left = room
        for number, owner in enumerate(owners[:room]):
            share = -(-left // min(len(owners) - number, left)) if left > 0 else 0
            if share:
                taken[owner] = self._of_owner(group, owner, share, now)
                left -= len(taken[owner])
        for owner, rows in taken.items():  # who sends more gets what others leave
            if left > 0:
                taken[owner] = self._of_owner(group, owner, len(rows) + left, now)
                left -= len(taken[owner]) - len(rows)
        return [row for rows in taken.values() for row in rows]

    def _of_owner(self, group: Mapping[str, object], owner: int, share: int, now: int) -> list[Row]:
        rows = self._all(_TAKE, **group, owner=owner, now=now, most=share)
        if len(rows) == share:  # the last letter may have been cut
            last = {"envelope": rows[-1][0], "domain": group["domain"]}
            rest = self._all(_REST, **last, now=now, most=MOST_OF_LETTER)
            rows = [row for row in rows if row[0] != last["envelope"]] + rest
        return rows

    # ------------------------------------------------------------ making leases

    def _lease_rows(self, rows: Sequence[Row], until: datetime, worker: str) -> tuple[Lease, ...]:
        groups: dict[tuple[str, str, int, bool], list[Row]] = {}
        self._mark_in_doubt([row for row in rows if row[10] is not None])
        for row in rows:
            groups.setdefault((row[0], row[2], row[5], bool(row[6])), []).append(row)
        places = {"envelope_": [row[0] for row in rows], "position_": [row[1] for row in rows]}
        for values in portions(**places):
            self._run(_LEASE_ROWS, **values, until=to_us(until), worker=worker)
        known = self._envelopes_of([EnvelopeId(id) for id, *_ in groups])
        leases = []
        for (id, domain, _, _), group in groups.items():
            stored = known.get(EnvelopeId(id))
            try:
                leases.append(self._leased(group, Domain(domain), until, stored))
            except (Damaged, NoSuchMessage):
                self._park(EnvelopeId(id), group)
        return tuple(leases)

    def _leased(
        self,
        rows: Sequence[Row],
        domain: Domain,
        until: datetime,
        stored: StoredEnvelope | None = None,
    ) -> Lease:
        stored = stored or self._known_envelope(EnvelopeId(rows[0][0]))
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
            positions=tuple(row[1] for row in rows),
            turn=rows[0][12],
        )

    def _park(self, envelope: EnvelopeId, rows: Sequence[Row]) -> None:
        for row in rows:
            self._run(_PARK, envelope_=row[0], position_=row[1])
        metrics.internal_errors.labels("storage").inc()
        logger.error("queue rows do not authenticate; held", extra={"envelope": envelope})

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

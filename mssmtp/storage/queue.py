"""What becomes of waiting recipients: outcomes of attempts, and what the administrator decides.

A row leaves the queue only in the commit that counts it as delivered, bounced or dropped (D3, D4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import and_, bindparam, case, delete, func, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import Address, Domain, Door, EnvelopeId
from mssmtp.storage.delivery import RECIPIENT, StoredEnvelope
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.leasing import ONE, LeaseWriting
from mssmtp.storage.ledger import Line
from mssmtp.storage.model import (
    EventKind,
    NoSuchMessage,
    Outcome,
    Transfer,
    to_us,
)
from mssmtp.storage.receipts import ReceiptWriting
from mssmtp.storage.schema import AT_ONCE, NEVER, envelopes, queue, sql
from mssmtp.storage.view import Row
from mssmtp.storage.waiting import ILLEGIBLE, OF_ENVELOPE, reply_purpose

Decision = Literal["held", "released", "retried", "dropped"]
"""What the administrator may do about a message that waits."""

_TAKEN = Transfer(
    direction="out",
    door=Door.OPERATOR,
    peer_address="",
    verdict="accept",
    reply="250 2.0.0 taken by the peer before the worker ended",
)

_BYRECIPIENT = sql(
    select(queue.c.position, queue.c.lease_until)
    .where(queue.c.envelope == bindparam("envelope"))
    .where(queue.c.digest == bindparam("digest"))
)
_RETRY = sql(
    update(queue)
    .where(ONE)
    .values(
        attempts=queue.c.attempts + 1,
        next_attempt=bindparam("next"),
        last_reply=bindparam("reply"),
        warned=queue.c.warned | bindparam("new_warned"),
        lease_until=0,
        lease_worker=None,
        due=case((queue.c.held.is_(True), NEVER), else_=bindparam("next")),
    )
)
_DONE = sql(delete(queue).where(ONE))
_SETTLED = sql(
    delete(queue)
    .where(queue.c.envelope == bindparam("envelope"))
    .where(queue.c.digest == bindparam("digest"))
    .returning(queue.c.position)
)
_LEFT = sql(select(queue.c.position).where(queue.c.envelope == bindparam("envelope")).limit(1))
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
    update(queue).where(queue.c.envelope == bindparam("envelope_")).values(held=True, due=NEVER)
)
_LATER = case(
    (queue.c.lease_until > queue.c.next_attempt, queue.c.lease_until), else_=queue.c.next_attempt
)
_UNHOLD = sql(
    update(queue)
    .where(queue.c.envelope == bindparam("envelope_"))
    .where(queue.c.held.is_(True))
    .values(held=False, due=_LATER)
)
_AT_ONCE = {
    "next_attempt": bindparam("now"),
    "queued_at": case(
        (queue.c.queued_at > bindparam("now"), bindparam("now")), else_=queue.c.queued_at
    ),
    "release_at": 0,
    "due": case(
        (queue.c.held.is_(True), NEVER),
        (queue.c.lease_until > bindparam("now"), queue.c.lease_until),
        else_=AT_ONCE,
    ),
}
_WAITS = queue.c.next_attempt > bindparam("now")
_NOW = sql(
    update(queue).where(queue.c.envelope == bindparam("envelope_")).where(_WAITS).values(_AT_ONCE)
)
_IS_RELEASED = queue.c.release_at <= bindparam("now")
_MAY_LEAVE = and_(queue.c.envelope == bindparam("envelope_"), queue.c.held.is_(False), _IS_RELEASED)
_FREE = sql(select(func.count()).select_from(queue).where(_MAY_LEAVE))
_FREE_NOW = sql(update(queue).where(_MAY_LEAVE).where(_WAITS).values(_AT_ONCE))
_ALL_NOW = sql(update(queue).where(_WAITS).where(_IS_RELEASED).values(_AT_ONCE))
_DOMAIN_NOW = sql(
    update(queue)
    .where(queue.c.domain == bindparam("domain_"))
    .where(_WAITS)
    .where(_IS_RELEASED)
    .values(_AT_ONCE)
)


class QueueWriting(LeaseWriting, ReceiptWriting):
    """Working the queue off."""

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

    def hold(self, envelope: EnvelopeId, *, on: bool = True) -> int:
        """Stop or resume trying; how many recipients."""
        return self._woken(self._run(_HOLD if on else _UNHOLD, envelope_=envelope))

    def decide(
        self,
        envelope: EnvelopeId,
        decision: Decision,
        note: str,
        now: datetime,
        *,
        is_named: bool = True,
    ) -> int:
        """What the administrator does about a message that waits; how many recipients.

        Unless it `is_named`, one of many, what is held stays so and what its sender wants later
        leaves then: to try everything again decides about neither. The ledger keeps what, who and
        why (`note`), sealed under the sender's side.
        """
        if decision == "dropped":
            return self.drop(envelope, note)
        if decision == "retried" and not is_named:
            count = int(self._new(_FREE, envelope_=envelope, now=to_us(now))[0])
            self._woken(self._run(_FREE_NOW, envelope_=envelope, now=to_us(now)))
        elif decision == "retried":
            self.hold(envelope, on=False)
            self.retry_now(envelope, now)
            count = len(self._all(OF_ENVELOPE, envelope=envelope))
        else:
            count = self.hold(envelope, on=decision == "held")
        stored = self._envelope(envelope)
        if count and stored is not None:
            lines: list[Line] = [("reply", note)]
            key = self._owner_key(stored.owner)
            self._event("intervention", envelope, lines, (key,), result=decision)
        return count

    def drop(self, envelope: EnvelopeId, reason: str) -> int:
        """Discard waiting recipients by decision of the administrator; how many.

        The ledger keeps who and why; no DSN is written.
        """
        stored = self._envelope(envelope)
        rows = self._all(OF_ENVELOPE, envelope=envelope)
        if stored is None or not rows:
            return 0
        key = self._owner_key(stored.owner)
        for row in rows:
            lines: list[Line] = [("reply", reason)]
            try:
                to = self._opened_recipient(key, row)
                lines.insert(0, ("recipient", str(to.address)))
            except Damaged:
                lines.insert(0, ("recipient", f"{ILLEGIBLE}@{row[2]}"))
            self._event("rejet", envelope, lines, (key,), result="dropped")
            self._run(_DONE, envelope_=envelope, position_=row[1])
        self._count(stored, dropped=len(rows))
        self.show_outcome(envelope)
        return len(rows)

    def retry_now(self, envelope: EnvelopeId | None, now: datetime) -> int:
        """Make waiting recipients due, of one envelope or of all; how many.

        What its sender wants later (RFC 4865) goes out sooner only when it is named.
        """
        if envelope is None:
            return self._woken(self._run(_ALL_NOW, now=to_us(now)))
        return self._woken(self._run(_NOW, envelope_=envelope, now=to_us(now)))

    def retry_domains(self, domains: Iterable[Domain], now: datetime) -> int:
        """Make what waits for these domains due; how many recipients (OP-34)."""
        rows = sum(self._run(_DOMAIN_NOW, domain_=each, now=to_us(now)) for each in domains)
        return self._woken(rows)

    def _were_taken(self, rows: Sequence[Row]) -> None:
        """The peer said 250, and whoever was to write it down died (D4)."""
        by_envelope: dict[EnvelopeId, list[Row]] = {}
        for row in rows:
            by_envelope.setdefault(EnvelopeId(row[0]), []).append(row)
        for id, group in by_envelope.items():
            try:
                key = self._owner_key(self._known_envelope(id).owner)
                found = [self._opened_recipient(key, row) for row in group]
            except (Damaged, NoSuchMessage):
                continue
            self.record([Outcome(id, each, "delivered", _TAKEN.reply) for each in found], _TAKEN)

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
            if outcome.result == "retry":
                rows = self._tried(key, digests, outcome, held_until)
            else:
                rows = sum(len(self._all(_SETTLED, envelope=id, digest=d)) for d in digests)
                delivered += rows * (outcome.result == "delivered")
                bounced += rows * (outcome.result != "delivered")
            if rows:
                counted.append(outcome)
            if outcome.result != "retry" or outcome.warned:
                for _ in range(rows):
                    self._outcome_event(key, outcome)
        addresses: list[Address] = [outcome.recipient.address for outcome in outcomes]
        trace = (stored.size, stored.traced)
        self._trace_transfer(stored.envelope, addresses, transfer, key, trace)
        self._count(stored, delivered=delivered, bounced=bounced)
        if any(each.warned or each.result in ("failed", "expired") for each in counted):
            self.show_outcome(id)
        return counted

    def _tried(
        self,
        key: OwnerKey,
        digests: Iterable[bytes],
        outcome: Outcome,
        held_until: datetime | None,
    ) -> int:
        """Have a recipient wait for its next attempt; how many rows that are."""
        id = outcome.envelope
        rows = [row for d in digests for row in self._all(_BYRECIPIENT, envelope=id, digest=d)]
        if held_until is not None:
            # Whoever leased it since has a lease that ends later.
            rows = [row for row in rows if row[1] <= to_us(held_until)]
        for position, _ in rows:
            self._retry(key, position, outcome)
        return len(rows)

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
        kinds: dict[str, EventKind] = {"delivered": "relais", "retry": "retard"}
        kind = kinds.get(outcome.result, "rejet")
        self._event(kind, outcome.envelope, lines, (key,), result=outcome.result)

    def _count(
        self, stored: StoredEnvelope, *, delivered: int = 0, bounced: int = 0, dropped: int = 0
    ) -> None:
        """Count what left the queue; when nobody is left, drop the content."""
        id = stored.envelope.id
        if delivered or bounced or dropped:
            more = {"more_delivered": delivered, "more_bounced": bounced, "more_dropped": dropped}
            self._run(_COUNT, envelope=id, **more)
        is_over = self._one(_LEFT, envelope=id) is None and not self._is_invited(id)
        if stored.blob is not None and is_over:
            self._run(_FORGET_BLOB, envelope=id)
            self._release(stored.blob, stored.owner)

"""Service mail that waits for its relay (DEF-04): a queue of its own, which no other code reads.

Two sorts of rows. An *event* names a box and a letter, nothing else: it costs a delivery one row,
and who is told of it is decided when it is taken up. A *notice* has an address, a language and a
few values, sealed under the master key, and loses them as soon as it has left or failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import AccountId, Address, BalId, Envelope, EnvelopeId
from mssmtp.storage.delivery import EnvelopeReading
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.noting import NEW_NOTICE, SEAL_NOTICE, NoticeNoting, notice_purpose
from mssmtp.storage.schema import NEVER, blobs, notices, sql
from mssmtp.storage.view import Row

KEPT = timedelta(days=7)
"""What has left is remembered so long, without its address: for limits and for `doctor`."""
RELAY_STUCK = "relay"
"""Outcome of a notice that waits because the relay takes nothing."""
AWAITED = ("code", "registration", "registered", "reset")
"""Kinds for which somebody waits in front of a screen: they leave before all others."""

_AWAITED_KINDS = {each: each for each in AWAITED}

_COLUMNS = (
    notices.c.id,
    notices.c.kind,
    notices.c.account,
    notices.c.bal,
    notices.c.blob,
    notices.c.sealed,
    notices.c.at,
    notices.c.expires_at,
    notices.c.attempts,
)
_WAITS = notices.c.due < NEVER
_IS_DUE = notices.c.due <= bindparam("now")
_EVENTS = sql(
    select(*_COLUMNS)
    .where(_IS_DUE)
    .where(notices.c.digest.is_(None))
    .order_by(notices.c.due, notices.c.id)
    .limit(bindparam("most"))
)
_FIRST = sql(
    select(*_COLUMNS)
    .where(_IS_DUE)
    .where(notices.c.digest.is_not(None))
    .where(notices.c.kind.in_([bindparam(each) for each in AWAITED]))
    .order_by(notices.c.due, notices.c.id)
    .limit(bindparam("most"))
)
_DUE = sql(
    select(*_COLUMNS)
    .where(_IS_DUE)
    .where(notices.c.digest.is_not(None))
    .order_by(notices.c.due, notices.c.id)
    .limit(bindparam("most"))
)
_WAITING = sql(
    select(*_COLUMNS).where(_WAITS).where(notices.c.digest.is_not(None)).order_by(notices.c.id)
)
_WAITS_ABOUT = sql(
    select(notices.c.id)
    .where(_WAITS)
    .where(notices.c.digest.is_not(None))
    .where(notices.c.kind == bindparam("kind"))
    .where(notices.c.bal == bindparam("bal"))
    .limit(1)
)
_ENVELOPE_OF = sql(select(blobs.c.envelope).where(blobs.c.number == bindparam("blob")))
_ANY_DUE = sql(select(notices.c.id).where(_IS_DUE).limit(1))
_LEASE = sql(
    update(notices)
    .where(notices.c.id == bindparam("notice"))
    .values(due=bindparam("until"), lease_worker=bindparam("worker"))
)
_LATER = sql(
    update(notices)
    .where(notices.c.id == bindparam("notice"))
    .where(_WAITS)
    .values(
        due=bindparam("at_"),
        attempts=notices.c.attempts + bindparam("more"),
        outcome=bindparam("why"),
        lease_worker=None,
    )
)
_DONE = sql(
    update(notices)
    .where(notices.c.id == bindparam("notice"))
    .where(_WAITS)
    .values(
        sealed=None,
        due=NEVER,
        done_at=bindparam("at_"),
        outcome=bindparam("why"),
        lease_worker=None,
    )
)
_DROP = sql(delete(notices).where(notices.c.id == bindparam("notice")))
_STUCK = sql(
    select(notices.c.at).where(_WAITS).where(notices.c.outcome == bindparam("relay")).limit(1)
)
_UNSTICK = sql(
    update(notices)
    .where(_WAITS)
    .where(notices.c.outcome == bindparam("relay"))
    .values(outcome=None)
)
_SINCE = sql(
    select(func.count())
    .select_from(notices)
    .where(notices.c.digest == bindparam("digest"))
    .where(notices.c.at >= bindparam("since"))
    .where(notices.c.kind == bindparam("kind"))
)
_GATHERING = sql(
    select(*_COLUMNS)
    .where(_WAITS)
    .where(notices.c.digest == bindparam("digest"))
    .where(notices.c.kind == bindparam("kind"))
    .where(notices.c.bal == bindparam("bal"))
    .where(notices.c.lease_worker.is_(None))
    .order_by(notices.c.id)
    .limit(1)
)
_STATE = sql(
    select(func.count(), func.min(notices.c.at)).where(_WAITS).where(notices.c.digest.is_not(None))
)
_FORGET = sql(delete(notices).where(notices.c.done_at < bindparam("before")))
_OUTDATED = sql(
    delete(notices)
    .where(_WAITS)
    .where(notices.c.digest.is_(None))
    .where(notices.c.expires_at < bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened in a box, of which somebody may be told. `told` is what is sealed with it."""

    id: int
    kind: str
    bal: BalId
    blob: int | None
    at: datetime
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """One service mail. `values` are JSON."""

    id: int
    kind: str
    to: Address
    language: str
    values: Mapping[str, Any]
    at: datetime
    expires_at: datetime
    attempts: int
    bal: BalId | None = None


@dataclass(frozen=True, slots=True)
class NewNotice:
    """A service mail to be queued. `account` and `bal`: whom and what it concerns."""

    kind: str
    to: Address
    language: str
    values: Mapping[str, Any]
    due: datetime
    expires_at: datetime
    account: AccountId | None = None
    bal: BalId | None = None


class NoticeReading(EnvelopeReading):
    """Looking at the queue of service mail."""

    def envelope_of(self, blob: int) -> Envelope | None:
        """With what a letter was accepted."""
        row = self._one(_ENVELOPE_OF, blob=blob)
        stored = None if row is None or row[0] is None else self._envelope(EnvelopeId(row[0]))
        return None if stored is None else stored.envelope

    def has_due_notices(self, now: datetime) -> bool:
        """Something is to be taken up or sent."""
        return self._one(_ANY_DUE, now=to_us(now)) is not None

    def notice_waits(self, kind: str, bal: BalId) -> bool:
        """One of this kind about the box has neither left nor failed."""
        return self._one(_WAITS_ABOUT, kind=kind, bal=bal) is not None

    def relay_stuck_since(self) -> datetime | None:
        """Since when a service mail waits because the relay takes nothing; None: it does not."""
        row = self._one(_STUCK, relay=RELAY_STUCK)
        return None if row is None else from_us(row[0])

    def notice_state(self) -> tuple[int, datetime | None]:
        """How many service mails wait, and since when the oldest."""
        row = self._one(_STATE)
        count, oldest = (0, None) if row is None else row
        return int(count), None if oldest is None else from_us(oldest)

    def waiting_notices(self) -> tuple[Notice, ...]:
        """Those that can be read, oldest first: for checks and tests."""
        found = (self._readable(row) for row in self._all(_WAITING))
        return tuple(each for each in found if each is not None)

    def noticed_since(self, to: Address, kind: str, since: datetime) -> int:
        """Service mails of a kind to an address."""
        digests = self._master_digests(b"address", to.key)
        found = (self._one(_SINCE, digest=each, since=to_us(since), kind=kind) for each in digests)
        return sum(int(row[0]) for row in found if row is not None)

    def _readable(self, row: Row) -> Notice | None:
        try:
            return self._notice(row)
        except Damaged:
            return None

    def _notice(self, row: Row) -> Notice:
        """Raises Damaged."""
        id, kind, _, bal, _, sealed, at, expires_at, attempts = row
        opened = json.loads(self._master_open(notice_purpose(id), sealed))
        return Notice(
            id,
            kind,
            Address.parse(opened["to"]),
            opened["language"],
            opened["values"],
            from_us(at),
            from_us(expires_at),
            attempts,
            None if bal is None else BalId(bal),
        )


class NoticeWriting(NoticeReading, NoticeNoting):
    """Changes of it."""

    def queue_notice(self, new: NewNotice) -> int:
        """Put a service mail into the queue; its number."""
        row = self._new(
            NEW_NOTICE,
            kind=new.kind,
            account=new.account,
            bal=new.bal,
            blob=None,
            digest=self._master_digest(b"address", new.to.key),
            at=to_us(self._vault.clock.now()),
            due=to_us(new.due),
            expires_at=to_us(new.expires_at),
        )
        self._seal_notice(row[0], new.to, new.language, new.values)
        return int(row[0])

    def gather_notice(self, new: NewNotice, field: str, most: int) -> None:
        """Join the lines `new.values[field]` to the notice of its kind that waits for the same
        address and box, or queue it. `count` among the values is how many there are in all."""
        for digest in self._master_digests(b"address", new.to.key):
            row = self._one(_GATHERING, digest=digest, kind=new.kind, bal=new.bal)
            if row is None or (found := self._readable(row)) is None:
                continue
            lines = [*found.values[field], *new.values[field]][:most]
            count = int(found.values["count"]) + int(new.values["count"])
            values = {**found.values, field: lines, "count": str(count)}
            self._seal_notice(found.id, found.to, found.language, values)
            return
        self.queue_notice(new)

    def _seal_notice(self, id: int, to: Address, language: str, values: Mapping[str, Any]) -> None:
        opened = {"to": str(to), "language": language, "values": dict(values)}
        sealed = self._master_seal(notice_purpose(id), json.dumps(opened).encode())
        self._run(SEAL_NOTICE, notice=id, new=sealed)

    # ------------------------------------------------------------ events

    def take_events(self, now: datetime, most: int) -> Sequence[Happening]:
        """What has happened and was not taken up; the rows are gone."""
        found = []
        for row in self._all(_EVENTS, now=to_us(now), most=most):
            id, kind, _, bal, blob, sealed, at, _, _ = row
            self._run(_DROP, notice=id)
            octets = self._legible(self._master_open, notice_purpose(id), sealed) if sealed else b""
            if bal is None or octets is None:
                continue
            told = json.loads(octets) if octets else {}
            found.append(Happening(id, kind, BalId(bal), blob, from_us(at), told))
        return found

    # ------------------------------------------------------------ sending

    def lease_notices(
        self, now: datetime, most: int, worker: str, until: datetime
    ) -> Sequence[Notice]:
        """Due service mails, those that are awaited before others, held until `until`.

        What has expired or cannot be read is done with, and not among them.
        """
        rows = self._all(_FIRST, now=to_us(now), most=most, **_AWAITED_KINDS)
        if len(rows) < most:
            seen = {row[0] for row in rows}
            rows += [
                row for row in self._all(_DUE, now=to_us(now), most=most) if row[0] not in seen
            ]
        found = []
        for row in rows[:most]:
            notice = self._readable(row)
            if notice is None:
                self.notice_done(row[0], now, "damaged")
            elif notice.expires_at <= now:
                self.notice_done(notice.id, now, "expired")
            else:
                self._run(_LEASE, notice=notice.id, until=to_us(until), worker=worker)
                found.append(notice)
        return found

    def notice_done(self, id: int, now: datetime, outcome: str) -> None:
        """It has left, or never will: address and values are forgotten."""
        self._run(_DONE, notice=id, at_=to_us(now), why=outcome)

    def notice_later(self, id: int, at: datetime, why: str | None, *, attempted: bool) -> None:
        """Try again at `at`."""
        self._run(_LATER, notice=id, at_=to_us(at), why=why, more=int(attempted))

    def relay_works(self) -> None:
        """It takes mail again."""
        self._run(_UNSTICK, relay=RELAY_STUCK)

    def _forget_notices(self, now: datetime) -> None:
        self._run(_FORGET, before=to_us(now - KEPT))
        self._run(_OUTDATED, now=to_us(now))

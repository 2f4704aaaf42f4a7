"""Who has fetched and who has seen which message, once a day each (DEF-06).

Sessions note it in memory, which costs next to nothing; rows are written behind them, many at a
time, or with the commit that takes the messages away. They hold ids and times: no name, no subject.
What a process had noted within its last seconds is lost when it is killed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import BigInteger, Integer, Text, bindparam, insert, select

from mssmtp.mail import AccountId, BalId, EnvelopeId, MailboxId
from mssmtp.storage.activity import ActivityReading, ActivityWriting
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.noting import NoticeNoting
from mssmtp.storage.schema import blobs, mailboxes, messages, readings, sql
from mssmtp.storage.view import ranges

logger = logging.getLogger(__name__)

ReadingKind = Literal["releve", "lu"]
"""*Relevé*: software has fetched a part of the body. *Lu*: a person has set `\\\\Seen`."""

AT_ONCE = 5_000
"""Messages of one commit: who delivers meanwhile waits for it."""
MOST_NOTED = 200_000
"""Before it is time to write."""
MOST_KEPT = 2 * MOST_NOTED
"""While nothing can be written (a full disk): what is beyond is lost, memory is not (D11)."""
_DAY_US = 86_400_000_000

_HERE = select(
    mailboxes.c.bal,
    bindparam("day", type_=Integer()).label("day"),
    messages.c.blob,
    bindparam("account", type_=BigInteger()).label("account"),
    bindparam("kind", type_=Text()).label("kind"),
    bindparam("at", type_=BigInteger()).label("at"),
)
_NEW = insert(readings).from_select(
    ["bal", "day", "blob", "account", "kind", "at"],
    _HERE.join_from(messages, mailboxes, mailboxes.c.id == messages.c.mailbox)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid.between(bindparam("low"), bindparam("high")))
    # What is there already keeps its time; a letter twice in the mailbox is one.
    .suffix_with("ON CONFLICT DO NOTHING"),
)
_RECORD = sql(_NEW)
_RECORD_TELLING = sql(_NEW.returning(readings.c.bal, readings.c.blob))
"""Which were not there: as dear as writing them."""
_OF_BAL = sql(
    select(
        readings.c.kind,
        readings.c.at,
        readings.c.account,
        readings.c.blob,
        blobs.c.envelope,
    )
    .join_from(readings, blobs, blobs.c.number == readings.c.blob, isouter=True)
    .where(readings.c.bal == bindparam("bal"))
    .where(readings.c.day >= bindparam("first"))
    .order_by(readings.c.day, readings.c.at, readings.c.blob, readings.c.account, readings.c.kind)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class ReadingEvent:
    """One event. `envelope` is None for what came by no envelope, or is not here any more."""

    kind: str
    at: datetime
    account: AccountId
    message: int
    envelope: EnvelopeId | None


@dataclass(frozen=True, slots=True)
class _Who:
    account: AccountId
    mailbox: MailboxId
    kind: ReadingKind
    day: int


_Note = tuple[_Who, int, list[int]]
"""UIDs, and when the first of them was noted, in microseconds."""


class Noted:
    """What the sessions of one process have noted and no commit holds yet; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uids: dict[_Who, set[int]] = {}
        self._at_us: dict[_Who, int] = {}
        self._count = 0
        self.lost = 0
        """Since something was written last: once again, the log says so anew."""

    def add(
        self,
        account: AccountId,
        mailbox: MailboxId,
        uids: Collection[int],
        kind: ReadingKind,
        at: datetime,
    ) -> bool:
        """Remember it; True when it is time to write."""
        at_us = to_us(at)
        who = _Who(account, mailbox, kind, at_us // _DAY_US)
        with self._lock:
            known = self._uids.get(who, set())
            new = set(uids) - known
            room = max(MOST_KEPT - self._count, 0)
            kept = new if len(new) <= room else set(sorted(new)[:room])
            self._lose(len(new) - len(kept))
            if kept:
                known |= kept
                self._uids[who] = known
                self._at_us.setdefault(who, at_us)
                self._count += len(kept)
            return self._count >= MOST_NOTED

    def _lose(self, count: int) -> None:
        if count and not self.lost:
            logger.error("nothing can be written: who reads what now is not recorded")
        self.lost += count

    def __bool__(self) -> bool:
        return self._count > 0

    def some(self, most: int, mailbox: MailboxId | None = None) -> list[_Note]:
        """Up to `most`, of one mailbox when it is given, with the time of the first of each."""
        found = []
        with self._lock:
            for who, uids in self._uids.items():
                if most > 0 and mailbox in (None, who.mailbox):
                    chosen = sorted(uids)[:most]
                    found.append((who, self._at_us[who], chosen))
                    most -= len(chosen)
        return found

    def forget(self, done: Iterable[_Note]) -> None:
        """It is committed."""
        with self._lock:
            self.lost = 0
            for who, _, uids in done:
                known = self._uids.get(who, set())
                self._count -= len(known)
                known.difference_update(uids)
                self._count += len(known)
                if not known:
                    self._uids.pop(who, None)
                    self._at_us.pop(who, None)


class ReadingsReading(ActivityReading):
    """Looking at what was read."""

    def reading_events(
        self, bal: BalId, since: datetime, most: int = 10_000
    ) -> tuple[ReadingEvent, ...]:
        """Events of a box from the day of `since` on, in order."""
        rows = self._all(_OF_BAL, bal=bal, first=to_us(since) // _DAY_US, most=most)
        return tuple(
            ReadingEvent(
                kind,
                from_us(at),
                AccountId(account),
                blob,
                None if envelope is None else EnvelopeId(envelope),
            )
            for kind, at, account, blob, envelope in rows
        )


class ReadingsWriting(ReadingsReading, NoticeNoting, ActivityWriting):
    """Writing what was noted."""

    def record_readings(self) -> None:
        """Some of what the process has noted; ask `Noted` whether there is more."""
        self._record(self._vault.noted.some(AT_ONCE))

    def _record_readings_of(self, mailbox: MailboxId) -> None:
        """Before messages of it go away: afterwards nobody knows which they were."""
        if self._vault.noted:
            self._record(self._vault.noted.some(MOST_NOTED, mailbox))

    def _record(self, noted: list[_Note]) -> None:
        for who, at_us, uids in noted:
            self._note_read(who.mailbox, who.kind, at_us)
            is_told = who.kind == "lu" and self._vault.tells
            named = {"account": who.account, "mailbox": who.mailbox, "kind": who.kind}
            for low, high in ranges(uids):
                place = {**named, "day": who.day, "at": at_us, "low": low, "high": high}
                if not is_told:
                    self._run(_RECORD, **place)
                    continue
                for bal, blob in self._all(_RECORD_TELLING, **place):
                    self._note_first_opening(BalId(bal), blob, (who.day, who.account, at_us))
        if noted:
            self.effects.first.append(lambda: self._vault.noted.forget(noted))

"""Who has fetched and who has seen which message, once a day each (DEF-06).

Sessions note it in memory, which costs next to nothing; rows are written behind them, many at a
time. What is noted are letters of a box, known from the moment they are read: whatever becomes of
the message or its mailbox meanwhile, in this process or another, takes nothing away of it. A row is
a set of letters, not one: what a mail program fetches at its start is thousands. They hold ids and
times: no name, no subject. What a process had noted within its last seconds is lost when it is
killed.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Literal, NamedTuple

from sqlalchemy import Text, bindparam, cast, func, insert, literal_column, select

from mssmtp import metrics
from mssmtp.errors import Damaged
from mssmtp.mail import AccountId, BalId, EnvelopeId, MailboxId
from mssmtp.storage.activity import ActivityReading, ActivityWriting
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.noting import NoticeNoting
from mssmtp.storage.number_sets import MOST, packed, unpacked
from mssmtp.storage.schema import blobs, messages, readings, sql

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

_COMMA: Any = literal_column("','")  # SQLAlchemy would have a parameter, and `sql` none unnamed
_LETTERS = select(func.aggregate_strings(cast(messages.c.blob, Text), _COMMA)).where(
    messages.c.mailbox == bindparam("mailbox")
)
"""In one row: of two thousand the driver makes two thousand tuples, and gives the interpreter away
as often."""
_TOGETHER = tuple(f"number{number}" for number in range(32))
_IN_RANGE = sql(_LETTERS.where(messages.c.uid.between(bindparam("low"), bindparam("high"))))
_SCATTERED = sql(_LETTERS.where(messages.c.uid.in_([bindparam(name) for name in _TOGETHER])))
_SET = (readings.c.first, readings.c.last, readings.c.octets)
_TOUCHES = (readings.c.first <= bindparam("last")) & (readings.c.last >= bindparam("first"))
_KNOWN = sql(
    select(*_SET)
    .where(readings.c.bal == bindparam("bal"))
    .where(readings.c.day == bindparam("day"))
    .where(readings.c.account == bindparam("account"))
    .where(readings.c.kind == bindparam("kind"))
    .where(_TOUCHES)
)
_SEEN = sql(
    select(*_SET)
    .where(readings.c.bal == bindparam("bal"))
    .where(readings.c.day >= bindparam("day"))
    .where(readings.c.kind == bindparam("kind"))
    .where(_TOUCHES)
)
_NEW = sql(insert(readings))
_OF_BAL = sql(
    select(readings.c.at, readings.c.account, readings.c.kind, *_SET)
    .where(readings.c.bal == bindparam("bal"))
    .where(readings.c.day >= bindparam("since"))
    .order_by(readings.c.day, readings.c.at)
    .limit(bindparam("most"))
)
_CAME_BY = sql(
    select(blobs.c.number, blobs.c.envelope).where(
        blobs.c.number.in_([bindparam(name) for name in _TOGETHER])
    )
)


@dataclass(frozen=True, slots=True)
class ReadingEvent:
    """One event. `envelope` is None for what came by no envelope, or is not here any more."""

    kind: str
    at: datetime
    account: AccountId
    message: int
    envelope: EnvelopeId | None


class _Who(NamedTuple):
    account: AccountId
    bal: BalId
    kind: ReadingKind
    day: int


_Note = tuple[_Who, int, list[int]]
"""When the first of the letters was noted, in microseconds, and they, ascending."""


class Noted:
    """What the sessions of one process have noted and no commit holds yet; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: dict[_Who, set[int]] = {}
        self._at_us: dict[_Who, int] = {}
        self._count = 0
        self.lost = 0
        """Since something was written last: once again, the log says so anew."""

    def add(
        self,
        account: AccountId,
        bal: BalId,
        letters: Collection[int],
        kind: ReadingKind,
        at: datetime,
    ) -> bool:
        """Remember it; True when it is time to write."""
        at_us = to_us(at)
        who = _Who(account, bal, kind, _day(at_us))
        with self._lock:
            known = self._letters.get(who, set())
            before = len(known)
            room = MOST_KEPT - self._count
            fits = len(letters) <= room
            known.update(letters if fits else self._fitting(set(letters) - known, room))
            if known:
                self._letters[who] = known
                self._at_us.setdefault(who, at_us)
                self._count += len(known) - before
            return self.is_due

    def _fitting(self, new: set[int], room: int) -> Collection[int]:
        kept = new if len(new) <= room else sorted(new)[: max(room, 0)]
        self._lose(len(new) - len(kept))
        return kept

    def _lose(self, count: int) -> None:
        if count and not self.lost:
            logger.error("nothing can be written: who reads what now is not recorded")
        self.lost += count

    def __bool__(self) -> bool:
        return self._count > 0

    @property
    def is_due(self) -> bool:
        """So much is noted that it is time to write."""
        return self._count >= MOST_NOTED

    def some(self, most: int, bal: BalId | None = None) -> list[_Note]:
        """Up to `most`, of one box when it is given, with the time of the first of each."""
        found = []
        with self._lock:
            for who, letters in self._letters.items():
                if most > 0 and bal in (None, who.bal):
                    chosen = sorted(letters)[:most]
                    found.append((who, self._at_us[who], chosen))
                    most -= len(chosen)
        return found

    def forget(self, done: Iterable[_Note]) -> None:
        """It is committed."""
        with self._lock:
            self.lost = 0
            for who, _, letters in done:
                known = self._letters.get(who, set())
                self._count -= len(known)
                known.difference_update(letters)
                self._count += len(known)
                if not known:
                    self._letters.pop(who, None)
                    self._at_us.pop(who, None)


class ReadingsReading(ActivityReading):
    """Looking at what was read."""

    def reading_events(
        self, bal: BalId, since: datetime, most: int = 10_000
    ) -> tuple[ReadingEvent, ...]:
        """Events of a box from the day of `since` on, in order."""
        found: list[tuple[int, int, int, str]] = []
        rows = self._all(_OF_BAL, bal=bal, since=_day(to_us(since)), most=most)
        for at, account, kind, *letters in rows:
            if len(found) >= most and at > found[-1][0]:
                break
            found += [(at, letter, account, kind) for letter in _letters_of(*letters)]
        found = sorted(found)[:most]
        came_by = self._came_by(sorted({letter for _, letter, _, _ in found}))
        return tuple(
            ReadingEvent(kind, from_us(at), AccountId(account), letter, came_by.get(letter))
            for at, letter, account, kind in found
        )

    def letters_of(self, mailbox: MailboxId, uids: Iterable[tuple[int, int]]) -> set[int]:
        """The letters in a mailbox with UIDs in these closed ranges, for `Noted`."""
        spans = list(uids)
        found = [
            self._one(_IN_RANGE, mailbox=mailbox, low=low, high=high)
            for low, high in spans
            if low != high
        ]
        for named in _named([low for low, high in spans if low == high]):
            found.append(self._one(_SCATTERED, mailbox=mailbox, **named))
        texts = (row[0] for row in found if row is not None and row[0])
        return set(chain.from_iterable(json.loads(f"[{text}]") for text in texts))

    def _came_by(self, letters: Sequence[int]) -> dict[int, EnvelopeId]:
        """The envelopes of those that came by one and are still here."""
        found: dict[int, EnvelopeId] = {}
        for named in _named(letters):
            rows = self._all(_CAME_BY, **named)
            found |= {letter: EnvelopeId(id) for letter, id in rows if id is not None}
        return found


def _named(numbers: Sequence[int]) -> Iterator[dict[str, int]]:
    """For statements of several numbers; where they do not fill one the last comes again and
    again."""
    for at in range(0, len(numbers), len(_TOGETHER)):
        some = numbers[at : at + len(_TOGETHER)]
        yield dict.fromkeys(_TOGETHER, some[-1]) | dict(zip(_TOGETHER, some, strict=False))


def _letters_of(first: int, last: int, octets: bytes) -> Sequence[int]:
    """The letters of a row; of a damaged one, and with a line in the log, those it names itself.

    One bad row must neither hide the others nor keep what is read next from being written (D10).
    """
    try:
        return unpacked(first, last, octets)
    except Damaged:
        metrics.internal_errors.labels("storage").inc()
        logger.error("a set of letters that were read is damaged")
        return sorted({first, last})


def _day(at_us: int) -> int:
    return at_us // _DAY_US


class ReadingsWriting(ReadingsReading, NoticeNoting, ActivityWriting):
    """Writing what was noted."""

    def note_read(
        self, account: AccountId, bal: BalId, letters: Collection[int], kind: ReadingKind
    ) -> None:
        """Noted once this job is committed: also for a session that ends before it is answered."""
        noted, at = self._vault.noted, self.now()
        if noted.is_due:
            self.record_readings()

        def add() -> None:
            noted.add(account, bal, letters, kind, at)

        self.effects.first.append(add)

    def record_read(
        self, account: AccountId, bal: BalId, letters: Collection[int], kind: ReadingKind
    ) -> None:
        """Written down in the commit of this job."""
        at_us = to_us(self.now())
        self._keep_readings(_Who(account, bal, kind, _day(at_us)), at_us, sorted(letters))

    def record_readings(self) -> None:
        """Some of what the process has noted; ask `Noted` whether there is more."""
        self._record(self._vault.noted.some(AT_ONCE))

    def _record_readings_in(self, bal: BalId) -> None:
        """Before letters of it go away: afterwards nobody knows whom to tell that they were opened
        (SEED-62)."""
        if self._vault.noted:
            self._record(self._vault.noted.some(MOST_NOTED, bal))

    def _record(self, noted: list[_Note]) -> None:
        for note in noted:
            self._keep_readings(*note)
        if noted:
            self.effects.first.append(lambda: self._vault.noted.forget(noted))

    def _keep_readings(self, who: _Who, at_us: int, letters: Sequence[int]) -> None:
        """Those of `letters`, ascending, that are not there already, which keep their time."""
        if not letters or not self._note_read(who.bal, who.kind, at_us):
            return  # a box that was removed since, with all that was read in it
        place = {"bal": who.bal, "day": who.day, "account": who.account, "kind": who.kind}
        new = letters
        if known := self._all(_KNOWN, **place, first=letters[0], last=letters[-1]):
            new = sorted(set(letters).difference(*(_letters_of(*row) for row in known)))
        if who.kind == "lu" and self._vault.tells:
            self._tell_senders(who.bal, new, who.day, at_us)
        for start in range(0, len(new), MOST):
            first, last, octets = packed(new[start : start + MOST])
            values = {"first": first, "last": last, "octets": octets, "at": at_us}
            self._later(_NEW, **place, **values)

    def _tell_senders(self, bal: BalId, letters: Sequence[int], day: int, at_us: int) -> None:
        """Somebody has seen `letters` in `bal`, of which no row says so yet: their senders, if of
        this operator, may want to know it the first time (SEED-62)."""
        sent = {letter: found for letter in letters if (found := self._sent_from(letter, bal))}
        if not sent:
            return
        # Nobody has seen a letter before it was here; clocks differ, and go back.
        since = min(day, *(_day(found.made_at_us) for found in sent.values())) - 1
        span = {"first": min(sent), "last": max(sent)}
        for row in self._all(_SEEN, bal=bal, kind="lu", day=since, **span):
            for letter in _letters_of(*row):
                sent.pop(letter, None)
        for letter, found in sent.items():
            told = {"reader": bal, "at": at_us, "envelope": found.envelope}
            self.note_opening(found.bal, told, letter)

"""Message rows: UIDs, modseqs, flags (RFC 3501 2.3.1, 2.3.2; RFC 7162), expunge, copy, move.

Rows are the truth. UIDs and modseqs are counters of the mailbox row, changed in the transaction
that uses them: they never go back (D5, GEN-01).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, func, insert, select, update

from mssmtp.mail import ALL_RIGHTS, BalId, ChangeKind, MailboxId, ModSeq, Uid, UidValidity
from mssmtp.storage.contents import ContentReading, ContentWriting
from mssmtp.storage.flags import DELETED, SEEN
from mssmtp.storage.imaging import COUNT_UNSEEN, ImageReading, ImageWriting
from mssmtp.storage.ledger import LedgerWriting
from mssmtp.storage.model import (
    FlagsOperation,
    Letter,
    MessageRow,
    NoSuchMailbox,
    NoSuchMessage,
    Stored,
    to_us,
)
from mssmtp.storage.schema import mailboxes, messages, packs, sql, texts
from mssmtp.storage.tombstones import TombstoneReading, TombstoneWriting
from mssmtp.storage.view import Row, ranges

MAX_UID = (1 << 32) - 1
PACK_UIDS = 512
"""UIDs of one pack window."""
TEXT_UIDS = 128
"""UIDs of one window of texts: what an expunge throws away, and has to be read again."""

_ROW = select(
    messages.c.uid,
    messages.c.modseq,
    messages.c.flags,
    messages.c.size,
    messages.c.internal_date,
).where(messages.c.mailbox == bindparam("mailbox"))
_IN_RANGE = messages.c.uid.between(bindparam("low"), bindparam("high"))
_CHANGED = messages.c.modseq > bindparam("modseq")
_ALL_ROWS = sql(_ROW.order_by(messages.c.uid))
_ROWS = sql(_ROW.where(_IN_RANGE).order_by(messages.c.uid))
_ROWS_FROM = sql(
    _ROW.where(messages.c.uid >= bindparam("low")).order_by(messages.c.uid).limit(PACK_UIDS)
)
_TOGETHER = tuple(f"uid{number}" for number in range(32))
_ROWS_TOGETHER = sql(_ROW.where(messages.c.uid.in_([bindparam(name) for name in _TOGETHER])))
_CHANGED_ROWS = sql(_ROW.where(_CHANGED))
_CHANGED_ROWS_IN = sql(_ROW.where(_CHANGED).where(_IN_RANGE).order_by(messages.c.uid))
_CHANGED_UIDS = sql(
    select(messages.c.uid)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.modseq > bindparam("modseq"))
)
_UIDS = sql(
    select(messages.c.uid)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(_IN_RANGE)
    .order_by(messages.c.uid)
)
_DATES = sql(
    select(messages.c.internal_date)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(_IN_RANGE)
    .order_by(messages.c.uid)
)
_ARRIVALS = sql(
    select(messages.c.uid, messages.c.internal_date, messages.c.size)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(_IN_RANGE)
    .order_by(messages.c.uid)
)
_SAVED_IN = sql(
    select(messages.c.uid, func.coalesce(messages.c.saved_at, messages.c.internal_date))
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(_IN_RANGE)
)
_SAVED_AT = sql(
    select(messages.c.saved_at)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid == bindparam("uid"))
)
_DELETED_UIDS = sql(
    select(messages.c.uid)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.flags.bitwise_and(DELETED) != 0)
    .order_by(messages.c.uid)
)
_BAL_OF = sql(select(mailboxes.c.bal).where(mailboxes.c.id == bindparam("mailbox")))
_ADD = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox"))
    .values(
        uid_next=mailboxes.c.uid_next + bindparam("many"),
        highest_modseq=mailboxes.c.highest_modseq + 1,
        messages=mailboxes.c.messages + bindparam("many"),
        unseen=mailboxes.c.unseen + bindparam("more_unseen"),
        size=mailboxes.c.size + bindparam("more_size"),
    )
    .returning(
        mailboxes.c.uid_next, mailboxes.c.highest_modseq, mailboxes.c.uid_validity, mailboxes.c.bal
    )
)
_NEW_MESSAGE = sql(insert(messages))
_FULL_ROWS = select(*_ROW.selected_columns, messages.c.blob).where(
    messages.c.mailbox == bindparam("mailbox")
)
_FULL_ROWS_IN = sql(_FULL_ROWS.where(_IN_RANGE).order_by(messages.c.uid))
_ALL_FULL_ROWS = sql(_FULL_ROWS.order_by(messages.c.uid))
_DROP = sql(delete(messages).where(messages.c.mailbox == bindparam("mailbox")).where(_IN_RANGE))
_UNCOUNT = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox_"))
    .values(
        messages=mailboxes.c.messages - bindparam("fewer"),
        unseen=mailboxes.c.unseen - bindparam("fewer_unseen"),
        size=mailboxes.c.size - bindparam("fewer_size"),
    )
)
_DROP_PACK = sql(
    delete(packs)
    .where(packs.c.mailbox == bindparam("mailbox"))
    .where(packs.c.window == bindparam("window"))
)
_DROP_PACKS = sql(delete(packs).where(packs.c.mailbox == bindparam("mailbox")))
_DROP_TEXTS_IN = sql(
    delete(texts)
    .where(texts.c.mailbox == bindparam("mailbox"))
    .where(texts.c.kind == bindparam("kind"))
    .where(texts.c.first.between(bindparam("low"), bindparam("high")))
)
_DROP_TEXTS = sql(delete(texts).where(texts.c.mailbox == bindparam("mailbox")))


class MessageReading(ImageReading, ContentReading, TombstoneReading):
    """Looking at messages."""

    def messages(
        self,
        mailbox: MailboxId,
        uids: Sequence[tuple[int, int]] | None = None,
        changed_since: ModSeq | None = None,
    ) -> list[MessageRow]:
        """Rows ordered by UID: in the closed ranges `uids` (all when None), with a modseq above
        `changed_since` when given."""
        names = self._flag_sets(mailbox)
        if changed_since is not None:
            return names.rows(self._changed_rows(mailbox, uids, changed_since))
        if uids is None:
            return names.rows(self._as_now(mailbox, self._all(_ALL_ROWS, mailbox=mailbox)))
        return names.rows(self._as_now(mailbox, self._rows_in(mailbox, merged(uids))))

    def _changed_rows(
        self, mailbox: MailboxId, uids: Sequence[tuple[int, int]] | None, modseq: ModSeq
    ) -> list[Row]:
        """What came and what was changed with a modseq above `modseq`."""
        marks = {mark[0]: mark for mark in self._marks_since(mailbox, modseq)}
        changed = list(marks)
        spans = None if uids is None else merged(uids)
        if spans is None or sum(high - low for low, high in spans) > PACK_UIDS:
            # Not sorted, nor by UIDs: asked for that, SQLite reads the whole mailbox.
            came = self._all(_CHANGED_ROWS, mailbox=mailbox, modseq=modseq)
        else:
            came = []
            for low, high in spans:
                values = {"low": low, "high": high, "modseq": modseq}
                came += self._all(_CHANGED_ROWS_IN, mailbox=mailbox, **values)
        if spans is not None:
            wanted = frozenset(within((row[0] for row in came), spans))
            came = [row for row in came if row[0] in wanted]
            changed = within(marks, spans)
        found: dict[int, Row] = {row[0]: row for row in came}
        missing = list(ranges([uid for uid in changed if uid not in found]))
        found |= {row[0]: row for row in self._rows_in(mailbox, missing)}
        rows = (found[uid] for uid in sorted(found))
        return [marks.get(row[0], row[:3]) + row[3:] for row in rows]

    def _rows_in(self, mailbox: MailboxId, spans: Sequence[tuple[int, int]]) -> list[Row]:
        """Rows of `spans`, which are `merged`. Scattered UIDs are asked for many at a time."""
        singles = [low for low, high in spans if low == high]
        together = len(singles) - len(singles) % len(_TOGETHER)
        found: list[Row] = []
        for at in range(0, together, len(_TOGETHER)):
            some = dict(zip(_TOGETHER, singles[at : at + len(_TOGETHER)], strict=True))
            found += self._all(_ROWS_TOGETHER, mailbox=mailbox, **some)
        last = singles[together - 1] if together else 0
        for low, high in spans:
            if low != high or low > last:
                found += self._all(_ROWS, mailbox=mailbox, low=low, high=high)
        return sorted(found) if together else found

    def uids(self, mailbox: MailboxId, first: int = 1, last: int = MAX_UID) -> list[Uid]:
        """UIDs from `first` to `last`, ascending: a fraction of what the rows cost."""
        return [uid for (uid,) in self._all(_UIDS, mailbox=mailbox, low=first, high=last)]

    def changed_uids(self, mailbox: MailboxId, modseq: ModSeq) -> list[Uid]:
        """UIDs of the messages with a modseq above `modseq`, ascending."""
        # Sorted here: asked to do it, SQLite reads the whole mailbox in the order of UIDs.
        came = {uid for (uid,) in self._all(_CHANGED_UIDS, mailbox=mailbox, modseq=modseq)}
        changed = (mark[0] for mark in self._marks_since(mailbox, modseq))
        return [Uid(uid) for uid in sorted(came.union(changed))]

    def internal_dates(self, mailbox: MailboxId, first: int, last: int) -> list[int]:
        """INTERNALDATE of the messages with the UIDs `first` to `last`, in microseconds."""
        return [at_us for (at_us,) in self._all(_DATES, mailbox=mailbox, low=first, high=last)]

    def arrivals(self, mailbox: MailboxId, uids: Sequence[int]) -> list[tuple[int, int]]:
        """INTERNALDATE in microseconds and size of each of `uids`, ascending; 0 of one that is
        gone."""
        if not uids:
            return []
        low, high = uids[0], uids[-1]
        if high - low < 4 * len(uids):
            rows = self._all(_ARRIVALS, mailbox=mailbox, low=low, high=high)
            found = {uid: (at_us, size) for uid, at_us, size in rows}
        else:
            scattered = self.messages(mailbox, [(uid, uid) for uid in uids])
            found = {row.uid: (row.internal_date_us, row.size_octets) for row in scattered}
        return [found.get(uid, (0, 0)) for uid in uids]

    def saved_at(self, mailbox: MailboxId, uid: Uid) -> int | None:
        """Since when a message is in this mailbox (RFC 8514), in microseconds; None: not known."""
        row = self._one(_SAVED_AT, mailbox=mailbox, uid=uid)
        return None if row is None else row[0]

    def saved_dates(self, mailbox: MailboxId, first: int, last: int) -> dict[int, int]:
        """`saved_at` of the UIDs `first` to `last`; INTERNALDATE where it is not known."""
        return dict(self._all(_SAVED_IN, mailbox=mailbox, low=first, high=last))

    def first_unseen(self, mailbox: MailboxId) -> Uid | None:
        """The lowest UID without `\\Seen`, None when all have it (RFC 3501 6.3.1 UNSEEN)."""
        low = 1
        while rows := self._all(_ROWS_FROM, mailbox=mailbox, low=low):
            for uid, _, bits, *_ in self._as_now(mailbox, rows):
                if not bits & SEEN:
                    return Uid(uid)
            low = rows[-1][0] + 1
        return None

    def deleted(self, mailbox: MailboxId) -> list[Uid]:
        """UIDs of the messages with `\\Deleted`, ascending: what EXPUNGE would remove."""
        came = {uid for (uid,) in self._all(_DELETED_UIDS, mailbox=mailbox)}
        for state in self._states(mailbox):
            if came:
                came.difference_update(state.uids)
            if any(bits & DELETED for bits in state.sets):
                came.update(uid for uid, _, bits in state.marks() if bits & DELETED)
        return [Uid(uid) for uid in sorted(came)]

    def _bal_of(self, mailbox: MailboxId) -> BalId:
        """Raises NoSuchMailbox."""
        row = self._one(_BAL_OF, mailbox=mailbox)
        if row is None:
            raise NoSuchMailbox
        return BalId(row[0])


class MessageWriting(MessageReading, ImageWriting, ContentWriting, TombstoneWriting, LedgerWriting):
    """Changing messages."""

    def append(
        self, mailbox: MailboxId, letter: Letter, flags: frozenset[str], internal_date: datetime
    ) -> Uid:
        """Store a letter without envelope (RFC 3501 6.3.11).

        Raises NoSuchMailbox, TooManyKeywords, OverQuota.
        """
        key = self._bal_key(self._demand_room_around(mailbox, letter.size_octets, 1))
        blob = self._adopt(letter, None)
        self._refer(blob, key, letter, shown=True)
        bits = self._flag_bits(mailbox, flags)
        return self._add_message(
            mailbox, (bits, letter.size_octets, to_us(internal_date), blob)
        ).uid

    def store_flags(
        self,
        mailbox: MailboxId,
        uids: Sequence[Uid],
        operation: FlagsOperation,
        flags: frozenset[str],
        rights: str = ALL_RIGHTS,
    ) -> list[MessageRow]:
        """Add, remove or replace flags (RFC 3501 6.4.6), as far as `rights` allow; rows of all
        named messages that exist.

        Only messages that change get a new modseq, one for all of them. Raises NoSuchMailbox,
        TooManyKeywords.
        """
        self._bal_of(mailbox)
        rows = self._as_now(mailbox, self._rows_in(mailbox, list(ranges(uids))))
        if not rows:
            return []
        keep, more = self._effect(mailbox, operation, flags, rights)
        after = [(row, row[2] & keep | more) for row in rows]
        changed = [(row, bits) for row, bits in after if bits != row[2]]
        if changed:
            modseq, bal = self._bump(mailbox)
            self._set_marks(mailbox, [(row[0], modseq, bits) for row, bits in changed])
            fewer = sum((bits & SEEN) - (row[2] & SEEN) for row, bits in changed)
            self._run(COUNT_UNSEEN, mailbox_=mailbox, more=-fewer)
            self._changed(ChangeKind.FLAGS, bal, mailbox, modseq)
            rows = [
                row if bits == row[2] else (row[0], modseq, bits, *row[3:]) for row, bits in after
            ]
        return self._flag_sets(mailbox).rows(rows)

    def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> list[Uid]:
        """Remove the messages with `\\Deleted`, of `uids` only when given (RFC 4315 2.1)."""
        bal = self._bal_of(mailbox)
        named = self.deleted(mailbox) if uids is None else uids
        rows = [row for row in self._full_rows(mailbox, named) if row[1] & DELETED]
        if rows:
            self._remove(mailbox, rows)
            self._shred(bal, rows)
        return [Uid(row[0]) for row in rows]

    def withdraw(self, mailbox: MailboxId, uid: Uid) -> None:
        """Remove one message whatever its flags are: another takes its place (RFC 8508).

        Raises NoSuchMailbox, NoSuchMessage.
        """
        if not self.discard(mailbox, [uid]):
            raise NoSuchMessage

    def discard(self, mailbox: MailboxId, uids: Sequence[Uid]) -> list[Uid]:
        """Remove messages whatever their flags are; which of `uids` there were.

        Raises NoSuchMailbox.
        """
        bal = self._bal_of(mailbox)
        rows = self._full_rows(mailbox, uids)
        if rows:
            self._remove(mailbox, rows)
            self._shred(bal, rows)
        return [Uid(row[0]) for row in rows]

    def _add_message(self, mailbox: MailboxId, row: tuple[int, int, int, int]) -> Stored:
        """A row (flags, size, internal date, blob) with the next UID and modseq."""
        flags, size, _, _ = row
        uid, modseq, validity = self._counted(mailbox, 1, 0 if flags & SEEN else 1, size)
        self._later(_NEW_MESSAGE, **self._new_row(mailbox, uid, modseq, row))
        if (uid + 1) % TEXT_UIDS == 0:
            self._want_packs(mailbox, uid // TEXT_UIDS)
        return Stored(mailbox, UidValidity(validity), Uid(uid))

    def _add_messages(self, mailbox: MailboxId, rows: Sequence[tuple[int, int, int, int]]) -> range:
        """`_add_message` for each, with one modseq and one change for all; their UIDs.

        In a job that has touched much a statement that gives something back costs SQLite 0.7 ms.
        """
        unseen = sum(1 for row in rows if not row[0] & SEEN)
        size = sum(row[1] for row in rows)
        first, modseq, _ = self._counted(mailbox, len(rows), unseen, size)
        uids = range(first, first + len(rows))
        new = (
            self._new_row(mailbox, uid, modseq, row) for uid, row in zip(uids, rows, strict=True)
        )
        self._run_many(_NEW_MESSAGE, list(new))
        for window in range(first // TEXT_UIDS, uids.stop // TEXT_UIDS):
            self._want_packs(mailbox, window)
        return uids

    def _counted(
        self, mailbox: MailboxId, many: int, unseen: int, size: int
    ) -> tuple[int, ModSeq, int]:
        """First UID, modseq and UIDVALIDITY of `many` new messages. Raises NoSuchMailbox."""
        values = {"many": many, "more_unseen": unseen, "more_size": size}
        added = self._one(_ADD, mailbox=mailbox, **values)
        if added is None:
            raise NoSuchMailbox
        uid_next, modseq, validity, bal = added
        self._changed(ChangeKind.MAIL, BalId(bal), mailbox, ModSeq(modseq))
        return uid_next - many, ModSeq(modseq), validity

    def _new_row(
        self, mailbox: MailboxId, uid: int, modseq: ModSeq, row: tuple[int, int, int, int]
    ) -> dict[str, object]:
        flags, size, internal_date, blob = row
        return {
            "mailbox": mailbox,
            "uid": uid,
            "modseq": modseq,
            "flags": flags,
            "size": size,
            "internal_date": internal_date,
            "blob": blob,
            "saved_at": to_us(self._vault.clock.now()),
        }

    def _want_packs(self, mailbox: MailboxId, window: int) -> None:
        """Once this is committed: no UID joins the window any more, or its packs were dropped."""
        self.effects.after.append(lambda: self._vault.want_packs(mailbox, window))

    def _full_rows(self, mailbox: MailboxId, uids: Sequence[Uid] | None) -> list[Row]:
        """(uid, flags, size, internal date, blob) of the messages that exist."""
        if uids is None:
            return self._without_modseqs(mailbox, self._all(_ALL_FULL_ROWS, mailbox=mailbox))
        found: list[Row] = []
        for low, high in ranges(uids):
            found += self._all(_FULL_ROWS_IN, mailbox=mailbox, low=low, high=high)
        return self._without_modseqs(mailbox, found)

    def _without_modseqs(self, mailbox: MailboxId, rows: list[Row]) -> list[Row]:
        return [(row[0], *row[2:]) for row in self._as_now(mailbox, rows)]

    def _remove(self, mailbox: MailboxId, rows: Sequence[Row]) -> None:
        """Delete rows, leave tombstones, drop the packs that held their summaries."""
        self._record_readings_in(self._bal_of(mailbox))
        modseq, bal = self._bump(mailbox)
        uids = [row[0] for row in rows]
        gone = ranges(uids)
        self._run_many(_DROP, [{"mailbox": mailbox, "low": at, "high": to} for at, to in gone])
        self._run(
            _UNCOUNT,
            mailbox_=mailbox,
            fewer=len(rows),
            fewer_unseen=sum(1 for row in rows if not row[1] & SEEN),
            fewer_size=sum(row[2] for row in rows),
        )
        self._bury(mailbox, uids, modseq)
        self._unmark(mailbox, uids)
        for window in {uid // PACK_UIDS for uid in uids}:
            self._run(_DROP_PACK, mailbox=mailbox, window=window)
        for window in {uid // TEXT_UIDS for uid in uids}:
            low = window * TEXT_UIDS
            for kind in (0, 1, 2):
                high = low + TEXT_UIDS - 1
                if self._run(_DROP_TEXTS_IN, mailbox=mailbox, kind=kind, low=low, high=high):
                    self._want_packs(mailbox, window)
        self._changed(ChangeKind.EXPUNGE, bal, mailbox, modseq)

    def _shred(self, bal: BalId, rows: Sequence[Row]) -> None:
        """Drop references; the end of a letter that came by an envelope is an event."""
        key = self._bal_key(bal)
        for row in rows:
            envelope = self._envelope_of(row[4])
            if self._release(row[4], key.id) and envelope is not None:
                self._event("suppression", envelope, (), (key,), size=row[2])

    def _empty(self, mailbox: MailboxId) -> None:
        """Shred everything of a mailbox that is going away."""
        rows = self._full_rows(mailbox, None)
        if rows:
            bal = self._bal_of(mailbox)
            self._remove(mailbox, rows)
            self._shred(bal, rows)
        self._run(_DROP_PACKS, mailbox=mailbox)
        self._run(_DROP_TEXTS, mailbox=mailbox)
        self._forget_tombstones(mailbox)
        self._unmark_all(mailbox)
        self._forget_keywords(mailbox)


def within(uids: Iterable[int], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Those of `uids` in `spans`, which are `merged`."""
    lows = [low for low, _ in spans]
    return [uid for uid in uids if (at := bisect_right(lows, uid)) and uid <= spans[at - 1][1]]


def merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Closed ranges in order, without overlap, so that no row comes twice."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result

"""What was expunged, and with which modseq (RFC 7162 3.2): remembered while the mailbox exists, or
until there are too many.

When the oldest are forgotten, that can be seen without a mark: every UID given so far belongs to a
message or to a tombstone, and the lowest modseq still remembered tells how far back memory goes.
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete, func, insert, select

from mssmtp.mail import MailboxId, ModSeq, Uid
from mssmtp.storage.schema import expunged, mailboxes, sql
from mssmtp.storage.view import View, WritingView

KEPT = 200_000
"""Tombstones of one mailbox that are always remembered; a few more than STEP more never are."""
STEP = 1_000
"""Expunged messages after which the oldest are looked for: that is a walk over KEPT rows."""

_OF = expunged.c.mailbox == bindparam("mailbox")
_SINCE = sql(
    select(expunged.c.uid)
    .where(_OF)
    .where(expunged.c.modseq > bindparam("modseq"))
    .order_by(expunged.c.uid)
)
_FIRST_SINCE = sql(
    select(func.min(expunged.c.modseq)).where(_OF).where(expunged.c.modseq > bindparam("modseq"))
)
_COUNT = sql(select(func.count()).select_from(expunged).where(_OF))
_GIVEN = sql(
    select(mailboxes.c.uid_next, mailboxes.c.messages).where(mailboxes.c.id == bindparam("mailbox"))
)
_BURY = sql(insert(expunged))
_NEWEST_TO_FORGET = sql(
    select(expunged.c.modseq)
    .where(_OF)
    .order_by(expunged.c.modseq.desc())
    .limit(1)
    .offset(bindparam("kept"))
)
_LAST_OF_A_FEW = sql(
    select(expunged.c.modseq).where(_OF).order_by(expunged.c.modseq).limit(1).offset(4 * STEP)
)
_FORGET = sql(delete(expunged).where(_OF).where(expunged.c.modseq <= bindparam("modseq")))
_FORGET_ALL = sql(delete(expunged).where(_OF))


class TombstoneReading(View):
    """Looking at what is gone."""

    def expunged_since(self, mailbox: MailboxId, modseq: ModSeq) -> list[Uid]:
        """UIDs expunged with a modseq above `modseq`, ascending; only of what is remembered."""
        return [Uid(row[0]) for row in self._all(_SINCE, mailbox=mailbox, modseq=modseq)]

    def first_expunged_since(self, mailbox: MailboxId, modseq: ModSeq) -> ModSeq | None:
        """The lowest modseq above `modseq` with which something was expunged."""
        row = self._one(_FIRST_SINCE, mailbox=mailbox, modseq=modseq)
        return None if row is None or row[0] is None else ModSeq(row[0])

    def remembers_since(self, mailbox: MailboxId, modseq: ModSeq) -> bool:
        """Whether `expunged_since` knows all that was expunged since `modseq`."""
        oldest = self.first_expunged_since(mailbox, ModSeq(0))
        if oldest is not None and modseq >= oldest - 1:
            return True
        given = self._one(_GIVEN, mailbox=mailbox)
        buried = self._one(_COUNT, mailbox=mailbox)
        return given is not None and buried is not None and given[0] - 1 == given[1] + buried[0]


class TombstoneWriting(TombstoneReading, WritingView):
    """Burying."""

    def _bury(self, mailbox: MailboxId, uids: list[int], modseq: ModSeq) -> None:
        """The counters of the mailbox are without them already."""
        self._run_many(_BURY, [{"mailbox": mailbox, "uid": uid, "modseq": modseq} for uid in uids])
        given = self._one(_GIVEN, mailbox=mailbox)
        gone = 0 if given is None else given[0] - 1 - given[1]
        if gone // STEP > (gone - len(uids)) // STEP:
            self._forget_oldest(mailbox)

    def _forget_oldest(self, mailbox: MailboxId) -> None:
        """Whole modseqs only: what was expunged together is remembered together. A few thousand at
        once, so that nobody waits for long."""
        newest = self._one(_NEWEST_TO_FORGET, mailbox=mailbox, kept=KEPT)
        few = self._one(_LAST_OF_A_FEW, mailbox=mailbox)
        if newest is not None:
            modseq = newest[0] if few is None else min(newest[0], few[0])
            self._run(_FORGET, mailbox=mailbox, modseq=modseq)

    def _forget_tombstones(self, mailbox: MailboxId) -> None:
        self._run(_FORGET_ALL, mailbox=mailbox)

"""A COPY of more than one commit: a row says what it has made so far, so that what cuts it short is
undone by somebody (RFC 9051 6.4.7: partial copies must not be done).

The row comes with the first commit, grows with each, and goes with the last. Whoever undoes it
takes it from who copies first: from then on no commit of that COPY succeeds.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NewType

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from mssmtp.errors import MailError, StorageUnavailable
from mssmtp.mail import BalId, MailboxId, Uid
from mssmtp.storage.messages import MessageReading
from mssmtp.storage.model import to_us
from mssmtp.storage.moving import MovingWriting
from mssmtp.storage.schema import copying, messages, sql
from mssmtp.storage.view import ranges

if TYPE_CHECKING:
    from mssmtp.storage.store import Store

logger = logging.getLogger(__name__)

CopyId = NewType("CopyId", int)
"""Names a COPY that is under way; never given twice."""

LEASE = timedelta(minutes=2)
"""A COPY of which nothing was committed for so long is given up: its worker died or was stopped."""
UNDONE_AT_ONCE = 500
"""Messages of one commit, as of EXPUNGE."""
_NOBODY = ""

_NEW = sql(
    insert(copying)
    .values({name: bindparam(name) for name in ("mailbox", "uids", "worker", "lease_until")})
    .returning(copying.c.id)
)
_ONE = copying.c.id == bindparam("copy")
_OWN = copying.c.worker == bindparam("own")
_UIDS_SO_FAR = sql(select(copying.c.uids).where(_ONE).where(_OWN))
_EXTEND = sql(
    update(copying).where(_ONE).values(uids=bindparam("more"), lease_until=bindparam("until"))
)
_END = sql(delete(copying).where(_ONE).where(_OWN))
_LEFT = sql(
    select(copying.c.id)
    .where(or_(copying.c.lease_until <= bindparam("now"), copying.c.lease_until > bindparam("far")))
    .order_by(copying.c.id)
)
_MADE = sql(select(copying.c.mailbox, copying.c.uids).where(_ONE))
_GIVEN_UP = {"worker": bindparam("nobody"), "lease_until": 0}
_GIVE_UP = sql(update(copying).where(_ONE).values(_GIVEN_UP))
_GIVE_UP_OWN = sql(update(copying).where(_OWN).values(_GIVEN_UP))
_FORGET = sql(delete(copying).where(_ONE))
_OF = messages.c.mailbox == bindparam("mailbox")
_IN_RANGE = messages.c.uid.between(bindparam("low"), bindparam("high"))
_STILL_THERE = sql(
    select(messages.c.uid)
    .where(_OF)
    .where(_IN_RANGE)
    .order_by(messages.c.uid)
    .limit(bindparam("most"))
)
_ROOM_OF = sql(
    select(func.coalesce(func.sum(messages.c.size), 0), func.count()).where(_OF).where(_IN_RANGE)
)


class CopyingReading(MessageReading):
    """Which COPYs nobody goes on with."""

    def copies_left(self) -> list[CopyId]:
        """Those that were given up, or whose lease has ended; one that would end after any lease is
        of a clock that was put back since."""
        now, far = self.now(), self.now() + 2 * LEASE
        return [CopyId(id) for (id,) in self._all(_LEFT, now=to_us(now), far=to_us(far))]

    def demand_room_for(self, source: MailboxId, uids: Sequence[Uid], bal: BalId) -> None:
        """There is room in a BAL for a copy of each. Raises OverQuota, NoSuchBal."""
        octets = many = 0
        for low, high in ranges(uids):
            ((more, count),) = self._all(_ROOM_OF, mailbox=source, low=low, high=high)
            octets, many = octets + int(more), many + int(count)
        self.demand_room(bal, octets, many)


class CopyingWriting(CopyingReading, MovingWriting):
    """Copying in several commits, all of them or none."""

    def begin_copy(self, target: MailboxId, made: Sequence[Uid]) -> CopyId:
        """In the first commit of several; `made` are UIDs of `target`, ascending, as below."""
        row = self._new(
            _NEW,
            mailbox=target,
            uids=_with([], made),
            worker=self._vault.worker,
            lease_until=self._until(),
        )
        return CopyId(row[0])

    def extend_copy(self, copy: CopyId, made: Sequence[Uid]) -> None:
        """In each commit but the first and the last. Raises StorageUnavailable: it was undone."""
        row = self._one(_UIDS_SO_FAR, copy=copy, own=self._vault.worker)
        if row is None:
            raise StorageUnavailable("the copy was undone")
        self._run(_EXTEND, copy=copy, more=_with(spans(row[0]), made), until=self._until())

    def end_copy(self, copy: CopyId) -> None:
        """In the last commit. Raises StorageUnavailable: it was undone."""
        if not self._run(_END, copy=copy, own=self._vault.worker):
            raise StorageUnavailable("the copy was undone")

    def undo_copy(self, copy: CopyId) -> bool:
        """Remove some of what it has made, as if it had been expunged; False: nothing is left.

        What somebody else has expunged or moved away since is not looked for.
        """
        row = self._one(_MADE, copy=copy)
        if row is None:
            return False
        self._run(_GIVE_UP, copy=copy, nobody=_NOBODY)
        left: list[Uid] = []
        for low, high in spans(row[1]):
            span = {"mailbox": row[0], "low": low, "high": high}
            left += [uid for (uid,) in self._all(_STILL_THERE, **span, most=_room(left))]
        if left:
            self.discard(MailboxId(row[0]), left)
        if not _room(left):
            return True
        self._run(_FORGET, copy=copy)
        return False

    def give_up_copies(self) -> int:
        """At the start of a worker: those in its name were of one that died. How many."""
        return self._run(_GIVE_UP_OWN, own=self._vault.worker, nobody=_NOBODY)

    def _until(self) -> int:
        return to_us(self.now() + LEASE)


def _room(left: list[Uid]) -> int:
    return UNDONE_AT_ONCE - len(left)


def undo_abandoned(store: Store) -> int:
    """Undo every COPY that nobody goes on with, in short commits; how many could be undone.

    One that cannot be undone now stays for the next time.
    """
    undone = 0
    for copy in store.read(lambda reading: reading.copies_left()).result():
        try:
            while store.write(partial(_undo, copy)).result():
                pass
            undone += 1
        except MailError as error:  # it must not stand before the others
            told = {"copy": copy, "kind": type(error).__name__}
            logger.warning("a copy that was cut short is not undone yet", extra=told)
    return undone


def _undo(copy: CopyId, writing: CopyingWriting) -> bool:
    return writing.undo_copy(copy)


def spans(text: str) -> list[tuple[int, int]]:
    """The UIDs of a row, as closed ranges, ascending. Raises ValueError."""
    pairs = (span.partition(":") for span in text.split(",") if span)
    return [(int(low), int(high)) for low, _, high in pairs]


def _with(known: list[tuple[int, int]], made: Sequence[Uid]) -> str:
    """As the row holds them. Deliveries may have come between: mostly it is one range all the
    same."""
    found = list(known)
    for uid in made:
        if found and found[-1][1] + 1 == uid:
            found[-1] = (found[-1][0], uid)
        else:
            found.append((uid, uid))
    return ",".join(f"{low}:{high}" for low, high in found)

"""When a person was last active in a box (DEF-24), and which boxes have been still for too long.

Reading (*lu*), sending and what the portal notes count; for an APP box also that its software
collects. Polling, incoming mail and automatic replies do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, or_, select, update

from mssmtp.mail import BalId, BalState, BalType
from mssmtp.storage.model import NoSuchBal, from_us, to_us
from mssmtp.storage.schema import bals, sql
from mssmtp.storage.view import View, WritingView

INACTIVITY_TOLD = "inactivity-notice"
"""Record of a box: its holder was warned, dated when the relay took the warning (OP-48)."""

_SINCE = func.coalesce(bals.c.last_activity, bals.c.created_at)
_STILL = sql(
    select(bals.c.id, _SINCE, bals.c.idle_notices)
    .where(bals.c.state == bindparam("active"))
    .where(bindparam("before") >= _SINCE)
    .where(bals.c.id > bindparam("after"))
    .order_by(bals.c.id)
    .limit(bindparam("most"))
)
_CLOSED = sql(
    select(bals.c.id)
    .where(bals.c.closed_at <= bindparam("before"))
    .order_by(bals.c.id)
    .limit(bindparam("most"))
)
_NOTICES = sql(select(bals.c.idle_notices).where(bals.c.id == bindparam("bal")))
_ACTIVITY = sql(
    select(_SINCE, bals.c.closed_at, bals.c.created_at).where(bals.c.id == bindparam("bal"))
)
_LATER = or_(bals.c.last_activity.is_(None), bals.c.last_activity < bindparam("at"))
_TOUCH = update(bals).where(_LATER).values(last_activity=bindparam("at"), idle_notices=0)
_TOUCH_BOX = sql(_TOUCH.where(bals.c.id == bindparam("bal")))
_TYPE = sql(select(bals.c.type).where(bals.c.id == bindparam("bal")))
_SET_NOTICES = sql(
    update(bals).where(bals.c.id == bindparam("bal")).values(idle_notices=bindparam("new"))
)


@dataclass(frozen=True, slots=True)
class Still:
    """An active box in which nothing was done since `since`; `notices`: warnings sent (OP-48)."""

    bal: BalId
    since: datetime
    notices: int


class ActivityReading(View):
    """Looking at it."""

    def still_boxes(self, before: datetime, after: BalId, most: int) -> tuple[Still, ...]:
        """Active boxes without activity since `before`, by id, behind `after`."""
        rows = self._all(
            _STILL, active=BalState.ACTIVE.value, before=to_us(before), after=after, most=most
        )
        return tuple(
            Still(BalId(bal), from_us(since), notices or 0) for bal, since, notices in rows
        )

    def closed_boxes(self, before: datetime, most: int) -> tuple[BalId, ...]:
        """Boxes that were closed before `before` and still have their mail."""
        return tuple(BalId(row[0]) for row in self._all(_CLOSED, before=to_us(before), most=most))

    def last_activity(self, bal: BalId) -> datetime:
        """Since when its year counts. Raises NoSuchBal."""
        row = self._one(_ACTIVITY, bal=bal)
        if row is None:
            raise NoSuchBal
        return from_us(row[0])

    def idle_notices(self, bal: BalId) -> int:
        """How many warnings its holder was sent since it was last used."""
        row = self._one(_NOTICES, bal=bal)
        return 0 if row is None else row[0] or 0

    def closed_at(self, bal: BalId) -> datetime | None:
        """When the box was closed. Raises NoSuchBal."""
        row = self._one(_ACTIVITY, bal=bal)
        if row is None:
            raise NoSuchBal
        return None if row[1] is None else from_us(row[1])


class ActivityWriting(ActivityReading, WritingView):
    """Noting it."""

    def note_activity(self, bal: BalId, at: datetime) -> None:
        """Somebody was active in the box: its year begins again (OP-48)."""
        self._run(_TOUCH_BOX, bal=bal, at=to_us(at))

    def set_idle_notices(self, bal: BalId, notices: int) -> None:
        """How many warnings its holder was sent. Raises NoSuchBal."""
        if not self._run(_SET_NOTICES, bal=bal, new=notices):
            raise NoSuchBal

    def _note_sent(self, bal: BalId, at: datetime) -> None:
        """As `note_activity`, at most once a day for each process: it rides with every letter."""
        day = to_us(at) // 86_400_000_000
        if self._vault.known.active.get(bal) == day:
            return
        self._vault.known.active.keep(bal, day)
        self.note_activity(bal, at)

    def _note_read(self, bal: BalId, kind: str, at_us: int) -> bool:
        """Something was read in the box; False: it is there no more."""
        row = self._one(_TYPE, bal=bal)
        if row is not None and (kind == "lu" or row[0] == BalType.APP.value):
            self._run(_TOUCH_BOX, bal=bal, at=at_us)
        return row is not None

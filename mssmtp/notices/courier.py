"""Carries service mail from its queue to its relay, a few letters at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from mssmtp import metrics
from mssmtp.awaiting import awaited
from mssmtp.mail import Address
from mssmtp.notices import letter
from mssmtp.notices.desk import Desk
from mssmtp.notices.kinds import Kind
from mssmtp.notices.relay import Relay, RelayFailed, Taken
from mssmtp.notices.telling import Telling
from mssmtp.notices.templates import written
from mssmtp.outside import Clock
from mssmtp.storage import RELAY_STUCK, Notice, Store, Writing

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
EVENTS_AT_ONCE = 100
LETTERS_AT_ONCE = 20
RELAY_AGAIN = timedelta(seconds=30)
"""So long after a failure the relay is left alone."""
_LEASE = timedelta(minutes=5)
_FIRST_RETRY, _LONGEST_RETRY = timedelta(minutes=1), timedelta(minutes=30)


def retry_after(attempts: int) -> timedelta:
    """How long a letter waits that the relay did not take for now."""
    return min(_FIRST_RETRY * (1 << min(attempts, 10)), _LONGEST_RETRY)


class Courier:
    """One worker's carrier. Rows are leased: several work beside each other."""

    def __init__(
        self, desk: Desk, relay: Relay, telling: Telling, store: Store, clock: Clock, worker: str
    ) -> None:
        self._desk, self._relay, self._telling = desk, relay, telling
        self._store, self._clock, self._worker = store, clock, worker
        self._sender = Address.parse(desk.settings.from_address)

    async def run(self) -> None:
        """Until cancelled. What goes wrong is said and tried again: mail does not depend on it."""
        while True:
            try:
                while await self.turn():
                    pass
            except Exception:
                metrics.internal_errors.labels("notices").inc()
                logger.exception("service mail not carried")
            await asyncio.sleep(LOOK_EVERY_S)

    async def turn(self) -> bool:
        """Take up what happened, send what is due; True when there may be more."""
        now = self._clock.now()
        if not await awaited(self._store.read(lambda reading: reading.has_due_notices(now))):
            return False

        def take_up(writing: Writing) -> int:
            happened = writing.take_events(now, EVENTS_AT_ONCE)
            self._telling.take_up(writing, happened, now)
            return len(happened)

        taken = await awaited(self._store.write(take_up))
        leased = await awaited(
            self._store.write(
                lambda w: w.lease_notices(now, LETTERS_AT_ONCE, self._worker, now + _LEASE)
            )
        )
        sent = await self._carry(leased) if leased else False
        return taken > 0 or sent

    async def _carry(self, leased: Sequence[Notice]) -> bool:
        """Send them; what is left when the relay fails waits for it. True when it took any."""
        said: dict[int, Taken] = {}
        failed: RelayFailed | None = None
        try:
            async with self._relay.conversation() as conversation:
                for notice in leased:
                    said[notice.id] = await conversation.send(notice.to, self._octets(notice))
        except RelayFailed as error:
            failed = error
            logger.error("the relay of service mail fails", extra={"why": str(error)})
        now = self._clock.now()
        await awaited(
            self._store.write(lambda w: record(w, leased, said, now, is_down=failed is not None))
        )
        for notice in leased:
            if (taken := said.get(notice.id)) is not None:
                outcome = "sent" if taken.is_sent else "failed" if taken.is_final else "retried"
                metrics.notices.labels(notice.kind, outcome).inc()
                told = {"notice": notice.id, "kind": notice.kind, "code": taken.code}
                logger.info("service mail", extra=told)
        return bool(said) and failed is None

    def _octets(self, notice: Notice) -> bytes:
        brand = self._desk.settings.brand
        text = written(Kind(notice.kind), notice.language, brand, notice.values)
        id = f"notice-{notice.id}.{int(notice.at.timestamp())}"
        return letter.octets(text, self._sender, brand, notice.to, self._clock.now(), id)


def record(
    writing: Writing,
    leased: Sequence[Notice],
    said: dict[int, Taken],
    now: datetime,
    *,
    is_down: bool,
) -> None:
    """One commit for a conversation. A death before it sends a few letters twice, loses none."""
    if said and writing.relay_stuck_since() is not None:
        writing.relay_works()
    for notice in leased:
        taken = said.get(notice.id)
        if taken is None:
            why = RELAY_STUCK if is_down else None
            writing.notice_later(notice.id, now + RELAY_AGAIN, why, attempted=False)
        elif taken.is_sent:
            writing.notice_done(notice.id, now, "sent")
            if notice.kind == Kind.INACTIVITY and notice.bal is not None:
                which = {"closes": notice.values["date"], "days": notice.values["days"]}
                writing.note_warned(notice.bal, which, notice.at)
        elif taken.is_final:
            writing.notice_done(notice.id, now, f"failed {taken.code}")
        else:
            again = now + retry_after(notice.attempts)
            writing.notice_later(notice.id, again, f"waits {taken.code}", attempted=True)
